"""The tick kernels against their oracle: whatever the bytes, and however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import JIT_DISABLED
from codec.opend.protocol import HEADER_BYTES, ProtoId, pack_frame
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.examples import examples
from tests.codec.feeding import Feeder, cut, read_chunks
from tests.codec.oracle import read_stream

RECV_NS = 1_795_138_200_123_456_789


def check(stream: bytes, places: list[int] | None = None, **options: object) -> None:
    expected = read_stream(stream, recv_ns=RECV_NS)
    found = read_chunks(cut(stream, places or []), recv_ns=RECV_NS, **options)
    assert found == expected


paddings = st.sampled_from([b"\xff", b"\x00", b"9", b"\x12\x4e\x0a\x13", b"\x1a\x00", b"a"])
"""What lies behind the received bytes: nothing of it may be believed."""


@examples(150)
@given(stream=drawn.streams(drawn.usual_bodies(spoilt=False)), padding=paddings)
def test_messages_as_real_senders_write_them(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(150)
@given(stream=drawn.streams(drawn.usual_bodies()), padding=paddings)
def test_a_bad_tick_is_refused_and_its_neighbours_are_kept(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(250)
@given(stream=drawn.streams(drawn.general_bodies(), count_max=3), padding=paddings)
def test_any_legal_protobuf(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(200)
@given(stream=drawn.streams(drawn.mutated(drawn.usual_bodies()), count_max=3), padding=paddings)
def test_usual_messages_with_bytes_changed(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(250)
@given(stream=drawn.streams(drawn.mutated(drawn.general_bodies()), count_max=2), padding=paddings)
def test_general_messages_with_bytes_changed(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(150)
@given(bodies=st.lists(st.binary(max_size=200), max_size=4), proto_id=drawn.proto_ids)
def test_random_bodies(bodies: list[bytes], proto_id: int) -> None:
    check(b"".join(pack_frame(proto_id, 7, body) for body in bodies))


@examples(150)
@given(stream=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(b"FT".__add__)))
def test_random_streams(stream: bytes) -> None:
    check(stream)


@examples(150)
@given(stream=drawn.streams(count_max=3), data=st.data())
def test_streams_with_any_byte_changed(stream: bytes, data: st.DataObject) -> None:
    """Headers too: lengths, digests, magic."""
    changed = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    check(bytes(changed), data.draw(st.lists(st.integers(0, len(changed)), max_size=3)))


@examples(150)
@given(stream=drawn.streams(), places=st.lists(st.integers(0, 10_000), max_size=12), padding=paddings)
def test_any_chunking_gives_the_same_rows(stream: bytes, places: list[int], padding: bytes) -> None:
    check(stream, places, padding=padding)


@examples(10)
@given(stream=drawn.streams(count_max=2))
def test_byte_by_byte_gives_the_same_rows(stream: bytes) -> None:
    check(stream, list(range(len(stream))))


@examples(15)
@given(body=st.one_of(drawn.usual_bodies(), drawn.general_bodies()), proto_id=drawn.proto_ids)
def test_a_body_truncated_at_every_byte(body: bytes, proto_id: int) -> None:
    """The header says the truth about the shorter body, so every length inside it lies."""
    check(b"".join(pack_frame(proto_id, size, body[:size]) for size in range(len(body) + 1)))


@examples(8)
@given(stream=drawn.streams(count_max=2))
def test_a_stream_truncated_at_every_byte(stream: bytes) -> None:
    """A frame cut off by a disconnect yields nothing, the frames before it all they hold."""
    for size in range(0, len(stream), 20 if JIT_DISABLED else 1):
        check(stream[:size], padding=stream[size:] or b"\0")


@examples(80)
@given(stream=drawn.streams(), places=st.lists(st.integers(0, 10_000), max_size=4), capacity=st.integers(5, 12))
def test_a_small_buffer_is_emptied_and_filled_again(stream: bytes, places: list[int], capacity: int) -> None:
    """Room for one frame is enough: what does not fit waits for the next call."""
    expected = read_stream(stream, recv_ns=RECV_NS, ticks_max=capacity)
    assert read_chunks(cut(stream, places), recv_ns=RECV_NS, capacity=capacity) == expected


@examples(50)
@given(stream=drawn.streams(), capacity=st.integers(1, 3))
def test_a_frame_with_more_ticks_than_the_buffer_holds_is_refused(stream: bytes, capacity: int) -> None:
    assert read_chunks([stream], capacity=capacity) == read_stream(stream, ticks_max=capacity)


@examples(50)
@given(stream=drawn.streams(), data=st.data())
def test_without_the_sha1_check_the_digest_does_not_matter(stream: bytes, data: st.DataObject) -> None:
    changed = bytearray(stream)
    at = data.draw(st.integers(16, 35))
    if len(changed) > HEADER_BYTES:
        changed[at] ^= 255
    assert read_chunks([bytes(changed)], checks_sha1=False) == read_stream(stream)


@examples(40)
@given(first=drawn.streams(), second=drawn.streams())
def test_connections_share_symbols(first: bytes, second: bytes) -> None:
    """A decoder that finds its symbols known gives what one that adds them gives."""
    feeder = Feeder()
    feeder.feed(second)
    feeder.feed(first)
    feeder.finish()
    assert read_chunks([first], symbols=feeder.symbols) == read_stream(first)


@pytest.mark.parametrize("proto_id", [ProtoId.GET_TICKER, ProtoId.UPDATE_TICKER])
@examples(40)
@given(bodies=st.lists(drawn.usual_bodies(spoilt=False), min_size=1, max_size=5))
def test_pushes_and_pulls_differ_in_delivery_and_note_only(proto_id: int, bodies: list[bytes]) -> None:
    pushes = read_chunks(pack_frame(ProtoId.UPDATE_TICKER, 1, body) for body in bodies)
    found = read_chunks(pack_frame(proto_id, 1, body) for body in bodies)
    assert [row._replace(delivery="") for row in found.rows] == [row._replace(delivery="") for row in pushes.rows]


@pytest.mark.parametrize(
    "field",
    [
        wire.group(100, wire.group(101)),
        wire.tag(100, wire.START_GROUP) + wire.tag(101, wire.END_GROUP),
        wire.tag(100, wire.START_GROUP) + wire.group(101),
        wire.tag(100, wire.END_GROUP),
        wire.tag(100, 6) + b"\0",
        wire.tag(100, 7),
        wire.tag(0, wire.VARINT) + b"\0",
        wire.tag(2**29 - 1, wire.VARINT) + b"\0",
        wire.tag(2**29, wire.VARINT) + b"\0",
        wire.tag(100, wire.VARINT, 5) + b"\0",
        wire.tag(100, wire.VARINT, 6) + b"\0",
        wire.number(100, 1, 10),
        wire.tag(100, wire.VARINT) + b"\x80" * 9 + b"\x7f",
        wire.tag(100, wire.VARINT) + b"\x80" * 10 + b"\0",
        wire.tag(100, wire.VARINT) + b"\x80",
        wire.tag(100, wire.FIXED32) + bytes(3),
        wire.tag(100, wire.FIXED64) + bytes(7),
        wire.piece(100, b"1234")[:-1],
        wire.tag(100, wire.LENGTH_DELIMITED) + wire.varint(2**63),
        wire.tag(100, wire.LENGTH_DELIMITED) + wire.varint(-1),
    ],
    ids=lambda field: field.hex(" "),
)
@pytest.mark.parametrize("level", ["body", "s2c", "security", "tick"])
def test_one_legal_or_illegal_field_at_each_level(field: bytes, level: str) -> None:
    extra = {each: field if each == level else b"" for each in ("body", "s2c", "security", "tick")}
    tick = wire.piece(1, b"2026-11-20 09:30:00") + wire.number(2, 1) + wire.number(3, 1) + wire.double(4, 1.0)
    tick += wire.number(5, 1) + wire.double(6, 1.0) + extra["tick"]
    security = wire.number(1, 1) + wire.piece(2, b"00700") + extra["security"]
    s2c = wire.piece(1, security) + wire.piece(2, tick) + extra["s2c"]
    check(pack_frame(ProtoId.UPDATE_TICKER, 1, wire.number(1, 0) + wire.piece(4, s2c) + extra["body"]))
