"""`ticktape gaps`: which rows of the ledger it asks for."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest

from codec.markets import BadSymbol
from ticktape.gaps import gaps_sql
from ticktape.options import GapState

UTC, HONG_KONG = ZoneInfo("UTC"), ZoneInfo("Asia/Hong_Kong")


def test_filters_become_conditions() -> None:
    day = datetime.datetime.fromisoformat("2026-11-20")
    sql = gaps_sql("700.HK", GapState.LOST, day, HONG_KONG, whole=True)
    assert "symbol = 'HK.00700' AND state = 'lost' AND opened_at >= fromUnixTimestamp64Micro(1795104000000000)" in sql
    assert "WHERE" not in gaps_sql(None, None, None, UTC, whole=False)
    assert "gap_id" not in gaps_sql(None, None, None, UTC, whole=False)


def test_a_text_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(BadSymbol):
        gaps_sql("x' OR 1", None, None, UTC, whole=True)
    assert r"HK.A\'B" in gaps_sql("HK.A'B", None, None, UTC, whole=True)
