"""How complete each symbol's day is: what the table `coverage` says, from hop counts and the ledger.

A day is judged once its market has closed, and again when rows of it, or of its ledger, come later: the
newest row wins. Pure: rows come out, time goes in.

Rule 1: the market's clock is ours, or the newest tick's where that is ahead: a simulated or replayed
market closes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codec.clock import DAY_S, MarketClock
from codec.day_counts import DayCount, counts_on
from codec.markets import HK, SH, SZ, US, parse_symbol
from codec.tables import COVERAGE, GAPS, TICKS

if TYPE_CHECKING:
    from ingest.lane import Lane

COVERAGE_EVERY_S = 30.0
HOLES_MAX = 50_000
"""Of the ledger's rows that are kept in mind; the oldest go first."""

Row = Mapping[str, object]

_DAY_ENDS_S = {HK: 16 * 3600 + 1800, US: 20 * 3600 + 600, SH: 15 * 3600 + 1800, SZ: 15 * 3600 + 1800}
"""Local second of the day from which no tick of it is to be expected: closing auctions and late trades
are over. Other markets: midnight."""


def day_is_over(clock: MarketClock, market: int, trade_date: int, now_s: int) -> bool:
    """Whether a market's trading day (days from the epoch) has ended at unix second `now_s`."""
    return clock.local_s(market, now_s) >= trade_date * DAY_S + _DAY_ENDS_S.get(market, DAY_S)


@dataclass(frozen=True, slots=True)
class Hole:
    """A row of the ledger as far as a day's verdict depends on it; days count from the epoch."""

    gap_id: str
    symbol: str
    """Empty for all symbols of the source."""
    state: str
    missing: int | None
    first_day: int
    last_day: int

    @classmethod
    def of_row(cls, row: Row, clock: MarketClock) -> Hole:
        """A row of `gaps`, times as integers; a hole without an end lasts until it was last looked at."""
        symbol = str(row["symbol"])
        market = parse_symbol(symbol)[0] if symbol else HK
        missing = row["missing"]
        return cls(
            str(row["gap_id"]),
            symbol,
            str(row["state"]),
            missing if isinstance(missing, int) else None,
            clock.trade_day(market, _second(row, "from_ts", "opened_at")),
            clock.trade_day(market, _second(row, "to_ts", "updated_at")),
        )

    def touches(self, trade_date: int) -> bool:
        return self.first_day <= trade_date <= self.last_day


def _second(row: Row, exchange: str, ours: str) -> int:
    instant, own = row[exchange], row[ours]
    assert isinstance(own, int)
    return instant // 1_000_000 if isinstance(instant, int) else own // 1_000_000_000


def judge(count: DayCount | None, source: str, holes: Sequence[Hole], *, is_over: bool) -> tuple[int | None, str]:
    """How many rows of a symbol's day are known to be missing, and its condition.

    `holes` are those of the ledger that touch the day. None missing: it cannot be known.
    """
    lost = [hole for hole in holes if hole.state == "lost"]
    known = [hole.missing for hole in lost if hole.missing is not None]
    missing: int | None = sum(known) if len(known) == len(lost) else None
    if count is not None and counts_on(source, count.symbol):
        missing = max(count.counter_missing, sum(known))
    if not is_over or any(hole.state == "open" for hole in holes):
        return missing, "pending"
    if count is None or count.journaled == 0:
        return missing, "missing"
    return missing, "degraded" if lost or missing else "complete"


def coverage_row(
    source: str, symbol: str, trade_date: int, count: DayCount | None, holes: Sequence[Hole], *, is_over: bool,
    now_ns: int,
) -> dict[str, object]:  # fmt: skip
    """A row of `coverage` for ticks; `count` says how many rows there are, None where there is none."""
    missing, condition = judge(count, source, holes, is_over=is_over)
    has_rows = count is not None and count.journaled > 0
    return {
        "source": source,
        "symbol": symbol,
        "feed": TICKS.name,
        "trade_date": trade_date,
        "rows": count.journaled if count is not None else 0,
        "first_ts": count.first_us if count is not None and has_rows else None,
        "last_ts": count.last_us if count is not None and has_rows else None,
        "missing": missing,
        "gaps": len(holes),
        "condition": condition,
        "audited_at": now_ns,
    }


class CoverageKeeper:
    """Says what `coverage` rows are due. For the thread that stores."""

    def __init__(self, lanes: Mapping[str, Lane], clock: MarketClock) -> None:
        self._lanes = lanes
        self._clock = clock
        self._holes: dict[str, tuple[str, Hole]] = {}
        self._by_symbol: dict[tuple[str, str], dict[str, Hole]] = {}
        self._swept: set[tuple[str, int, int]] = set()

    def due(self, now_ns: int) -> list[dict[str, object]]:
        """Rows for days that are over and were not judged as they are now."""
        rows = []
        for source, lane in self._lanes.items():
            now_s = max(now_ns // 1_000_000_000, lane.days.newest_us // 1_000_000)
            over: dict[tuple[int, int], bool] = {}
            for symbol, day, count in (*_counted(lane), *self._without_a_row(source, lane, now_s)):
                key = parse_symbol(symbol)[0], day
                if key not in over:
                    over[key] = day_is_over(self._clock, *key, now_s)
                if over[key]:
                    holes = self._touching(source, symbol, day)
                    rows.append(coverage_row(source, symbol, day, count, holes, is_over=True, now_ns=now_ns))
        return rows

    def _without_a_row(self, source: str, lane: Lane, now_s: int) -> Iterator[tuple[str, int, None]]:
        """Wanted symbols that got nothing on a day on which their market traded; once a market's day."""
        for day, markets in lane.days.traded().items():
            for market in markets:
                if (source, market, day) in self._swept or not day_is_over(self._clock, market, day, now_s):
                    continue
                self._swept.add((source, market, day))
                for symbol in sorted(lane.wanted):
                    if parse_symbol(symbol)[0] == market and not lane.days.knows(symbol, day):
                        yield symbol, day, None

    def journaled(self, rows_by_table: Mapping[str, Sequence[Row]]) -> None:
        """These rows are durable, or were read back from the journal: remember what concerns us."""
        for row in rows_by_table.get(GAPS.name, ()):
            if row["feed"] == TICKS.name:
                self._note(str(row["source"]), Hole.of_row(row, self._clock))
        for row in rows_by_table.get(COVERAGE.name, ()):
            lane = self._lanes.get(str(row["source"]))
            day, count = row["trade_date"], row["rows"]
            if lane is not None and row["feed"] == TICKS.name and isinstance(day, int) and isinstance(count, int):
                lane.days.cover(str(row["symbol"]), day, count)

    def _note(self, source: str, hole: Hole) -> None:
        if hole.gap_id in self._holes:
            self._forget(hole.gap_id)
        self._holes[hole.gap_id] = source, hole
        self._by_symbol.setdefault((source, hole.symbol), {})[hole.gap_id] = hole
        if len(self._holes) > HOLES_MAX:
            self._forget(next(iter(self._holes)))
        lane = self._lanes.get(source)
        if lane is not None and hole.symbol:
            for day in range(hole.first_day, min(hole.last_day, hole.first_day + 7) + 1):
                lane.days.cover(hole.symbol, day, -1)

    def _forget(self, gap_id: str) -> None:
        source, hole = self._holes.pop(gap_id)
        of_symbol = self._by_symbol[source, hole.symbol]
        del of_symbol[gap_id]
        if not of_symbol:
            del self._by_symbol[source, hole.symbol]

    def _touching(self, source: str, symbol: str, day: int) -> list[Hole]:
        of_both = (*self._by_symbol.get((source, symbol), {}).values(), *self._by_symbol.get((source, ""), {}).values())
        return [hole for hole in of_both if hole.touches(day)]

    def export(self) -> list[list[object]]:
        """What is known of the ledger, for `restore` in another process."""
        return [
            [source, hole.gap_id, hole.symbol, hole.state, hole.missing, hole.first_day, hole.last_day]
            for source, hole in self._holes.values()
        ]

    def restore(self, exported: Sequence[Sequence[object]]) -> None:
        """Take what `export` gave."""
        for source, gap_id, symbol, state, missing, first_day, last_day in exported:
            assert isinstance(first_day, int)
            assert isinstance(last_day, int)
            known = missing if isinstance(missing, int) else None
            hole = Hole(str(gap_id), str(symbol), str(state), known, first_day, last_day)
            self._holes[hole.gap_id] = str(source), hole
            self._by_symbol.setdefault((str(source), hole.symbol), {})[hole.gap_id] = hole


def _counted(lane: Lane) -> Iterator[tuple[str, int, DayCount]]:
    return ((count.symbol, count.trade_date, count) for count in lane.days.not_covered())
