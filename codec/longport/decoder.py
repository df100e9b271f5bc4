"""The trade decoder of one LongPort gateway: kernels, their arrays, and their notes as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import ConditionTable
from codec.longport import notes as n
from codec.longport.notes import new_notes
from codec.longport.packets import body_bytes, header_bytes, inflate, trailer_bytes
from codec.longport.protocol import BODY_BYTES_MAX, COMPRESSED_BIT, SIGNED_BIT, PacketType
from codec.longport.trades import decode_packets
from codec.longport.wire import new_day_cache
from codec.spans import Span, StreamBroken
from codec.symbols import CANONICAL, SymbolTable

REASONS: dict[int, tuple[str, str]] = {
    n.EMPTY_BODY: ("empty_body", "the body is empty"),
    n.TRUNCATED_MESSAGE: ("undecodable", "the message is not protobuf, or ends inside a field"),
    n.BAD_SYMBOL: ("undecodable", "the symbol is missing, or not CODE.MARKET in printable ASCII with a known market"),
    n.TOO_MANY_SYMBOLS: ("too_many_symbols", "more symbols than we keep apart"),
    n.TOO_MANY_TRADES: ("too_many_ticks", "more trades than one packet may hold"),
    n.TOO_MANY_BAD_TRADES: ("too_many_bad_ticks", "more bad trades than are listed one by one"),
    n.PRICE_UNREADABLE: ("bad_row", "the price is missing or no finite decimal number"),
    n.TIMESTAMP_UNREADABLE: ("bad_row", "the timestamp is missing or no time between 1990 and 2100"),
    n.TURNOVER_NOT_FINITE: ("bad_row", "price times volume is infinite"),
    n.CONDITION_REFUSED: ("bad_row", "the trade type is too long, or one more long one than we keep apart"),
    n.TOO_MANY_LINES: ("too_many_lines", "more lines than one reply may hold"),
    n.TOO_MANY_BAD_LINES: ("too_many_bad_lines", "more bad lines than are listed one by one"),
    n.INFLOW_UNREADABLE: ("bad_row", "an amount is missing or no finite decimal number"),
}
"""Each reason's word in `dead_letters` and what it means."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a packet, inflated: source[at:stop], with `PAD_BYTES` readable behind it.

    `source` is the receive buffer itself where the body was not compressed: gone when that is reused.
    """

    source: NDArray[np.uint8]
    at: int
    stop: int

    def tobytes(self) -> bytes:
        return self.source[self.at : self.stop].tobytes()


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """A packet that is the session's business."""

    span: Span
    packet_type: PacketType
    command: int
    request_id: int
    """0 in a push."""
    status_code: int
    """0 but in a reply that tells of an error."""
    body: Body


@dataclass(frozen=True, slots=True)
class PulledTrades:
    """A reply to QueryTrade whose trades are rows `first_row` to `first_row + rows` of the buffer.

    They have no sequence yet: 0.
    """

    request_id: int
    symbol_id: int
    first_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A packet, or one trade or line of a packet, that cannot be a row."""

    span: Span
    command: int
    request_id: int
    reason: str
    detail: str
    part: int | None
    """Its index among the packet's trades or lines; None when the whole packet is refused."""
    symbol_id: int | None


Note = ControlPacket | PulledTrades | Refused


@dataclass(slots=True)
class Decoded:
    """What one call read.

    `consumed` is the position of the next byte to read; `needs_room` says that whole packets are
    left because the tick buffer or the notes were full: empty the buffer and call again.
    """

    consumed: int
    notes: list[Note]
    needs_room: bool
    broken: StreamBroken | None


class LongportDecoder:
    """Reads LongPort packets into a TickBuffer.

    With `holds_pulls` a reply to QueryTrade is left as a ControlPacket, for `decode_pull` when its
    time has come. One for each connection's gateway; not thread-safe. `symbols` and `conditions` may be shared by
    decoders of one source that run in one thread.
    """

    def __init__(
        self,
        symbols: SymbolTable,
        conditions: ConditionTable,
        clock: MarketClock,
        *,
        gateway_id: int = 0,
        body_bytes_max: int = BODY_BYTES_MAX,
        holds_pulls: bool = False,
    ) -> None:
        self.symbols = symbols
        self._takes_pulls = not holds_pulls
        self.counters: NDArray[np.int64] = np.zeros(n.COUNTERS, np.int64)
        self._body_bytes_max = body_bytes_max
        self._gateway_id = gateway_id
        self._notes = new_notes()
        self._table_arrays: tuple[Any, ...] = (
            *symbols.arrays,
            *(clock.markets, clock.changes, clock.cached, clock.us_days, new_day_cache()),
            *(conditions.words, conditions.used),
        )

    def decode(self, source: NDArray[np.uint8], start: int, stop: int, recv_ns: int, ticks: TickBuffer) -> Decoded:
        """Read whole packets of source[start:stop], part of a TCP stream, appending trades to `ticks`.

        Parameters
        ----------
        source : (n,) uint8 with at least `PAD_BYTES` behind `stop`
        recv_ns : when these bytes came, unix ns
        """
        return self._decode(source, start, stop, recv_ns, ticks, self._takes_pulls)

    def decode_pull(self, packet: NDArray[np.uint8], recv_ns: int, ticks: TickBuffer) -> Decoded:
        """Read one whole reply to QueryTrade that was held, with `PAD_BYTES` behind it, appending its trades.

        `recv_ns` is when it came.
        """
        return self._decode(packet, 0, len(packet) - PAD_BYTES, recv_ns, ticks, takes_pulls=True)

    def _decode(
        self, source: NDArray[np.uint8], start: int, stop: int, recv_ns: int, ticks: TickBuffer, takes_pulls: bool
    ) -> Decoded:
        status, at, notes = self._read(source, start, stop, -1, recv_ns, ticks, takes_pulls)
        while status == n.COMPRESSED:
            end, status = self._read_compressed(source, at, recv_ns, ticks, notes, takes_pulls)
            if status != n.ALL_READ:
                break
            status, at, more = self._read(source, end, stop, -1, recv_ns, ticks, takes_pulls)
            notes += more
        return Decoded(
            consumed=at,
            notes=notes,
            needs_room=status in (n.ROWS_FULL, n.NOTES_FULL),
            broken=self._broken(status, source, at),
        )

    def decode_message(
        self, source: NDArray[np.uint8], start: int, stop: int, recv_ns: int, ticks: TickBuffer
    ) -> Decoded:
        """Read source[start:stop], one WebSocket message: by the protocol one packet, several are taken.

        Bytes that are no whole packet are refused, and the connection can go on: `broken` is None.
        """
        decoded = self.decode(source, start, stop, recv_ns, ticks)
        if decoded.needs_room or decoded.consumed == stop:
            return decoded
        broken = decoded.broken
        reason, detail = (broken.reason, broken.detail) if broken else ("undecodable", "the message is cut off")
        span = Span(decoded.consumed, stop - decoded.consumed)
        decoded.notes.append(Refused(span, _command(source, span), 0, reason, detail, None, None))
        return Decoded(stop, decoded.notes, needs_room=False, broken=None)

    def _read(
        self,
        source: NDArray[np.uint8],
        start: int,
        stop: int,
        inflated_bytes: int,
        recv_ns: int,
        ticks: TickBuffer,
        takes_pulls: bool,
    ) -> tuple[int, int, list[Note]]:
        """One call of the kernel: its status, where it stopped, its notes."""
        assert 0 <= start <= stop <= len(source) - PAD_BYTES
        status, consumed, row, count = decode_packets(
            source,
            start,
            stop,
            self._body_bytes_max,
            inflated_bytes,
            takes_pulls,
            recv_ns,
            self._gateway_id,
            ticks.rows,
            ticks.wide,
            ticks.real,
            ticks.narrow,
            ticks.small,
            self._notes,
            self.counters,
            *self._table_arrays,
        )
        ticks.rows = int(row)
        if self.symbols.used[0] > len(self.symbols.names):
            self.symbols.resolve()
        notes = [self._note(row, source) for row in self._notes[:count].tolist()] if count else []
        return int(status), int(consumed), notes

    def _read_compressed(
        self,
        source: NDArray[np.uint8],
        at: int,
        recv_ns: int,
        ticks: TickBuffer,
        notes: list[Note],
        takes_pulls: bool,
    ) -> tuple[int, int]:
        """Read the whole compressed packet at `at`, appending to `notes`: where it ends, and the kernel's status."""
        header = int(header_bytes(source, at))
        body_at = at + header
        body_stop = body_at + int(body_bytes(source, body_at))
        span = Span(at, body_stop + int(trailer_bytes(source, at)) - at)
        body = inflate(source[body_at:body_stop].tobytes())
        if body is None:
            detail = "the body is not one gzip member, or inflates past 64 MiB"
            notes.append(Refused(span, int(source[at + 1]), 0, "bad_gzip", detail, None, None))
            return at + span.size_bytes, n.ALL_READ
        plain = np.zeros(header + len(body) + PAD_BYTES, np.uint8)
        plain[:header] = source[at:body_at]
        plain[0] &= ~np.uint8(COMPRESSED_BIT | SIGNED_BIT)
        plain[header : header + len(body)] = np.frombuffer(body, np.uint8)
        status, _, found = self._read(plain, 0, header + len(body), len(body), recv_ns, ticks, takes_pulls)
        notes += [note if isinstance(note, PulledTrades) else replace(note, span=span) for note in found]
        return at + span.size_bytes, status

    def _note(self, row: list[int], source: NDArray[np.uint8]) -> Note:
        span = Span(row[n.PACKET_AT], row[n.PACKET_BYTES])
        symbol_id = int(self.symbols.entries[row[n.SYMBOL], CANONICAL]) if row[n.SYMBOL] >= 0 else None
        match row[n.KIND]:
            case n.CONTROL:
                body = Body(source, row[n.BODY_AT], row[n.BODY_AT] + row[n.BODY_BYTES])
                kind = PacketType(row[n.PACKET_TYPE])
                return ControlPacket(span, kind, row[n.COMMAND], row[n.REQUEST_ID], row[n.STATUS_CODE], body)
            case n.PULLED:
                assert symbol_id is not None
                return PulledTrades(row[n.REQUEST_ID], symbol_id, row[n.FIRST_ROW], row[n.ROWS])
            case n.REFUSED_PACKET:
                word, text = REASONS[row[n.REASON]]
                return Refused(span, row[n.COMMAND], row[n.REQUEST_ID], word, text, None, None)
            case _:
                word, text = REASONS[row[n.REASON]]
                detail = f"trade {row[n.DETAIL]}: {text}"
                return Refused(span, row[n.COMMAND], row[n.REQUEST_ID], word, detail, row[n.DETAIL], symbol_id)

    def _broken(self, status: int, source: NDArray[np.uint8], at: int) -> StreamBroken | None:
        if status == n.BAD_PACKET_TYPE:
            return StreamBroken(at, "bad_packet_type", f"a packet begins with byte {source[at]:#04x}: no known type")
        if status == n.PACKET_TOO_LARGE:
            size = int(body_bytes(source, at + int(header_bytes(source, at))))
            return StreamBroken(
                at, "frame_too_large", f"a packet announces a body of {size} B; the limit is {self._body_bytes_max} B"
            )
        return None


def _command(source: NDArray[np.uint8], span: Span) -> int:
    """The command of a packet that may end before it: then 0."""
    return int(source[span.at + 1]) if span.size_bytes > 1 else 0
