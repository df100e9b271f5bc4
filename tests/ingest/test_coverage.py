"""What `coverage` is told: once a market's day is over, and again when something of it changes."""

from __future__ import annotations

from typing import Any

import pytest

from codec.clock import DAY_S, MarketClock
from codec.day_counts import DayCount
from codec.markets import HK, US, parse_symbol
from codec.tables import COVERAGE, GAPS
from ingest import pipeline as pipeline_module
from ingest.coverage import Hole, day_is_over, judge
from ingest.ledger import CAUSE_RECONNECT, Gap
from tests.ingest import wire
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.test_pipeline import DRAIN_S, SYMBOLS, push, start

DAY = wire.START_S // DAY_S
"""Of the ticks that `wire` makes: 09:30 in Hong Kong, 2026-11-20."""


def count(symbol: str = SYMBOLS[0], *, journaled: int = 10, low: int = 1, high: int = 10) -> DayCount:
    return DayCount(symbol, DAY, journaled, journaled, journaled, 1, 2, low, high, 0.0, 0.0, -1)


def hole(state: str, missing: int | None = None) -> Hole:
    return Hole("a", SYMBOLS[0], state, missing, DAY, DAY)


@pytest.mark.parametrize(
    ("counted", "source", "holes", "is_over", "expected"),
    [
        (count(), "futu", [], True, (0, "complete")),
        (count(), "futu", [], False, (0, "pending")),
        (count(), "futu", [hole("filled", 0)], True, (0, "complete")),
        (count(), "futu", [hole("open")], True, (0, "pending")),
        (count(high=12), "futu", [], True, (2, "degraded")),
        (count(high=12), "futu", [hole("lost", 2)], True, (2, "degraded")),
        (count(high=12), "futu", [hole("lost", None)], True, (2, "degraded")),
        (count("US.AAPL", high=99), "futu", [], True, (0, "complete")),
        (count("US.AAPL"), "futu", [hole("lost", None)], True, (None, "degraded")),
        (count("US.AAPL"), "futu", [hole("lost", 3), hole("lost", 4)], True, (7, "degraded")),
        (count(high=99), "longport", [], True, (0, "complete")),
        (count(journaled=0), "futu", [], True, (0, "missing")),
        (None, "futu", [], True, (0, "missing")),
    ],
)
def test_verdicts(
    counted: DayCount, source: str, holes: list[Hole], is_over: bool, expected: tuple[int | None, str]
) -> None:
    if counted is not None and counted.journaled == 0:
        counted = count(journaled=0, low=1 << 32, high=-1)
    assert judge(counted, source, holes, is_over=is_over) == expected


@pytest.mark.parametrize(
    ("market", "local", "over"),
    [(HK, 16 * 3600, False), (HK, 16 * 3600 + 1800, True), (US, 20 * 3600, False), (US, 21 * 3600, True),
     (31, 23 * 3600, False), (31, 24 * 3600, True)],
)  # fmt: skip
def test_a_day_is_over_by_the_markets_own_clock(market: int, local: int, over: bool) -> None:
    clock = MarketClock()
    offset_s = clock.local_s(market, DAY * DAY_S) - DAY * DAY_S
    assert day_is_over(clock, market, DAY, DAY * DAY_S + local - offset_s) is over


def test_a_hole_touches_the_days_from_its_first_row_to_its_last() -> None:
    clock = MarketClock()
    gap = Gap("futu", "US.AAPL", "g", CAUSE_RECONNECT, wire.START_S * 1_000_000, 1, 2, 3)
    # 20:30 in New York belongs to the next trading day; without an end: until it was last looked at.
    row = {**gap.row(), "opened_at": 0, "updated_at": (wire.START_S + 3 * DAY_S) * 1_000_000_000}
    seen = Hole.of_row(row, clock)
    assert (seen.first_day, seen.last_day) == (DAY, DAY + 3)
    assert [seen.touches(DAY + offset) for offset in (-1, 0, 3, 4)] == [False, True, True, False]
    assert Hole.of_row({**row, "symbol": "", "to_ts": wire.START_S * 1_000_000}, clock).last_day == DAY


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "COVERAGE_EVERY_S", 0.01)


def told(journal: MemoryJournal) -> list[dict[str, Any]]:
    return journal.rows(COVERAGE.name)


async def until_told(journal: MemoryJournal, rows: int) -> list[dict[str, Any]]:
    await until(lambda: sum(record.rows for record in journal.of(COVERAGE.name)) >= rows)
    return told(journal)


def late_tick(number: int) -> bytes:
    """Of the next day: so the market's clock has passed the first one's end."""
    return wire.push_frame("US.AAPL", [wire.make_tick(number, timestamp=float(wire.START_S + DAY_S))])


@pytest.mark.usefixtures("often")
async def test_a_day_that_is_over_is_told_of_whole() -> None:
    journal = MemoryJournal()
    feed = await start(journal)
    feed.lane.want("opend-1", (*SYMBOLS[:2], "HK.00001", "HK.00002"))
    feed.lane.want("opend-2", ("HK.00001",))
    feed.lane.want("opend-1", SYMBOLS[:2])  # another configuration
    feed.hear(push(range(1, 11)), push([1, 2, 5], SYMBOLS[1]))
    feed.lane.give_up(feed.lane.symbols.id_of(*parse_symbol(SYMBOLS[1])))
    await feed.stored()
    # Our own clock is past the day's end only where the tests run late enough: nothing depends on it.
    feed.hear(late_tick(1))
    rows = await until_told(journal, 3)
    by_symbol = {row["symbol"]: row for row in rows if row["trade_date"].toordinal() - 719163 == DAY}
    assert {symbol: (row["rows"], row["missing"], row["condition"]) for symbol, row in by_symbol.items()} == {
        SYMBOLS[0]: (10, 0, "complete"),
        SYMBOLS[1]: (3, 2, "degraded"),
        "HK.00001": (0, 0, "missing"),
    }
    assert by_symbol["HK.00001"]["first_ts"] is None
    assert by_symbol[SYMBOLS[0]]["first_ts"] == wire.make_tick(1).timestamp * 1e6
    await feed.pipeline.stop(DRAIN_S)


@pytest.mark.usefixtures("often")
async def test_it_is_told_again_when_rows_or_the_ledger_change_and_not_after_a_restart() -> None:
    journal = MemoryJournal()
    feed = await start(journal)
    feed.hear(push([1, 2, 5]), late_tick(1))
    first = await until_told(journal, 1)
    gap = Gap("futu", SYMBOLS[0], "opend-1", CAUSE_RECONNECT, wire.START_S * 1_000_000, 2, 3, 4, state="lost",
              to_ts=wire.START_S * 1_000_000, missing=2)  # fmt: skip
    feed.pipeline.append_rows(GAPS.name, [gap.row()])
    second = await until_told(journal, len(first) + 1)
    feed.hear(push([3]))
    third = await until_told(journal, len(second) + 1)
    of_symbol = [(row["rows"], row["missing"], row["gaps"]) for row in third if row["symbol"] == SYMBOLS[0]]
    assert of_symbol == [(3, 2, 1), (3, 2, 2), (4, 2, 2)]
    await feed.pipeline.stop(DRAIN_S)

    kept = journal.snapshot
    assert kept is not None
    for snapshot in (None, (len(journal.records), kept[1])):
        journal.snapshot = snapshot
        await _run_again(journal, Gap("futu", "US.AAPL", "opend-1", CAUSE_RECONNECT, None, None, 5, 6))
    assert [row["symbol"] for row in told(journal)].count(SYMBOLS[0]) == 3


async def _run_again(journal: MemoryJournal, gap: Gap) -> None:
    feed = await start(journal)
    feed.pipeline.append_rows(GAPS.name, [gap.row()])
    await until(lambda: feed.pipeline.stats.journaled_rows[GAPS.name])
    await feed.pipeline.stop(DRAIN_S)


async def test_hop_counts_survive_a_crash_exactly() -> None:
    """What the snapshot does not know is counted again from the journal; received less journaled are repeats."""
    journal = MemoryJournal()
    feed = await start(journal)
    feed.hear(push(range(30)), push(range(10)), push(range(5), SYMBOLS[1]))
    await feed.pipeline.stop(DRAIN_S)
    feed = await start(journal)
    feed.hear(push(range(20, 40)))
    await feed.stored()
    expected = {each.symbol: (each.journaled, each.sequences, each.volume, each.turnover) for each in feed.lane.days}
    feed.pipeline._save_windows = lambda: None  # type: ignore[method-assign]  # the process dies here
    await feed.pipeline.stop(DRAIN_S)

    again = await start(journal)
    counts = list(again.lane.days)
    assert {each.symbol: (each.journaled, each.sequences, each.volume, each.turnover) for each in counts} == expected
    assert {each.symbol: (each.journaled, each.repeats) for each in counts} == {
        SYMBOLS[0]: (40, 10),
        SYMBOLS[1]: (5, 0),
    }
    await again.pipeline.stop(DRAIN_S)
