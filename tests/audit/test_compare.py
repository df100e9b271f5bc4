"""What is unexplained, and what is not: facts of one symbol's day, made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ticktape.audit.compare import findings_of
from ticktape.audit.model import AbsentRow, CounterHole, LedgerGap, StoredDay, SymbolDay

SECOND = 1_795_138_200


def at(counter: int) -> int:
    return (SECOND + counter // 10) << 32 | counter


def stored(rows: int = 100, *, low: int = 1, high: int = 100, volume: float = 1000.0) -> StoredDay:
    first, last = SECOND * 1_000_000, (SECOND + high // 10) * 1_000_000
    return StoredDay(rows, rows, first, last, low, high, volume, 2.0 * volume)


def day(**facts: object) -> SymbolDay:
    """A day of 100 rows on which all is well, but for `facts`."""
    well = SymbolDay(
        "futu", "HK.00700", received=110, repeats=10, journaled=100, journaled_volume=1000.0,
        journaled_turnover=2000.0, logged=100, logged_here=100, stored=stored(), stored_here=100,
    )  # fmt: skip
    return replace(well, **facts)  # type: ignore[arg-type]


def gap(missing: int | None, *, begin: int | None = 40, end: int | None = 60, state: str = "lost") -> LedgerGap:
    bounds = [None if counter is None else at(counter) for counter in (begin, end)]
    return LedgerGap(f"gap-{begin}-{end}", "HK.00700", "reconnect", state, missing, *bounds)


def hole(before: int, after: int) -> CounterHole:
    return CounterHole(at(before), at(after), after - before - 1)


def lacking(*holes: CounterHole, **facts: object) -> SymbolDay:
    """A day whose rows were never received."""
    rows = 100 - sum(each.missing for each in holes)
    kept = {"stored": stored(rows), "stored_here": rows, "journaled": rows, "logged": rows, "logged_here": rows}
    return day(**{**kept, "holes": list(holes), **facts})


def what(of: SymbolDay, *, is_over: bool = True) -> list[str]:
    return [finding.what for finding in findings_of(of, is_over=is_over)]


def test_nothing_is_unexplained_where_all_is_well() -> None:
    assert what(day()) == []
    nothing_else = {"received": None, "repeats": None, "journaled": None, "logged": None, "logged_here": None}
    assert what(day(**nothing_else, stored_here=None)) == []


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([gap(19)], None),
        ([gap(None)], None),
        ([gap(None, begin=None, end=None)], None),
        ([gap(None, state="open", end=None)], None),
        ([gap(None, begin=41, end=61)], "19 rows missing between"),
        ([gap(0, state="filled")], "19 rows missing between"),
        ([gap(18)], "the counter lacks 19 rows where the ledger says 18"),
        ([gap(20)], "the counter lacks 19 rows where the ledger says 20"),
        ([gap(19), gap(19, begin=30, end=70)], None),
        ([gap(900, begin=None, end=60)], None),
        ([gap(19, begin=40, end=60), gap(0, begin=60, end=80)], None),
        ([], "19 rows missing between"),
    ],
)
def test_a_hole_in_the_counter_needs_a_ledger_row_with_its_count(gaps: list[LedgerGap], expected: str | None) -> None:
    found = what(lacking(hole(40, 60), gaps=gaps))
    assert len(found) == (expected is not None), found
    assert expected is None or found[0].startswith(expected)


def test_two_holes_of_one_stretch_add_up() -> None:
    assert what(lacking(hole(40, 45), hole(50, 60), gaps=[gap(13)])) == []
    assert what(lacking(hole(40, 45), hole(50, 60), hole(70, 72), gaps=[gap(13)]))[0].startswith("1 row missing")


def test_what_the_ledger_tells_of_and_nobody_lacks_is_told() -> None:
    assert what(day(gaps=[gap(19)])) == ["the counter lacks 0 rows where the ledger says 19 (gap-40-60)"]


def test_a_refused_tick_explains_its_hole() -> None:
    assert what(lacking(hole(40, 42), refused={at(41)})) == []
    assert what(lacking(hole(40, 43), refused={at(41), at(90)})) == [
        f"1 row missing between sequences {at(40)} and {at(43)} (counter 40 to 43)"
    ]


def test_a_deleted_row_is_told_once_though_three_hops_lack_it() -> None:
    absent = [AbsentRow("ticktape.ticks", 3, 812, 17, at(41))]
    deleted = day(stored=stored(99), stored_here=99, holes=[hole(40, 42)], absent=absent)
    [told] = findings_of(deleted, is_over=True)
    assert told.what == f"1 row stored no more: sequence {at(41)} (ticktape.ticks/3 offset 812 row 17)"
    assert "deleted in ClickHouse" in told.meaning
    assert "system.mutations" in told.remedy
    assert str(told).startswith("HK.00700 (futu): 1 row stored no more")


def test_a_deleted_row_is_found_without_the_log() -> None:
    us = {"symbol": "US.AAPL", "logged": None, "logged_here": None, "stored": stored(99), "stored_here": 99}
    assert what(day(**us)) == ["journaled 100, stored 99: 1 row missing"]
    assert what(day(**us, waiting=1)) == []
    assert what(day(**us, set_aside=1)) == []
    assert what(day(**us, waiting_for_kafka=1)) == []


def test_counts_that_differ_between_journal_and_log() -> None:
    assert what(day(logged_here=99, stored_here=None))[0].startswith("journaled 100, of which 0 wait, and 99 are in")
    assert what(day(logged_here=99, stored_here=None, waiting_for_kafka=1)) == []
    assert what(day(logged_here=101, stored_here=None)) == ["journaled 100, and 101 are in the record log"]


def test_a_day_that_goes_on_may_have_more_behind_than_in_front() -> None:
    assert what(day(logged_here=101, stored_here=101), is_over=False) == []
    assert what(day(logged_here=99, stored_here=99), is_over=False) != []


def test_other_contents_show_in_the_sums() -> None:
    assert what(day(stored=stored(volume=1001.0))) == [
        "volume of the journaled rows 1,000.00, of the stored ones 1,001.00",
        "turnover of the journaled rows 2,000.00, of the stored ones 2,002.00",
    ]
    assert what(day(stored=stored(volume=1000.0 * (1 + 1e-12)))) == []


def test_a_counter_used_twice_proves_nothing() -> None:
    [told] = findings_of(day(stored=stored(high=90), stored_here=100), is_over=True)
    assert told.what == "10 sequences more than the counter has steps"
    assert "check --observe" in told.remedy


def test_new_york_has_no_counter() -> None:
    assert what(day(symbol="US.AAPL", stored=stored(high=5000), holes=[])) == []
    assert what(day(source="longport", stored=stored(high=5000), holes=[])) == []
