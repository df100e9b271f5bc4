"""Thirty reconnects with everything that may go wrong on them: each trade is in ClickHouse once, or in the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.warm import warm
from tests.longport.run import BREAKS, Trade, covers, plan, run


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Into the cache on disk that daemons share."""
    warm(["longport"])


def test_over_thirty_reconnects_each_trade_is_stored_once_or_said_to_be_lost(tmp_path: Path) -> None:
    outcome = run(tmp_path, transport="tcp", breaks=32, every_s=0.7, rate=60, seed=3)
    assert outcome.reconnects >= 30
    assert {*BREAKS, "expire", "regress", "reuse"} <= outcome.faults.keys()
    assert outcome.repeats > 100
    assert not outcome.extra
    assert not outcome.unexplained
    assert outcome.missing < outcome.made / 10, "the last thousand of a symbol reach further back than that"
    made, stored = outcome.rows["capital_flow"]
    assert made >= stored > 0


def test_the_same_seed_is_the_same_plan() -> None:
    assert plan(20, 1.0, 4) == plan(20, 1.0, 4) != plan(20, 1.0, 5)
    assert plan(20, 1.0, 4).count("expire") == 2


@pytest.mark.parametrize(
    ("first", "last", "inside"),
    [
        (None, "2026-11-26 01:30:10.000000", True),
        ("2026-11-26 01:30:10.000000", None, True),
        ("2026-11-26 01:30:10.000000", "2026-11-26 01:30:10.000000", True),
        ("2026-11-26 01:30:11.000000", None, False),
        (None, "2026-11-26 01:30:09.000000", False),
    ],
)
def test_what_a_lost_row_covers(first: str | None, last: str | None, inside: bool) -> None:
    trade = Trade("HK.00700", 1_795_656_610, 1.0, 1.0, "buy", "", "regular")
    assert covers({"symbol": "HK.00700", "from_ts": first, "to_ts": last}, trade) is inside
    assert not covers({"symbol": "HK.00005", "from_ts": first, "to_ts": last}, trade)
