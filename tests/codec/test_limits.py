"""Every bound of the tick kernels: what happens at it, one past it, and to the bytes behind it."""

from __future__ import annotations

import numpy as np
import pytest

from codec.bits import JIT_DISABLED, PAD_BYTES
from codec.columns import TickBuffer
from codec.markets import US
from codec.opend import notes as n
from codec.opend.decoder import ControlFrame, Decoded, OpenDDecoder, PulledTicks, Refused
from codec.opend.protocol import HEADER_BYTES, ProtoId, pack_frame
from codec.spans import Span, StreamBroken
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.wire import GROUPS_MAX
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import wire
from tests.codec.feeding import CLOCK

PUSH, PULL = ProtoId.UPDATE_TICKER, ProtoId.GET_TICKER


def body(ticks: int, code: str = "00700", bad: int = 0) -> bytes:
    """A message of `ticks` sound ticks and `bad` ones whose time cannot be read."""
    message = UpdateTickerResponse(retType=0)
    message.s2c.security.market, message.s2c.security.code = 1, code
    for sequence in range(ticks + bad):
        time = "2026-11-20 09:30:00" if sequence < ticks else "soon"
        message.s2c.tickerList.add(time=time, sequence=sequence, dir=1, price=512.5, volume=100, turnover=51250.0)
    return message.SerializeToString()


def decode(
    stream: bytes, capacity: int = 100, *, ticks: TickBuffer | None = None, decoder: OpenDDecoder | None = None
) -> tuple[Decoded, TickBuffer]:
    """One call for the whole of `stream`."""
    ticks = ticks or TickBuffer(capacity)
    decoder = decoder or OpenDDecoder(SymbolTable(12), CLOCK)
    source = np.frombuffer(bytearray(stream + bytes(PAD_BYTES)), np.uint8)
    return decoder.decode(source, 0, len(stream), 0, ticks), ticks


thousands = pytest.mark.skipif(JIT_DISABLED, reason="thousands of frames or ticks take long as plain Python")


def refusal(decoded: Decoded) -> tuple[str, str]:
    (note,) = decoded.notes
    assert isinstance(note, Refused)
    return note.reason, note.detail


GOOD = pack_frame(PUSH, 1, body(2))


def test_a_bad_digest_costs_its_frame_only() -> None:
    bad = bytearray(pack_frame(PUSH, 7, body(3)))
    bad[20] ^= 1
    decoded, ticks = decode(GOOD + bytes(bad) + GOOD)
    span = Span(len(GOOD), len(bad))
    text = "the body does not have the SHA-1 of its header"
    assert decoded.notes == [Refused(span, PUSH, 7, "bad_sha1", text, None, None)]
    assert (ticks.rows, decoded.broken, decoded.needs_room) == (4, None, False)
    assert decoded.consumed == 2 * len(GOOD) + len(bad)


@pytest.mark.parametrize("proto_id", [PUSH, PULL, ProtoId.KEEP_ALIVE, 9999])
def test_an_empty_body_is_refused_whatever_the_protocol_id(proto_id: int) -> None:
    decoded, ticks = decode(GOOD + pack_frame(proto_id, 3, b"") + GOOD)
    span = Span(len(GOOD), HEADER_BYTES)
    assert decoded.notes == [Refused(span, proto_id, 3, "empty_body", "the body is empty", None, None)]
    assert ticks.rows == 4


@pytest.mark.parametrize("wrong", [b"XT", b"FX", b"TF", b"\0\0"])
def test_a_wrong_magic_ends_the_stream_where_it_stands(wrong: bytes) -> None:
    decoded, ticks = decode(GOOD + wrong + GOOD[2:] + GOOD)
    assert decoded.broken == StreamBroken(len(GOOD), "bad_magic", f"a frame begins with {wrong!r}, not b'FT'")
    assert (ticks.rows, decoded.consumed, decoded.notes) == (2, len(GOOD), [])


def test_a_wrong_magic_is_seen_from_two_bytes_on() -> None:
    assert decode(GOOD + b"X")[0].broken is None
    assert decode(GOOD + b"XY")[0].broken is not None


def test_a_body_at_the_limit_is_read_and_one_byte_more_ends_the_stream() -> None:
    size = len(GOOD) - HEADER_BYTES
    for limit, broken in ((size, False), (size - 1, True)):
        decoder = OpenDDecoder(SymbolTable(12), CLOCK, body_bytes_max=limit)
        decoded, ticks = decode(GOOD, decoder=decoder)
        assert (ticks.rows, decoded.broken is not None) == ((0, True) if broken else (2, False))
        # The header alone is enough to know.
        assert (decode(GOOD[:HEADER_BYTES], decoder=decoder)[0].broken is not None) == broken
    text = f"a frame announces a body of {size} B; the limit is {size - 1} B"
    assert decoded.broken == StreamBroken(0, "frame_too_large", text)


def test_the_greatest_announced_length_is_no_negative_one() -> None:
    header = bytearray(GOOD[:HEADER_BYTES])
    header[12:16] = b"\xff" * 4
    decoded, _ = decode(bytes(header))
    assert decoded.broken is not None
    assert decoded.broken.detail.startswith(f"a frame announces a body of {2**32 - 1} B")


def test_a_frame_that_does_not_fit_waits_for_the_next_call() -> None:
    decoder = OpenDDecoder(SymbolTable(12), CLOCK)
    first, second = pack_frame(PUSH, 1, body(6)), pack_frame(PULL, 2, body(5, bad=1))
    decoded, ticks = decode(first + second, 10, decoder=decoder)
    assert (decoded.needs_room, decoded.consumed, decoded.notes, ticks.rows) == (True, len(first), [], 6)
    ticks.rows = 0
    decoded, ticks = decode(second, ticks=ticks, decoder=decoder)
    assert not decoded.needs_room
    assert [type(note) for note in decoded.notes] == [Refused, PulledTicks]
    assert decoded.notes[1] == PulledTicks(2, 0, 0, 5, decoded.notes[1].span)
    assert ticks.rows == 5


def test_a_buffer_filled_to_the_brim_is_not_full() -> None:
    decoded, ticks = decode(pack_frame(PUSH, 1, body(6)) + pack_frame(PUSH, 1, body(4)), 10)
    assert (decoded.needs_room, ticks.rows) == (False, 10)


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_refused_ticks_count_towards_what_a_frame_may_hold(bad: int) -> None:
    """The same whether the frame is as senders write it or not."""
    for trailer in (b"", b"\xa2\x06\x02\x08\x00"):
        fits = pack_frame(PUSH, 1, body(8 - bad, bad=bad) + trailer)
        assert decode(fits, 8)[1].rows == 8 - bad
        decoded, ticks = decode(pack_frame(PUSH, 1, body(9 - bad, bad=bad) + trailer), 8)
        assert refusal(decoded) == ("too_many_ticks", "more ticks than one frame may hold")
        assert ticks.rows == 0


def test_what_was_counted_of_a_frame_that_waits_is_counted_once() -> None:
    """Numbers, disagreements and markets: a frame that is read twice for want of room leaves one count."""
    message = UpdateTickerResponse(retType=0)
    message.s2c.security.market, message.s2c.security.code = 1, "1"
    for sequence in range(3):
        message.s2c.tickerList.add(
            time="2026-11-20 09:30:00", sequence=sequence, dir=9, price=1, volume=1, turnover=1, timestamp=1795000000
        )
    decoder = OpenDDecoder(SymbolTable(12), CLOCK)
    frame = pack_frame(PUSH, 1, message.SerializeToString())
    ticks = TickBuffer(4)
    assert not decode(frame, ticks=ticks, decoder=decoder)[0].needs_room
    assert decode(frame, ticks=ticks, decoder=decoder)[0].needs_room
    assert decoder.counters[[n.TIME_DISAGREEMENTS, n.UNLISTED_NUMBERS]].tolist() == [3, 3]


@pytest.mark.parametrize("market", [1, 300])
def test_what_was_counted_of_a_frame_that_is_refused_does_not_count(market: int) -> None:
    """Its last tick is no protobuf; the one before it has a number that is not listed."""
    odd = wire.piece(1, b"2026-11-20 09:30:00") + wire.number(2, 1) + wire.number(3, 9) + wire.double(4, 1.0)
    odd += wire.number(5, 1) + wire.double(6, 1.0) + wire.double(11, 1795138200.0)
    security = wire.piece(1, wire.number(1, market) + wire.piece(2, b"00700"))
    content = wire.number(1, 0) + wire.piece(4, security + wire.piece(2, odd) + wire.piece(2, odd[:-1]))
    decoder = OpenDDecoder(SymbolTable(12), CLOCK)
    decoded, ticks = decode(pack_frame(PUSH, 1, content), decoder=decoder)
    assert refusal(decoded)[0] == "undecodable"
    assert (ticks.rows, decoder.counters.tolist()) == (0, [0, 0, 0])


@thousands
def test_when_the_notes_are_full_the_rest_waits() -> None:
    ping = pack_frame(ProtoId.KEEP_ALIVE, 5, b"\x08\x00")
    decoded, _ = decode(ping * (n.NOTES_MAX + 1))
    assert (decoded.needs_room, decoded.consumed) == (True, n.NOTES_MAX * len(ping))
    assert len(decoded.notes) == n.NOTES_MAX
    assert decoded.notes[-1] == ControlFrame(
        Span((n.NOTES_MAX - 1) * len(ping), len(ping)), ProtoId.KEEP_ALIVE, 5, body_format=0
    )
    assert not decode(ping * n.NOTES_MAX)[0].needs_room


@thousands
@pytest.mark.parametrize("proto_id", [PUSH, PULL])
@pytest.mark.parametrize("trailer", [b"", b"\xa2\x06\x02\x08\x00"])
def test_bad_ticks_are_listed_one_by_one_up_to_a_limit(proto_id: int, trailer: bytes) -> None:
    bad_max = n.NOTES_MAX - 1
    decoded, ticks = decode(pack_frame(proto_id, 1, body(1, bad=bad_max) + trailer), 2 * n.NOTES_MAX)
    refused = [note for note in decoded.notes if isinstance(note, Refused)]
    assert [note.tick for note in refused] == list(range(1, bad_max + 1))
    assert {note.reason for note in refused} == {"bad_row"}
    assert ticks.rows == 1
    decoded, ticks = decode(pack_frame(proto_id, 1, body(1, bad=bad_max + 1) + trailer) + GOOD, 2 * n.NOTES_MAX)
    assert refusal(decoded) == ("too_many_bad_ticks", "more bad ticks than are listed one by one")
    assert ticks.rows == 2


@thousands
def test_bad_ticks_that_other_notes_leave_no_room_for_wait() -> None:
    ping = pack_frame(ProtoId.KEEP_ALIVE, 5, b"\x08\x00")
    decoded, ticks = decode(ping + pack_frame(PUSH, 1, body(1, bad=n.NOTES_MAX - 1)), 2 * n.NOTES_MAX)
    assert (decoded.needs_room, decoded.consumed, len(decoded.notes), ticks.rows) == (True, len(ping), 1, 0)


@thousands
def test_when_symbols_run_out_new_ones_are_refused_and_known_ones_go_on() -> None:
    symbols = SymbolTable(12)
    for number in range(SYMBOLS_MAX):
        symbols.id_of(US, f"S{number}")
    decoder = OpenDDecoder(symbols, CLOCK)
    message = UpdateTickerResponse.FromString(body(1))
    message.s2c.security.market, message.s2c.security.code = US, "S65535"
    known = pack_frame(PUSH, 2, message.SerializeToString())
    decoded, ticks = decode(pack_frame(PUSH, 1, body(1, code="NEW")) + known, decoder=decoder)
    assert refusal(decoded) == ("too_many_symbols", "more symbols than we keep apart")
    assert [symbols.names[id_] for id_ in ticks.column("symbol").tolist()] == ["US.S65535"]


def test_groups_of_unknown_fields_are_stepped_over_to_a_depth() -> None:
    for depth, rows in ((GROUPS_MAX, 2), (GROUPS_MAX + 1, 0)):
        nested = wire.tag(100, wire.START_GROUP) * depth + wire.tag(100, wire.END_GROUP) * depth
        decoded, ticks = decode(pack_frame(PUSH, 1, body(2) + nested))
        assert ticks.rows == rows
        assert bool(decoded.notes) == (rows == 0)


def test_negative_numbers_are_varints_of_ten_bytes() -> None:
    """int32 travels as int64 does: -1 is ten bytes, and its upper half is dropped."""
    tick = b"".join(
        (
            wire.piece(1, b"2026-11-20 09:30:00"),
            wire.number(2, -7),
            wire.number(3, -1),
            wire.double(4, 1.0),
            wire.number(5, -100),
            wire.double(6, 1.0),
            wire.number(8, 2**32 + 6),
        )
    )
    assert tick.count(b"\xff\xff\xff\xff\xff\xff\x01") == 3
    security = wire.piece(1, wire.number(1, 1) + wire.piece(2, b"00700"))
    content = wire.number(1, 0) + wire.piece(4, security + wire.piece(2, tick))
    decoder = OpenDDecoder(SymbolTable(12), CLOCK)
    _, ticks = decode(pack_frame(PUSH, 1, content), decoder=decoder)
    values = [ticks.column(name)[0] for name in ("sequence", "direction", "volume", "trade_type")]
    assert values == [-7, 0, -100.0, 6]
    assert decoder.counters[n.UNLISTED_NUMBERS] == 1
    failed = wire.number(1, -1) + wire.piece(4, security + wire.piece(2, tick))
    decoded, ticks = decode(pack_frame(PUSH, 4, failed))
    assert decoded.notes == [ControlFrame(Span(0, HEADER_BYTES + len(failed)), PUSH, 4, 0)]
    assert ticks.rows == 0


def test_the_latter_of_two_securities_counts_also_when_the_former_is_bad() -> None:
    """In a message that is as senders write it up to the security behind its ticks."""
    head = wire.number(1, 0)
    bad, good = (wire.piece(1, wire.number(1, 1) + wire.piece(2, code)) for code in (b"", b"00700"))
    _, _, ticks_of = body(2).partition(b"\x12\x0500700")
    symbols = SymbolTable(12)
    decoder = OpenDDecoder(symbols, CLOCK)
    _, ticks = decode(pack_frame(PUSH, 1, head + wire.piece(4, bad + ticks_of + good)), decoder=decoder)
    assert [symbols.names[id_] for id_ in ticks.column("symbol").tolist()] == ["HK.00700"] * 2


@pytest.mark.parametrize("trailing", [1, 2])
def test_a_field_of_a_tick_that_looks_like_a_tick_is_none(trailing: int) -> None:
    """Field 2 as a message inside a tick is unknown, though it is what lists ticks one level above."""
    rest = wire.number(2, 1) + wire.number(3, 1) + wire.double(4, 1.0) + wire.number(5, 1) + wire.double(6, 1.0)
    tick = wire.piece(1, b"2026-11-20 09:30:00") + rest
    for number in (2, 3):
        spoilt = tick + wire.piece(number, tick) * trailing
        security = wire.piece(1, wire.number(1, 1) + wire.piece(2, b"00700"))
        content = wire.number(1, 0) + wire.piece(4, security + wire.piece(2, spoilt) + wire.piece(2, tick))
        decoded, ticks = decode(pack_frame(PUSH, 1, content))
        assert (ticks.rows, decoded.notes) == (2, [])
