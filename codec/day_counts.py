"""What passed of each symbol on each trading day: the hop counts that `ticktape audit` compares.

Counted by one kernel call a batch and day, once the batch is durable. `received` less `journaled` are
the repeats: a process that dies takes with it the repeats that it counted since its last snapshot, from
both sides of that difference, so it always holds exactly. `journaled` is never off by a row: what the
snapshot does not know is counted again from the journal.

Rule 1: memory is bounded: `DAYS_MAX` days; the one that was touched longest ago goes first.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.columns import SEQUENCE, SYMBOL_ID, TRADE_DATE, TS_EVENT_US, TURNOVER, VOLUME, TickBuffer
from codec.kernel import kernel
from codec.markets import HK, MARKET_PREFIXES, parse_symbol
from codec.symbols import SymbolTable

DAYS_MAX = 40
"""A pull may bring ticks of weeks ago, for a symbol that hardly trades."""

_COUNTER_MASK = 0xFFFFFFFF
_SYMBOLS_FIRST = 64
_NEVER = -1

# Rows of a day's whole numbers, (8, symbols) int64.
_RECEIVED, _JOURNALED, _SEQUENCES, _FIRST_US, _LAST_US, _LOW, _HIGH, _COVERED = range(8)
_EMPTY = np.array([0, 0, 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min, _COUNTER_MASK + 1, -1, _NEVER], np.int64)
# Rows of a day's sums, (2, symbols) float64.
_VOLUME_SUM, _TURNOVER_SUM = range(2)

_COUNTED_SOURCES = frozenset({"futu", "moomoo"})
_COUNTED_PREFIX = f"{MARKET_PREFIXES[HK]}."


def counts_on(source: str, symbol: str) -> bool:
    """Whether the low word of this symbol's sequences grows by 1 a tick (docs/protocols/opend.md 4)."""
    return source in _COUNTED_SOURCES and symbol.startswith(_COUNTED_PREFIX)


@kernel
def _count(
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    ordinals: NDArray[np.uint32],
    fresh: NDArray[np.bool_],
    day: int,
    whole: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add the rows of one trading day, days from the epoch, to its whole numbers and sums.

    `ordinals` and `fresh`, (n,), are meant as in a `Verdict`; n is the number of rows.
    """
    for i in range(len(fresh)):
        if narrow[TRADE_DATE, i] != day:
            continue
        symbol = narrow[SYMBOL_ID, i]
        whole[_RECEIVED, symbol] += 1
        if not fresh[i]:
            continue
        whole[_JOURNALED, symbol] += 1
        whole[_SEQUENCES, symbol] += ordinals[i] == 0
        counter = wide[SEQUENCE, i] & _COUNTER_MASK
        whole[_FIRST_US, symbol] = min(whole[_FIRST_US, symbol], wide[TS_EVENT_US, i])
        whole[_LAST_US, symbol] = max(whole[_LAST_US, symbol], wide[TS_EVENT_US, i])
        whole[_LOW, symbol] = min(whole[_LOW, symbol], counter)
        whole[_HIGH, symbol] = max(whole[_HIGH, symbol], counter)
        sums[_VOLUME_SUM, symbol] += real[VOLUME, i]
        sums[_TURNOVER_SUM, symbol] += real[TURNOVER, i]


@dataclass(frozen=True, slots=True)
class DayCount:
    """One symbol on one trading day.

    Attributes
    ----------
    trade_date : days from the epoch
    received, journaled : ticks decoded, and those of them that were fresh and are in the journal
    sequences : different sequences among the journaled ones
    first_us, last_us : least and greatest ts_event, unix µs
    counter_low, counter_high : least and greatest low word of a sequence
    volume, turnover : sums over the journaled ticks
    covered : rows journaled when `coverage` last said how complete the day is; -1 for never
    """

    symbol: str
    trade_date: int
    received: int
    journaled: int
    sequences: int
    first_us: int
    last_us: int
    counter_low: int
    counter_high: int
    volume: float
    turnover: float
    covered: int

    @property
    def repeats(self) -> int:
        return self.received - self.journaled

    @property
    def counter_missing(self) -> int:
        """Counters between the first and the last known that were never journaled: where they are +1 a tick."""
        return self.counter_high - self.counter_low + 1 - self.sequences if self.journaled else 0


class DayCounts:
    """The hop counts of one source. Not thread-safe."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._days: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self.newest_us = 0
        """The greatest ts_event journaled, unix µs; 0 before the first."""

    def add(self, ticks: TickBuffer, fresh: NDArray[np.bool_], ordinals: NDArray[np.uint32]) -> None:
        """Count the rows of a buffer that is durable now; (rows,) `fresh` and `ordinals` as in its Verdict."""
        rows = ticks.rows
        if rows == 0:
            return
        days = ticks.narrow[TRADE_DATE, :rows]
        first, last = int(days.min()), int(days.max())
        for day in (first,) if first == last else np.unique(days).tolist():
            _count(ticks.wide, ticks.real, ticks.narrow, ordinals, fresh, day, *self._of_day(day))
        if fresh.any():
            self.newest_us = max(self.newest_us, int(ticks.wide[TS_EVENT_US, :rows][fresh].max()))

    def __iter__(self) -> Iterator[DayCount]:
        """Every symbol and day that has a row."""
        for day, (whole, _) in list(self._days.items()):
            yield from self._counts(day, np.flatnonzero(whole[_RECEIVED]))

    def not_covered(self) -> Iterator[DayCount]:
        """Those of which `coverage` does not yet tell, or tells another number of rows."""
        for day, (whole, _) in list(self._days.items()):
            yield from self._counts(
                day, np.flatnonzero((whole[_RECEIVED] > 0) & (whole[_JOURNALED] != whole[_COVERED]))
            )

    def _counts(self, day: int, ids: NDArray[np.int64]) -> Iterator[DayCount]:
        whole, sums = self._days[day]
        for id_ in ids.tolist():
            received, journaled, sequences, first_us, last_us, low, high, covered = whole[:, id_].tolist()
            yield DayCount(
                symbol=self._symbols.names[id_],
                trade_date=day,
                received=received,
                journaled=journaled,
                sequences=sequences,
                first_us=first_us,
                last_us=last_us,
                counter_low=low,
                counter_high=high,
                volume=float(sums[_VOLUME_SUM, id_]),
                turnover=float(sums[_TURNOVER_SUM, id_]),
                covered=covered,
            )

    def traded(self) -> dict[int, set[int]]:
        """The days that have rows, each with the numbers of its markets."""
        traded = {}
        for day, (whole, _) in self._days.items():
            ids = np.flatnonzero(whole[_JOURNALED])
            traded[day] = set(np.unique(self._symbols.markets[ids]).tolist())
        return traded

    def knows(self, symbol: str, day: int) -> bool:
        """Whether the symbol has a row of that day, or `coverage` tells that it has none."""
        if day not in self._days:
            return False
        whole, id_ = self._of_day(day)[0], self._symbols.id_of(*parse_symbol(symbol))
        return bool(whole[_RECEIVED, id_] > 0 or whole[_COVERED, id_] != _NEVER)

    def cover(self, symbol: str, day: int, rows: int) -> None:
        """`coverage` says how complete the day is, as of `rows` journaled rows; -1 to have it said again."""
        if day in self._days:
            id_ = self._symbols.id_of(*parse_symbol(symbol))
            self._of_day(day)[0][_COVERED, id_] = rows

    def export(self) -> bytes:
        """The whole state, for `restore` in another process."""
        size = len(self._symbols.names)
        for day in list(self._days):
            self._of_day(day)
        whole = [part[:, :size] for part, _ in self._days.values()]
        sums = [part[:, :size] for _, part in self._days.values()]
        sink = io.BytesIO()
        np.savez(
            sink,
            names=np.array(self._symbols.names, np.str_),
            days=np.array(list(self._days), np.int64),
            whole=np.stack(whole) if whole else np.empty((0, len(_EMPTY), size), np.int64),
            sums=np.stack(sums) if sums else np.empty((0, 2, size)),
            newest_us=np.int64(self.newest_us),
        )
        return sink.getvalue()

    def restore(self, exported: bytes) -> None:
        """Take what `export` gave; call it before anything is counted.

        Raises
        ------
        ValueError
            These are not the bytes of an export.
        """
        try:
            with np.load(io.BytesIO(exported), allow_pickle=False) as state:
                names, days = state["names"].tolist(), state["days"].tolist()
                whole, sums = state["whole"], state["sums"]
                self.newest_us = int(state["newest_us"])
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"these {len(exported)} bytes are no export of day counts: {error}") from error
        ids = np.array([self._symbols.id_of(*parse_symbol(name)) for name in names], np.int64)
        for place, day in enumerate(days):
            of_day = self._of_day(day)
            if len(ids):
                of_day[0][:, ids], of_day[1][:, ids] = whole[place], sums[place]

    def _of_day(self, day: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A day's arrays, with room for every symbol, as the one touched last."""
        known = self._days.pop(day, None)
        needed = len(self._symbols.names)
        if known is None or known[0].shape[1] < needed:
            capacity = max(needed + needed // 2, _SYMBOLS_FIRST)
            whole, sums = np.repeat(_EMPTY[:, None], capacity, axis=1), np.zeros((2, capacity))
            if known is not None:
                held = known[0].shape[1]
                whole[:, :held], sums[:, :held] = known
            known = whole, sums
        self._days[day] = known
        if len(self._days) > DAYS_MAX:
            del self._days[next(iter(self._days))]
        return known


assert _EMPTY.shape == (_COVERED + 1,)
