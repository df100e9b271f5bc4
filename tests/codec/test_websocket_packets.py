"""Packets that become frames where they lie, against the plainest way to do the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC
from codec.opend.websocket_packets import REPLY_HEADER, SIGN, frames_from_packets, key_digest
from tests.codec.longport.feeding import padded

bodies = st.one_of(st.binary(max_size=40), st.integers(0, 300).map(bytes))
usual = st.builds(
    lambda command, section, body: REPLY_HEADER.pack(SIGN, command, section, 0, b"") + body,
    st.one_of(st.sampled_from((0, 3, 1001, 3010, 3011)), st.integers(3, 2**32 - 1)),
    st.one_of(st.sampled_from((0, 1, 2**32 - 1)), st.integers(0, 2**32 - 1)),
    bodies,
)
unusual = st.one_of(
    st.builds(
        lambda command, section, error, body: REPLY_HEADER.pack(SIGN, command, section, error, b"why") + body,
        st.sampled_from((1, 2, 3010)),
        st.sampled_from((1, 2**32, 2**64 - 1)),
        st.sampled_from((1, 2, 3, -1, -(2**31))),
        bodies,
    ),
    st.builds(lambda body: REPLY_HEADER.pack(SIGN, 2, 0, 0, b"") + body, bodies),
    st.builds(lambda body: REPLY_HEADER.pack(b"ft-v1.1\0", 3010, 0, 0, b"") + body, bodies),
    st.binary(max_size=HEADER_BYTES - 1),
)


def frame_of(packet: bytes) -> bytes | None:
    """What a usual packet becomes."""
    if len(packet) < HEADER_BYTES:
        return None
    sign, command, section, error, _ = REPLY_HEADER.unpack_from(packet)
    if sign != SIGN or command in (1, 2) or error or section >= 1 << 32:
        return None
    body = packet[HEADER_BYTES:]
    return HEADER.pack(MAGIC, command, 0, 0, section, len(body), bytes(20), bytes(8)) + body


@given(packets=st.lists(st.one_of(usual, usual, unusual), max_size=8), before=st.binary(max_size=20))
def test_packets_become_frames_where_they_lie(packets: list[bytes], before: bytes) -> None:
    source = padded(before + b"".join(packets))
    behind = source[len(before) + sum(map(len, packets)) :].tobytes()
    ends = len(before) + np.cumsum([len(packet) for packet in packets], dtype=np.int64)
    left = []
    index, at, into_at = frames_from_packets(source, len(before), ends, 0, len(before))
    while index < len(ends):
        left.append(source[at : ends[index]].tobytes())
        index, at, into_at = frames_from_packets(source, int(ends[index]), ends, index + 1, into_at)
    frames = [frame_of(packet) for packet in packets]
    assert source[:into_at].tobytes() == before + b"".join(frame for frame in frames if frame is not None)
    assert left == [packet for packet, frame in zip(packets, frames, strict=True) if frame is None]
    assert source[len(before) + sum(map(len, packets)) :].tobytes() == behind


def test_a_key_is_sent_as_lower_case_md5() -> None:
    assert key_digest("secret") == "5ebe2294ecd0e0f08eab7690d2a6ee69"
    assert key_digest("") == ""
