"""A short simulated day, its plan, and the comparison's own eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.day.compare import by_symbol, compare
from tests.day.plan import KILL, make_plan
from tests.day.run import run_day
from ticktape.simulate.faults import PLANNABLE, RESTART


@pytest.mark.timeout(600)
def test_a_short_day_with_every_kind_of_fault(tmp_path: Path) -> None:
    """Slow enough that no symbol gets 1000 ticks while a killed daemon starts again, however busy the machine.

    Of this seed the stall is early: our watchdog ends it before the kill, and while ticks still come.
    """
    plan = make_plan(seed=152, symbols=20, rate=60, speed=60, duration_s=60, faults=1 + len(PLANNABLE))
    said: list[str] = []
    report = run_day(plan, tmp_path, said.append)
    assert report.differences == [], (said, report.ledger)
    assert report.struck[KILL] == 1
    assert set(report.struck) >= {KILL, *PLANNABLE}
    assert report.comparison.made > 500


def test_the_same_seed_is_the_same_plan() -> None:
    facts: dict[str, Any] = {"symbols": 300, "rate": 2000, "speed": 60, "duration_s": 390.0, "faults": 40}
    plan = make_plan(seed=1, **facts)
    assert plan == make_plan(seed=1, **facts)
    assert plan != make_plan(seed=2, **facts)
    assert len(plan.faults) == 40
    assert list(plan.faults) == sorted(plan.faults)
    assert {fault for _, fault in plan.faults} == {KILL, *PLANNABLE}
    assert len(plan.kills_s) == 5
    assert plan.faults[0][0] > 0
    assert plan.faults[-1][0] < 390


@pytest.mark.parametrize("seed", range(10))
def test_no_gateway_forgets_what_it_had_near_the_end(seed: int) -> None:
    plan = make_plan(seed=seed, symbols=300, rate=2000, speed=60, duration_s=450.0, faults=40)
    restarts = [at_s for at_s, fault in plan.faults if fault == RESTART]
    assert 3 <= len(restarts) <= 5
    assert max(restarts) < 450 - 112


def table(rows: list[tuple[str, int]]) -> dict[str, Any]:
    symbols = pa.array([symbol for symbol, _ in rows]).dictionary_encode()
    return by_symbol(pa.table({"symbol": symbols, "sequence": np.array([sequence for _, sequence in rows], np.int64)}))


HK, US = "HK.00700", "US.AAPL"
MADE = [(HK, number) for number in range(10)] + [(US, number) for number in range(10)]


def lost(symbol: str, begin: int | None, end: int | None, missing: int | None, state: str = "lost") -> dict[str, Any]:
    bounds = {"from_sequence": begin, "to_sequence": end}
    return {"symbol": symbol, "state": state, "cause": "reconnect", "missing": missing, **bounds}


@pytest.mark.parametrize(
    ("without", "also", "gaps", "differences"),
    [
        ([], [], [], []),
        ([], [(HK, 3)], [], ["1 rows are stored again"]),
        ([], [(US, 99)], [], [f"{US}: 1 rows that the market never made, first 99"]),
        ([(HK, 3)], [], [], ["1 of 1 missing ticks lie in no lost row", f"{HK}: 1 are missing, the ledger says 0"]),
        ([(HK, 3), (HK, 4)], [], [lost(HK, 2, 5, 2)], []),
        ([(HK, 3), (HK, 4)], [], [lost(HK, 2, 5, 1)], [f"{HK}: 2 are missing, the ledger says 1"]),
        ([(HK, 3)], [], [lost(HK, 2, 5, None)], [f"{HK}: a lost row of the ledger does not say how many"]),
        ([(HK, 3)], [], [lost(HK, 2, 5, 0, "filled")], ["lie in no lost row", "the ledger says 0"]),
        ([], [], [lost(HK, 2, 5, 2)], [f"{HK}: 0 are missing, the ledger says 2"]),
        ([(US, 3)], [], [lost(US, 2, 4, None)], []),
        ([(US, 3)], [], [lost(US, None, None, None)], []),
        ([(US, 3)], [], [lost(US, 3, 4, None)], ["1 of 1 missing ticks lie in no lost row"]),
        ([(US, 3)], [], [lost(HK, 2, 4, 0)], ["1 of 1 missing ticks lie in no lost row"]),
        ([], [], [lost(US, 2, None, None, "open")], ["ledger rows that never ended"]),
    ],
)
def test_what_the_comparison_sees(
    without: list[tuple[str, int]], also: list[tuple[str, int]], gaps: list[dict[str, Any]], differences: list[str]
) -> None:
    stored = [row for row in MADE if row not in without] + also
    compared = compare(table(MADE), table(stored), gaps)
    assert len(compared.differences) == len(differences), compared.differences
    for line, expected in zip(compared.differences, differences, strict=True):
        assert expected in line
    assert compared.missing_ticks == len(without)
