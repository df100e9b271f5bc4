"""The hop counts of a day against a loop over rows."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.day_counts import DAYS_MAX, DayCounts, counts_on
from codec.markets import HK
from codec.symbols import SymbolTable
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of, tick_of

DAY = 20777


def table(symbols: int = 3) -> SymbolTable:
    made = SymbolTable(12)
    for number in range(symbols):
        made.id_of(HK, f"{number:05d}")
    return made


def add(counts: DayCounts, rows: list[tuple[Tick, bool, int]]) -> None:
    fresh = np.array([fresh for _, fresh, _ in rows], np.bool_)
    ordinals = np.array([ordinal for _, _, ordinal in rows], np.uint32)
    counts.add(buffer_of([tick for tick, _, _ in rows]), fresh, ordinals)


def as_rows(counts: DayCounts) -> dict[tuple[str, int], tuple[object, ...]]:
    return {
        (each.symbol, each.trade_date): (
            each.received,
            each.repeats,
            each.journaled,
            *((each.first_us, each.last_us, each.volume, each.counter_missing) if each.journaled else ()),
        )
        for each in counts
    }


def expected(batches: list[list[tuple[Tick, bool, int]]]) -> dict[tuple[str, int], tuple[object, ...]]:
    by_key: dict[tuple[str, int], list[tuple[Tick, bool, int]]] = defaultdict(list)
    for row in (row for batch in batches for row in batch):
        by_key[f"HK.{row[0].symbol_id:05d}", row[0].trade_date].append(row)
    result: dict[tuple[str, int], tuple[object, ...]] = {}
    for key, rows in by_key.items():
        fresh = [tick for tick, is_fresh, _ in rows if is_fresh]
        counters = [tick.sequence & 0xFFFFFFFF for tick in fresh]
        times = [tick.ts_event_us for tick in fresh]
        firsts = sum(1 for _, is_fresh, ordinal in rows if is_fresh and ordinal == 0)
        span = max(counters) - min(counters) + 1 - firsts if fresh else 0
        values = (min(times), max(times), sum(tick.volume for tick in fresh), span) if fresh else ()
        result[key] = (len(rows), len(rows) - len(fresh), len(fresh), *values)
    return result


rows = st.tuples(
    st.fixed_dictionaries(
        {
            "symbol_id": st.integers(0, 2),
            "sequence": st.integers(0, 2**62),
            "volume": st.integers(1, 1000).map(float),
            "ts_event_us": st.integers(1, 2**50),
            "trade_date": st.integers(DAY - 1, DAY + 1),
        }
    ).map(tick_of),
    st.booleans(),
    st.integers(0, 1),
)


@examples(100)
@given(batches=st.lists(st.lists(rows, max_size=20), max_size=5), cut=st.integers(0, 5))
def test_counts_are_those_of_a_loop_whatever_the_batches_and_restarts(
    batches: list[list[tuple[Tick, bool, int]]], cut: int
) -> None:
    counts = DayCounts(table())
    for batch in batches[:cut]:
        add(counts, batch)
    again = DayCounts(SymbolTable(12))
    again.restore(counts.export())
    symbols = table()
    moved = DayCounts(symbols)
    moved.restore(again.export())
    for batch in batches[cut:]:
        add(moved, batch)
    assert as_rows(moved) == expected(batches)


def test_more_symbols_than_there_was_room_for() -> None:
    symbols = table(500)
    counts = DayCounts(symbols)
    add(counts, [(Tick(0, 1), True, 0)])
    add(counts, [(Tick(499, 1), True, 0)])
    assert {symbol for symbol, _ in as_rows(counts)} == {"HK.00000", "HK.00499"}


def test_days_are_bounded_and_the_one_untouched_longest_goes_first() -> None:
    counts = DayCounts(table())
    for day in range(DAYS_MAX):
        add(counts, [(Tick(0, day, trade_date=day), True, 0)])
    add(counts, [(Tick(0, 1000, trade_date=0), True, 0)])
    add(counts, [(Tick(0, 1000, trade_date=DAYS_MAX), True, 0)])
    days = {day for _, day in as_rows(counts)}
    assert len(days) == DAYS_MAX
    assert 0 in days
    assert 1 not in days


def test_what_is_covered_survives_too() -> None:
    counts = DayCounts(table())
    add(counts, [(Tick(0, 1), True, 0), (Tick(1, 1), True, 0)])
    counts.cover("HK.00000", DAY, 1)
    counts.cover("HK.00000", DAY + 9, 1)
    again = DayCounts(SymbolTable(1))
    again.restore(counts.export())
    assert {each.symbol: each.covered for each in again} == {"HK.00000": 1, "HK.00001": -1}


def test_garbage_is_no_export() -> None:
    with pytest.raises(ValueError, match="no export of day counts"):
        DayCounts(table()).restore(b"garbage")


@pytest.mark.parametrize(
    ("source", "symbol", "counted"),
    [("futu", "HK.00700", True), ("moomoo", "HK.00700", True), ("longport", "HK.00700", False),
     ("futu", "US.AAPL", False), ("futu", "HK_FUTURE.HSImain", False)],
)  # fmt: skip
def test_only_opend_counts_and_only_hong_kong(source: str, symbol: str, counted: bool) -> None:
    assert counts_on(source, symbol) is counted
