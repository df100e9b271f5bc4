"""The plan: what a run of half an hour holds, and that the same seed is the same run."""

from __future__ import annotations

import datetime
import itertools

import pytest

from tests.chaos.opend import day_between_months, symbols_of
from tests.chaos.plan import CLICKHOUSE, KAFKA, LINKS, PROCESSES, WORKERS, Fault, InsertFault, Kind, make_plan

SHORTEST_FREEZE_S = {"ingest-0": 10.0, "ingest-1": 10.0, "sink-0": 20.0, "sink-1": 20.0}
"""A transaction's, and a group member's, time-out: a frozen process is given up."""


def test_the_same_seed_is_the_same_plan() -> None:
    assert make_plan(1, 10) == make_plan(1, 10)
    assert make_plan(1, 10) != make_plan(2, 10)


@pytest.mark.parametrize("seed", range(5))
def test_half_an_hour_strikes_everything_in_every_way(seed: int) -> None:
    plan = make_plan(seed, 60)
    faults = [fault for each in plan.rounds for fault in each.faults]
    assert len(plan.rounds) == 60
    assert plan.faults == len(faults) >= 200
    assert plan.kills >= 100
    for process in PROCESSES:
        assert sum(fault.kind is Kind.KILL and fault.target == process for fault in faults) >= 10
    frozen = {fault.target for fault in faults if fault.kind is Kind.FREEZE}
    assert frozen == set(PROCESSES)
    assert {(fault.kind, fault.target) for fault in faults if fault.target in LINKS} == set(
        itertools.product((Kind.DELAY, Kind.CUT, Kind.HALF_OPEN, Kind.MUTE), LINKS)
    )
    assert {fault.insert for fault in faults if fault.insert} == set(InsertFault)
    assert {fault.target for fault in faults if fault.kind is Kind.FULL_DISK} == set(WORKERS)
    assert {fault.target for fault in faults if fault.kind is Kind.AWAY} == set(WORKERS)
    assert {fault.also for fault in faults if fault.kind is Kind.KILL_IN_INSERT} == {"", "sink-0", "sink-1"}


@pytest.mark.parametrize("seed", range(5))
def test_no_two_faults_strike_one_thing_at_once_and_zombies_are_given_up(seed: int) -> None:
    for each in make_plan(seed, 60).rounds:
        assert list(each.faults) == sorted(each.faults)
        for one, other in itertools.combinations(each.faults, 2):
            if {one.target, one.also} & {other.target, other.also} - {""}:
                assert one.end_s + 1.0 <= other.at_s
        for fault in each.faults:
            if fault.kind is Kind.FREEZE:
                assert fault.for_s > SHORTEST_FREEZE_S.get(fault.target, 0.0)
        if each.away:
            assert {fault.target for fault in each.faults} == {each.away.target, CLICKHOUSE}
            assert each.away.target != KAFKA


def test_a_fault_says_what_it_does() -> None:
    fault = Fault(3.0, Kind.INSERT, CLICKHOUSE, 8.0, InsertFault.CUT_AFTER, amount=2)
    assert str(fault) == "  3.0 s  clickhouse: insert fails: cut in the reply, applied × 2 for 8.0 s"
    assert (fault.kills, Fault(0.0, Kind.KILL_IN_INSERT, CLICKHOUSE, also="sink-0").kills) == (0, 2)


def test_workers_share_the_symbols_of_both_markets() -> None:
    halves = [symbols_of(worker) for worker in WORKERS]
    assert not set(halves[0]) & set(halves[1])
    for half in halves:
        assert {symbol.partition(".")[0] for symbol in half} == {"HK", "US"}


@pytest.mark.parametrize(
    ("today", "day"), [("2026-11-25", "2027-01-31"), ("2027-01-31", "2027-01-31"), ("2027-02-01", "2027-02-28")]
)
def test_the_markets_day_ends_a_month_on_a_weekend(today: str, day: str) -> None:
    assert str(day_between_months(datetime.date.fromisoformat(today))) == day
