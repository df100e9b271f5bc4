"""The tick decoder of one gateway: kernels, their arrays, and their notes as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.opend import notes as n
from codec.opend.notes import new_notes
from codec.opend.protocol import FRAME_BYTES_MAX, HEADER_BYTES
from codec.opend.text_time import new_minute_cache
from codec.opend.ticks import decode_frames
from codec.spans import Span, StreamBroken
from codec.symbols import SymbolTable

REASONS: dict[int, tuple[str, str]] = {
    n.BAD_SHA1: ("bad_sha1", "the body does not have the SHA-1 of its header"),
    n.EMPTY_BODY: ("empty_body", "the body is empty"),
    n.TRUNCATED_MESSAGE: ("undecodable", "the message is not protobuf, or ends inside a field"),
    n.NO_RETURN_TYPE: ("undecodable", "retType is missing"),
    n.NO_SECURITY: ("undecodable", "the security is missing or incomplete"),
    n.BAD_SYMBOL_CODE: ("undecodable", "the security's code is empty, too long or not printable ASCII"),
    n.TOO_MANY_SYMBOLS: ("too_many_symbols", "more symbols than we keep apart"),
    n.TOO_MANY_TICKS: ("too_many_ticks", "more ticks than one frame may hold"),
    n.TOO_MANY_BAD_TICKS: ("too_many_bad_ticks", "more bad ticks than are listed one by one"),
    n.FIELD_MISSING: ("bad_row", "a required field is missing"),
    n.TIME_UNREADABLE: ("bad_row", "the time cannot be read"),
    n.TIMESTAMP_UNREADABLE: ("bad_row", "the timestamp is missing or no time between 1990 and 2100"),
    n.PRICE_NOT_FINITE: ("bad_row", "the price is infinite or not a number"),
    n.AMOUNT_NOT_FINITE: ("bad_row", "volume or turnover is infinite or not a number"),
    n.TOO_MANY_LINES: ("too_many_lines", "more lines than one reply may hold"),
    n.TOO_MANY_BAD_LINES: ("too_many_bad_lines", "more bad lines than are listed one by one"),
    n.INFLOW_NOT_FINITE: ("bad_row", "an amount is infinite or not a number"),
}
"""Each reason's word in `dead_letters` and what it means."""


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A frame that is the session's business."""

    span: Span
    proto_id: int
    serial: int
    body_format: int


@dataclass(frozen=True, slots=True)
class PulledTicks:
    """A reply to GetTicker whose ticks are rows `first_row` to `first_row + rows` of the buffer."""

    serial: int
    symbol_id: int | None
    first_row: int
    rows: int
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame, or one tick of a frame, that cannot be a row."""

    span: Span
    proto_id: int
    serial: int
    reason: str
    detail: str
    tick: int | None
    """Its index among the frame's ticks; None when the whole frame is refused."""
    symbol_id: int | None


Note = ControlFrame | PulledTicks | Refused


@dataclass(slots=True)
class Decoded:
    """What one call read.

    `consumed` is the position of the next byte to read; `needs_room` says that whole frames are
    left because the tick buffer or the notes were full: empty the buffer and call again. With
    `json_ticks` they are left because the last note is a ControlFrame of ticks in JSON, which come
    first (codec/opend/json_ticks.py).
    """

    consumed: int
    notes: list[Note]
    needs_room: bool
    broken: StreamBroken | None
    json_ticks: bool = False


class OpenDDecoder:
    """Reads an OpenD byte stream into a TickBuffer.

    One for each connection's gateway; not thread-safe. `symbols` may be shared by decoders of one
    source that run in one thread.
    """

    def __init__(
        self,
        symbols: SymbolTable,
        clock: MarketClock,
        *,
        gateway_id: int = 0,
        body_bytes_max: int = FRAME_BYTES_MAX,
        checks_sha1: bool = True,
    ) -> None:
        self.symbols = symbols
        self.counters: NDArray[np.int64] = np.zeros(n.COUNTERS, np.int64)
        self.body_bytes_max = body_bytes_max
        self._checks_sha1 = checks_sha1
        self._gateway_id = gateway_id
        self._notes = new_notes()
        self._table_arrays: tuple[Any, ...] = (
            *symbols.arrays,
            *(clock.markets, clock.changes, clock.cached, clock.us_days, new_minute_cache(clock)),
        )

    def decode(self, source: NDArray[np.uint8], start: int, stop: int, recv_ns: int, ticks: TickBuffer) -> Decoded:
        """Read whole frames of source[start:stop], appending ticks to `ticks`.

        Parameters
        ----------
        source : (n,) uint8 with at least `PAD_BYTES` behind `stop`; nothing of it is kept
        recv_ns : when these bytes came, unix ns
        """
        assert 0 <= start <= stop <= len(source) - PAD_BYTES
        status, consumed, row, count = decode_frames(
            source,
            start,
            stop,
            self.body_bytes_max,
            self._checks_sha1,
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
        return Decoded(
            consumed=int(consumed),
            notes=[_note(row) for row in self._notes[:count].tolist()] if count else [],
            needs_room=status in (n.ROWS_FULL, n.NOTES_FULL),
            broken=self._broken(status, source, consumed),
            json_ticks=status == n.JSON_TICKS,
        )

    def _broken(self, status: int, source: NDArray[np.uint8], at: int) -> StreamBroken | None:
        if status == n.BAD_MAGIC:
            return StreamBroken(at, "bad_magic", f"a frame begins with {source[at : at + 2].tobytes()!r}, not b'FT'")
        if status == n.FRAME_TOO_LARGE:
            size = int.from_bytes(source[at + 12 : at + 16].tobytes(), "little")
            return StreamBroken(
                at, "frame_too_large", f"a frame announces a body of {size} B; the limit is {self.body_bytes_max} B"
            )
        return None


def _note(row: list[int]) -> Note:
    span = Span(row[n.FRAME_AT], row[n.FRAME_BYTES])
    assert span.size_bytes >= HEADER_BYTES
    symbol_id = row[n.SYMBOL] if row[n.SYMBOL] >= 0 else None
    match row[n.KIND]:
        case n.CONTROL:
            return ControlFrame(span, row[n.PROTO_ID], row[n.SERIAL], row[n.BODY_FORMAT])
        case n.PULLED:
            return PulledTicks(row[n.SERIAL], symbol_id, row[n.FIRST_ROW], row[n.ROWS], span)
        case n.REFUSED_FRAME:
            word, text = REASONS[row[n.REASON]]
            return Refused(span, row[n.PROTO_ID], row[n.SERIAL], word, text, None, None)
        case _:
            word, text = REASONS[row[n.REASON]]
            detail = f"tick {row[n.DETAIL]}: {text}"
            return Refused(span, row[n.PROTO_ID], row[n.SERIAL], word, detail, row[n.DETAIL], symbol_id)
