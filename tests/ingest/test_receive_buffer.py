"""The receive buffer against the plainest one there is."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from codec.bits import PAD_BYTES
from ingest.receive_buffer import ReceiveBuffer

CAPACITY, CAPACITY_MAX = 128 << 10, 1 << 20
WAITING_MAX = CAPACITY_MAX - (128 << 10)
"""What a reader may leave unread: the longest frame is shorter than the buffer by this much (connection.py)."""

# A write of so many bytes, of which the socket takes what fits; then so much of what waits is read.
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 100), st.integers(1, 400_000)),
        st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1)),
    ),
    max_size=40,
)


@given(steps=steps, seed=st.integers(0, 2**32))
def test_what_is_read_is_what_was_written(steps: list[tuple[int, float]], seed: int) -> None:
    buffer, oracle = ReceiveBuffer(capacity=CAPACITY, capacity_max=CAPACITY_MAX), bytearray()
    rng = random.Random(seed)
    for size, share_read in steps:
        data = rng.randbytes(size)
        while data:
            if len(oracle) >= WAITING_MAX:
                skip(buffer, oracle, len(oracle))
            room = buffer.free()
            assert len(room) > 0
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            buffer.filled(taken)
            oracle += data[:taken]
            data = data[taken:]
            assert buffer.stop + PAD_BYTES <= len(buffer.data), "kernels read behind the end"
        assert buffer.data[buffer.start : buffer.stop].tobytes() == oracle
        skip(buffer, oracle, int(share_read * len(oracle)))
    assert len(buffer.data) <= CAPACITY_MAX + PAD_BYTES


def skip(buffer: ReceiveBuffer, oracle: bytearray, count: int) -> None:
    """Read `count` bytes: all that a reader does to a buffer."""
    buffer.start += count
    del oracle[:count]


def test_there_is_room_up_to_the_last_byte_of_the_longest_frame() -> None:
    buffer = ReceiveBuffer(capacity=CAPACITY, capacity_max=CAPACITY_MAX)
    waiting = 0
    while waiting < CAPACITY_MAX:
        room = len(buffer.free())
        assert room > 0
        buffer.filled(min(room, 60_000))
        waiting += min(room, 60_000)
    assert buffer.stop - buffer.start == CAPACITY_MAX


def test_a_buffer_that_is_read_as_it_fills_never_grows() -> None:
    buffer = ReceiveBuffer(capacity=CAPACITY, capacity_max=CAPACITY_MAX)
    for _ in range(100):
        count = len(buffer.free()) // 2
        buffer.filled(count)
        buffer.start = buffer.stop - min(count, 40_000)  # a frame that has just begun
    assert len(buffer.data) == CAPACITY + PAD_BYTES
