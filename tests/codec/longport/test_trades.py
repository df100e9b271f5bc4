"""The trade kernels against their oracle: whatever the bytes, and however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codec.bits import JIT_DISABLED
from codec.longport.decoder import Refused
from protos.longport.trade_pb2 import PushTrade
from tests.codec.examples import examples
from tests.codec.feeding import cut
from tests.codec.longport import packing
from tests.codec.longport import strategies as drawn
from tests.codec.longport.feeding import Feeder, padded, read_chunks
from tests.codec.longport.oracle import Pulled, read_stream

RECV_NS = 1_795_138_200_123_456_789

paddings = st.sampled_from([b"\xff", b"\x00", b"9", b"\x1a\x0a\x0a\x01", b"\x03\x68", b"\x30\x01", b"a"])
"""What lies behind the received bytes: nothing of it may be believed."""


def check(stream: bytes, places: list[int] | None = None, *, capacity: int = 256, padding: bytes = b"\xff") -> None:
    expected = read_stream(stream, recv_ns=RECV_NS)
    found = read_chunks(cut(stream, places or []), recv_ns=RECV_NS, capacity=capacity, padding=padding)
    assert found == expected


@examples(200)
@given(stream=drawn.streams(drawn.usual_pushes(drawn.trades), drawn.usual_pulls(drawn.trades)), padding=paddings)
def test_messages_as_real_senders_write_them(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(200)
@given(stream=drawn.streams(drawn.usual_pushes(), drawn.usual_pulls()), padding=paddings)
def test_a_bad_trade_is_refused_and_its_neighbours_are_kept(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(300)
@given(stream=drawn.streams(drawn.general_bodies(3), drawn.general_bodies(2), count_max=3), padding=paddings)
def test_any_legal_protobuf(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(300)
@given(stream=drawn.streams(count_max=3), padding=paddings)
def test_messages_with_bytes_changed(stream: bytes, padding: bytes) -> None:
    check(stream, padding=padding)


@examples(200)
@given(bodies=st.lists(st.binary(max_size=120), max_size=4), pulled=st.booleans())
def test_random_bodies(bodies: list[bytes], pulled: bool) -> None:
    check(b"".join(packing.response(body) if pulled else packing.push(body) for body in bodies))


@examples(200)
@given(stream=st.binary(max_size=120))
def test_random_streams(stream: bytes) -> None:
    check(stream)


@examples(150)
@given(stream=drawn.streams(), places=st.lists(st.integers(0, 2**16), max_size=8), capacity=st.integers(5, 20))
def test_cuts_and_small_buffers_change_nothing(stream: bytes, places: list[int], capacity: int) -> None:
    check(stream, places, capacity=capacity)


@examples(60)
@given(stream=drawn.streams(count_max=2))
def test_byte_by_byte(stream: bytes) -> None:
    check(stream, list(range(len(stream))))


@examples(30 if JIT_DISABLED else 60)
@given(body=st.one_of(drawn.usual_pushes(), drawn.general_bodies(3)))
def test_bodies_cut_off_at_every_byte(body: bytes) -> None:
    """Packets that are whole around bodies that are not."""
    check(b"".join(packing.push(body[:size]) for size in range(len(body))))


@examples(100)
@given(packets=st.lists(drawn.packets(), max_size=4), rest=st.binary(max_size=30))
def test_a_message_is_read_as_a_stream_is_and_its_rest_refused(packets: list[bytes], rest: bytes) -> None:
    message = b"".join(packets) + rest
    expected = read_stream(message, recv_ns=RECV_NS)
    feeder = Feeder(recv_ns=RECV_NS)
    decoded = feeder.decoder.decode_message(padded(message), 0, len(message), RECV_NS, feeder.ticks)
    assert decoded.broken is None
    assert decoded.consumed == len(message)
    assert feeder.rows() == expected.rows
    if expected.consumed < len(message):
        last = decoded.notes.pop()
        assert isinstance(last, Refused)
        assert (last.span.at, last.span.size_bytes) == (expected.consumed, len(message) - expected.consumed)
        assert last.reason == (expected.broken[1] if expected.broken else "undecodable")
    assert [feeder.note(note) for note in decoded.notes] == expected.notes


def test_two_spellings_of_a_symbol_are_one_id() -> None:
    bodies = [PushTrade(symbol=symbol, sequence=1) for symbol in ("700.HK", "00700.HK", "700.HK")]
    for body in bodies:
        body.trade.add(price="1", timestamp=1_700_000_000)
    feeder = Feeder()
    feeder.feed(b"".join(packing.push(body.SerializeToString()) for body in bodies))
    feeder.symbols.canonicalize(feeder.ticks.narrow[0, : feeder.ticks.rows])
    assert feeder.ticks.column("symbol").tolist() == [0, 0, 0]


def test_the_suffix_is_the_market_even_where_the_code_is_another() -> None:
    body = PushTrade(symbol="SH.US", sequence=1)
    body.trade.add(price="1", timestamp=1_700_000_000)
    reading = read_chunks([packing.push(body.SerializeToString())])
    assert [row.symbol for row in reading.rows] == ["US.SH"]


def test_a_pull_without_trades_is_told() -> None:
    (note,) = read_chunks([packing.response(b"\x0a\x06700.HK", request_id=9)]).notes
    assert note == Pulled(9, "HK.00700", ())
