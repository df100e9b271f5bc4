"""What is new in a poll: lines that were never published, or not with these amounts.

Every poll brings the whole day again. Of each (symbol, period) the lines last published are kept,
sorted by ts_event; a line is fresh when its ts_event is not among them or any of its amounts
differs, bit by bit, null from value too (contract.md, Tables). Lines of one ts_event that came
together have one key in the table: the last of them counts.

Rule 1: `test` changes nothing. `mark` is called with its verdict once the rows are durable; a line
marked earlier would be lost by a failed append.
Rule 2: memory is bounded: `LINES_MAX` lines of each (symbol, period), and of the intraday ones only
those of the newest `DAYS_KEPT` trading days; the oldest are forgotten first.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bits import bits_of
from codec.flow_columns import (
    FLOW_LINES_MAX,
    FLOW_SYMBOL_ID,
    FLOW_TRADE_DATE,
    FLOW_TS_EVENT_US,
    FLOW_TS_RECV_NS,
    INFLOWS,
    INTRADAY,
    PERIOD_CODE,
    FlowBuffer,
)
from codec.kernel import inlined, kernel
from codec.markets import parse_symbol
from codec.symbols import SymbolTable

LINES_MAX = FLOW_LINES_MAX
"""A whole reply always fits."""

DAYS_KEPT = 2
"""The running trading day, and the one before: a reply asked for before the open may bring that one."""

_NONE = -1


@inlined
def _same_bits(left, i, right, j):
    """Whether lines i of `left` and j of `right`, blocks of (INFLOWS, n) float64, are equal bit by bit."""
    different = np.uint64(0)
    for part in range(INFLOWS):
        different |= bits_of(left[part, i]) ^ bits_of(right[part, j])
    return different == np.uint64(0)


@kernel
def _judge(
    places: NDArray[np.int64],
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    known_us: NDArray[np.int64],
    known: NDArray[np.float64],
    fresh: NDArray[np.bool_],
) -> None:
    """Judge the rows of one (symbol, period).

    Parameters
    ----------
    places : (n,) int64, their rows in `wide` and `real`, sorted by ts_event, then as they came
    wide, real : the blocks of a FlowBuffer
    known_us, known : (k,) int64 ascending and (INFLOWS, k) float64, what was published
    fresh : (rows,) bool, all False; becomes True for fresh rows
    """
    at = 0
    begin = 0
    while begin < len(places):
        event_us = wide[FLOW_TS_EVENT_US, places[begin]]
        while at < len(known_us) and known_us[at] < event_us:
            at += 1
        known_at = at if at < len(known_us) and known_us[at] == event_us else _NONE
        latest = np.int64(_NONE)  # the row that is published last so far
        i = begin
        while i < len(places) and wide[FLOW_TS_EVENT_US, places[i]] == event_us:
            row = places[i]
            i += 1
            if i < len(places):
                after = places[i]
                if (
                    wide[FLOW_TS_EVENT_US, after] == event_us
                    and wide[FLOW_TS_RECV_NS, after] == wide[FLOW_TS_RECV_NS, row]
                ):
                    continue  # one key in the table: the later one counts
            if latest != _NONE:
                repeat = _same_bits(real, row, real, latest)
            else:
                repeat = known_at != _NONE and _same_bits(real, row, known, known_at)
            if not repeat:
                fresh[row] = True
                latest = row
        begin = i


@kernel
def _merge(
    places: NDArray[np.int64],
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    known_us: NDArray[np.int64],
    known_days: NDArray[np.int32],
    known: NDArray[np.float64],
    out_us: NDArray[np.int64],
    out_days: NDArray[np.int32],
    out: NDArray[np.float64],
) -> int:
    """Merge rows into the lines known of their (symbol, period); of one ts_event the last row stays.

    `places` as in `_judge`. The outputs have room for all; returns how many lines they hold.
    """
    at, count = 0, 0
    for i in range(len(places)):
        row = places[i]
        event_us = wide[FLOW_TS_EVENT_US, row]
        while at < len(known_us) and known_us[at] < event_us:
            out_us[count], out_days[count] = known_us[at], known_days[at]
            for part in range(INFLOWS):
                out[part, count] = known[part, at]
            at += 1
            count += 1
        if at < len(known_us) and known_us[at] == event_us:
            at += 1
        if count > 0 and out_us[count - 1] == event_us:
            count -= 1
        out_us[count], out_days[count] = event_us, narrow[FLOW_TRADE_DATE, row]
        for part in range(INFLOWS):
            out[part, count] = real[part, row]
        count += 1
    while at < len(known_us):
        out_us[count], out_days[count] = known_us[at], known_days[at]
        for part in range(INFLOWS):
            out[part, count] = known[part, at]
        at += 1
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Page:
    """The lines last published of one (symbol, period), by ts_event ascending.

    Attributes
    ----------
    event_us, days : (n,) int64 unix µs and (n,) int32 trading days
    inflows : (INFLOWS, n) float64, NaN for null
    """

    event_us: NDArray[np.int64]
    days: NDArray[np.int32]
    inflows: NDArray[np.float64]

    @classmethod
    def of_size(cls, lines: int) -> _Page:
        return cls(np.empty(lines, np.int64), np.empty(lines, np.int32), np.empty((INFLOWS, lines), np.float64))

    def part(self, begin: int, end: int) -> _Page:
        """A copy of lines begin:end: what was cut off is not held in memory by a view."""
        return _Page(self.event_us[begin:end].copy(), self.days[begin:end].copy(), self.inflows[:, begin:end].copy())


_NO_LINES = _Page.of_size(0)


@dataclass(frozen=True, slots=True)
class FlowVerdict:
    """What `FlowDiff.test` found of the rows of a buffer.

    Attributes
    ----------
    fresh : (rows,) bool, False for lines that say nothing new
    fresh_rows : how many are fresh
    """

    fresh: NDArray[np.bool_]
    fresh_rows: int


class FlowDiff:
    """The lines last published of each (symbol, period) of one source. Not thread-safe."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._table = symbols
        self._pages: dict[tuple[int, int], _Page] = {}

    def test(self, flows: FlowBuffer) -> FlowVerdict:
        """Tell new and changed lines of `flows` from the others; changes nothing (rule 1)."""
        fresh = np.zeros(flows.rows, np.bool_)
        for key, places in _by_page(flows, np.arange(flows.rows)):
            page = self._pages.get(key, _NO_LINES)
            _judge(places, flows.wide, flows.real, page.event_us, page.inflows, fresh)
        return FlowVerdict(fresh, int(np.count_nonzero(fresh)))

    def mark(self, flows: FlowBuffer, verdict: FlowVerdict) -> None:
        """Remember the fresh rows of `flows`: they are durable now."""
        self._mark(flows, np.flatnonzero(verdict.fresh))

    def mark_journaled(self, flows: FlowBuffer) -> None:
        """Remember rows that were read back from the journal, in the order in which they were appended."""
        self._mark(flows, np.arange(flows.rows))

    def _mark(self, flows: FlowBuffer, rows: NDArray[np.int64]) -> None:
        for key, places in _by_page(flows, rows):
            page = self._pages.get(key, _NO_LINES)
            merged = _Page.of_size(len(page.event_us) + len(places))
            count = _merge(
                places, flows.wide, flows.real, flows.narrow, page.event_us, page.days, page.inflows,
                merged.event_us, merged.days, merged.inflows,
            )  # fmt: skip
            self._pages[key] = merged.part(_first_kept(key, merged, int(count)), int(count))

    def export(self) -> bytes:
        """The whole state, for `restore` in another process."""
        keys = sorted(self._pages)
        pages = [self._pages[key] for key in keys]
        sink = io.BytesIO()
        np.savez(
            sink,
            names=np.array([self._table.names[symbol] for symbol, _ in keys], np.str_),
            periods=np.array([period for _, period in keys], np.uint8),
            counts=np.array([len(page.event_us) for page in pages], np.int64),
            event_us=np.concatenate([_NO_LINES.event_us, *(page.event_us for page in pages)]),
            days=np.concatenate([_NO_LINES.days, *(page.days for page in pages)]),
            inflows=np.concatenate([_NO_LINES.inflows, *(page.inflows for page in pages)], axis=1),
        )
        return sink.getvalue()

    def restore(self, exported: bytes) -> None:
        """Take what `export` gave; it replaces what is held of the same symbols and periods.

        Raises
        ------
        ValueError
            These are not the bytes of an export.
        """
        with np.load(io.BytesIO(exported), allow_pickle=False) as state:
            ends = np.cumsum(state["counts"])
            whole = _Page(state["event_us"], state["days"], state["inflows"])
            for place, name in enumerate(state["names"].tolist()):
                key = (self._table.id_of(*parse_symbol(name)), int(state["periods"][place]))
                end = int(ends[place])
                self._pages[key] = whole.part(end - int(state["counts"][place]), end)


def _by_page(flows: FlowBuffer, rows: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """(symbol id, period) and their rows, sorted by ts_event, then as they came."""
    if len(rows) == 0:
        return
    periods = flows.small[PERIOD_CODE].take(rows).astype(np.int64)
    pages = flows.narrow[FLOW_SYMBOL_ID].take(rows).astype(np.int64) << 8 | periods
    order = np.lexsort((flows.wide[FLOW_TS_EVENT_US].take(rows), pages))
    ordered = pages.take(order)
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    for places, page in zip(np.split(rows.take(order), cuts), ordered[[0, *cuts]].tolist(), strict=True):
        yield (page >> 8, page & 0xFF), places


def _first_kept(key: tuple[int, int], page: _Page, lines: int) -> int:
    """The first line of a page of `lines` lines that is not forgotten (rule 2)."""
    first = max(0, lines - LINES_MAX)
    if key[1] != INTRADAY:
        return first
    days = np.unique(page.days[:lines])
    if len(days) > DAYS_KEPT:
        # Lines are in the order of their instants, and trading days follow it.
        first = max(first, int(np.searchsorted(page.days[:lines], days[-DAYS_KEPT])))
    return first
