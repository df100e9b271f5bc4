"""Static information as rows of `symbols`: every number has its word, what is not said is null."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from codec.arrow import batch_of_rows, rows_of_batch
from codec.markets import HK, SH, US
from codec.opend.static_info import EXCHANGES, SECURITY_TYPES, symbol_row
from codec.tables import SYMBOLS
from protos.opend import common_pb2, static_info_pb2

NOW_NS = 1_795_138_200_000_000_000


def row(market: int = HK, code: str = "00700", **fields: Any) -> dict[str, object]:
    values: dict[str, Any] = {"id": 1, "lotSize": 100, "secType": 3, "name": "TENCENT", "listTime": "2004-06-16"}
    basic = static_info_pb2.SecurityStaticBasic(
        security=common_pb2.Security(market=market, code=code), **values | fields
    )
    return symbol_row(static_info_pb2.SecurityStaticInfo(basic=basic), "futu", NOW_NS)


def test_a_row_fits_its_table() -> None:
    made = row(exchType=1, delisting=True)
    assert rows_of_batch(SYMBOLS, batch_of_rows(SYMBOLS, [made])) == [made]
    assert made == {
        "source": "futu",
        "symbol": "HK.00700",
        "name": "TENCENT",
        "security_type": "stock",
        "exchange": "hk_main_board",
        "lot_size": 100,
        "currency": "HKD",
        "listed_on": (datetime.date(2004, 6, 16) - datetime.date(1970, 1, 1)).days,
        "delisted": 1,
        "updated_at": NOW_NS,
    }


def test_what_is_not_said_is_null_and_what_is_not_listed_unknown() -> None:
    made = row(lotSize=0, secType=77, exchType=99, listTime="1970-01-01")
    assert (made["lot_size"], made["listed_on"], made["delisted"]) == (None, None, None)
    assert (made["security_type"], made["exchange"]) == ("unknown", "unknown")
    assert row(listTime="soon")["listed_on"] is None
    assert row(listTime="1899-12-31")["listed_on"] is row(listTime="9999-12-31")["listed_on"] is None
    assert row(listTime="1969-12-31")["listed_on"] == -1
    assert row()["exchange"] == "unknown"


@pytest.mark.parametrize(
    ("market", "code", "currency"),
    [(HK, "00700", "HKD"), (HK, "80700", "CNY"), (US, "AAPL", "USD"), (SH, "600519", "CNY"), (91, "BTC", "")],
)
def test_the_currency_follows_from_the_market(market: int, code: str, currency: str) -> None:
    assert row(market, code)["currency"] == currency


def test_words_are_words_of_one_spelling() -> None:
    words = [*SECURITY_TYPES.values(), *EXCHANGES.values()]
    assert len(set(words)) == len(words)
    assert all(word.isidentifier() and word == word.lower() for word in words)
