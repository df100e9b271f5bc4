"""Headers, trailers, compressed bodies and limits."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import CONDITIONS_MAX, ConditionTable
from codec.longport import notes as n
from codec.longport.decoder import ControlPacket, LongportDecoder, Refused
from codec.longport.protocol import INFLATED_BYTES_MAX, REQUEST_COMPRESSED_FROM_BYTES, Command, pack_request
from codec.symbols import SymbolTable
from protos.longport.trade_pb2 import PushTrade, SecurityTradeResponse
from tests.codec import wire
from tests.codec.longport import oracle, packing
from tests.codec.longport.feeding import Feeder, padded, read_chunks
from tests.codec.longport.oracle import Control, Reading, read_stream

TIME = 1_700_000_000


def push_of(count: int, symbol: str = "700.HK", **values: object) -> bytes:
    message = PushTrade(symbol=symbol, sequence=5)
    for _ in range(count):
        message.trade.add(**{"price": "1.5", "timestamp": TIME, **values})
    return message.SerializeToString()


def refusals(reading: Reading) -> list[oracle.Refused]:
    return [note for note in reading.notes if isinstance(note, oracle.Refused)]


def test_a_long_request_is_compressed() -> None:
    body = b"\x0a\x06700.HK" * 200
    packet = pack_request(Command.SUBSCRIBE, 7, body, 30_000)
    assert packet[0] == 0x21
    assert gzip.decompress(packet[11:]) == body
    assert len(packet) < len(body)
    just_short = b"x" * (REQUEST_COMPRESSED_FROM_BYTES - 1)
    assert pack_request(Command.SUBSCRIBE, 7, just_short, 30_000)[11:] == just_short


def test_a_request_from_the_gateway_is_the_sessions_business() -> None:
    packet = packing.request(b"\x08\x01", Command.HEARTBEAT, 2**32 - 1)
    assert read_chunks([packet]).notes == [Control(0, len(packet), 1, Command.HEARTBEAT, 2**32 - 1, 0, b"\x08\x01")]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_control_body_is_told_inflated(compressed: bool, signed: bool) -> None:
    packet = packing.response(b"body", 24, 3, 7, signed=signed, compressed=compressed)
    reading = read_chunks([packet + packing.push(push_of(1))])
    assert reading.notes == [Control(0, len(packet), 2, 24, 3, 7, b"body")]
    assert len(reading.rows) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: body + gzip.compress(b"more"),
        lambda body: body[:20] + bytes((body[20] ^ 1,)) + body[21:],
        lambda body: b"",
        lambda body: b"plain",
    ],
    ids=["cut off", "longer", "two members", "damaged", "empty", "not compressed"],
)
def test_a_body_that_does_not_inflate(spoil: object) -> None:
    assert callable(spoil)
    body = spoil(gzip.compress(push_of(3), mtime=0))
    packet = b"\x23\x68" + len(body).to_bytes(3, "big") + body
    reading = read_chunks([packet + packing.push(push_of(1))])
    (note,) = refusals(reading)
    assert (note.at, note.size_bytes, note.reason) == (0, len(packet), "bad_gzip")
    assert len(reading.rows) == 1


def test_the_most_that_a_body_may_inflate_to() -> None:
    """A body past the 16 MiB that a header can say is whole; one past the limit is refused unread."""
    whole = wire.piece(100, bytes(20 << 20)) + push_of(2)
    bomb = wire.piece(100, bytes(INFLATED_BYTES_MAX)) + push_of(2)
    reading = read_chunks([packing.push(whole, compressed=True), packing.push(bomb, compressed=True)])
    assert len(reading.rows) == 2
    assert [note.reason for note in refusals(reading)] == ["bad_gzip"]


def test_a_compressed_packet_that_finds_no_room_is_read_again() -> None:
    stream = packing.push(push_of(3)) + packing.push(push_of(3), compressed=True) + packing.push(push_of(2))
    assert read_chunks([stream], capacity=4) == read_stream(stream, recv_ns=0)


def test_a_body_longer_than_the_limit_breaks_the_stream() -> None:
    decoder = LongportDecoder(SymbolTable(1), ConditionTable(), MarketClock(), body_bytes_max=100)
    stream = packing.push(b"x" * 100, 101) + packing.push(b"x" * 101, 101)
    decoded = decoder.decode(padded(stream), 0, len(stream), 0, TickBuffer(1))
    assert decoded.broken is not None
    assert (decoded.broken.at, decoded.broken.reason, decoded.consumed) == (105, "frame_too_large", 105)
    decoded = decoder.decode_message(padded(stream), 0, len(stream), 0, TickBuffer(1))
    assert isinstance(decoded.notes[-1], Refused)
    assert decoded.notes[-1].reason == "frame_too_large"


def test_more_trades_than_a_buffer_holds() -> None:
    stream = packing.push(push_of(1)) + packing.push(push_of(9)) + packing.push(push_of(8))
    assert read_chunks([stream], capacity=8) == read_stream(stream, recv_ns=0, trades_max=8)


def test_more_bad_trades_than_are_listed() -> None:
    """In packets of their own they wait for room; in one packet that holds too many, it is refused whole."""
    some = packing.push(push_of(n.NOTES_MAX // 2, price=""))
    most = packing.push(push_of(n.NOTES_MAX - 1, price=""))
    reading = read_chunks([some * 3 + most], capacity=n.NOTES_MAX)
    assert len(reading.notes) == 3 * (n.NOTES_MAX // 2) + n.NOTES_MAX - 1
    reading = read_chunks([some + packing.push(push_of(n.NOTES_MAX, price=""))], capacity=n.NOTES_MAX)
    assert refusals(reading)[-1].reason == "too_many_bad_ticks"


def test_notes_without_end_need_room() -> None:
    stream = packing.push(b"", 0) * (n.NOTES_MAX + 1)
    feeder = Feeder()
    decoded = feeder.decoder.decode(padded(stream), 0, len(stream), 0, feeder.ticks)
    assert (decoded.needs_room, decoded.consumed, len(decoded.notes)) == (True, n.NOTES_MAX * 5, n.NOTES_MAX)
    decoded = feeder.decoder.decode(padded(stream), decoded.consumed, len(stream), 0, feeder.ticks)
    assert (decoded.needs_room, decoded.consumed, len(decoded.notes)) == (False, len(stream), 1)


def test_more_conditions_than_are_kept_apart() -> None:
    message = SecurityTradeResponse(symbol="AAPL.US")
    for number in range(CONDITIONS_MAX + 2):
        message.trades.add(price="1", timestamp=TIME, trade_type=f"word {number}")
    message.trades.add(price="1", timestamp=TIME, trade_type="word 0")
    feeder = Feeder(capacity=512)
    feeder.feed(packing.response(message.SerializeToString()))
    assert feeder.ticks.rows == CONDITIONS_MAX + 1
    assert [note.reason for note in refusals(feeder.reading)] == ["bad_row", "bad_row"]
    assert feeder.conditions.names() == [f"word {number}" for number in range(CONDITIONS_MAX)]
    assert feeder.ticks.column("condition")[0] == feeder.ticks.column("condition")[-1]


def test_a_body_stays_where_it_came() -> None:
    packet = packing.response(b"body", 24)
    source = padded(packet)
    feeder = Feeder()
    (note,) = feeder.decoder.decode(source, 0, len(packet), 0, feeder.ticks).notes
    assert isinstance(note, ControlPacket)
    assert np.shares_memory(note.body.source, source)
