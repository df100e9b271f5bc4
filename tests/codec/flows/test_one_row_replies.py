"""Replies that are one row: 3212 and 3424."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from codec.arrow import batch_of_rows, rows_of_batch
from codec.opend import notes as n
from codec.opend.decoder import Refused
from codec.opend.replies import GatewayError, OneRow
from codec.tables import ARK_DYNAMIC, CAPITAL_DISTRIBUTION
from protos.opend.ark_stock_dynamic_pb2 import GetArkStockDynamicResponse
from protos.opend.capital_distribution_pb2 import GetCapitalDistributionResponse
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.examples import examples
from tests.codec.flows.reading import Reader
from tests.codec.oracle import HK, US

RECV_NS = 1_795_138_200_123_456_789
AMOUNTS = {
    "inflow_large": "capitalInBig",
    "inflow_medium": "capitalInMid",
    "inflow_small": "capitalInSmall",
    "outflow_large": "capitalOutBig",
    "outflow_medium": "capitalOutMid",
    "outflow_small": "capitalOutSmall",
}


def distribution(**values: object) -> GetCapitalDistributionResponse:
    """A reply with 1.5, 2.5, … in its required fields, and `values`."""
    message = GetCapitalDistributionResponse(retType=0)
    for place, name in enumerate(AMOUNTS.values()):
        setattr(message.s2c, name, place + 1.5)
    for name, value in ({"updateTime": "2026-11-20 15:59:58"} | values).items():
        if value is None:
            message.s2c.ClearField(name)
        else:
            setattr(message.s2c, name, value)
    return message


def row_of(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, OneRow)
    return dict(outcome.row)


def reason_of(outcome: object) -> tuple[str, str]:
    assert isinstance(outcome, Refused)
    assert outcome.tick is None
    return outcome.reason, outcome.detail


def test_a_distribution() -> None:
    row = row_of(Reader(HK, "700").distribution(distribution(capitalInSuper=7.0).SerializeToString(), RECV_NS))
    assert row == {
        "source": "futu",
        "symbol": "HK.00700",
        "trade_date": 20777,
        "ts_event": 1_795_161_598_000_000,
        "inflow_super": 7.0,
        "inflow_large": 1.5,
        "inflow_medium": 2.5,
        "inflow_small": 3.5,
        "outflow_super": None,
        "outflow_large": 4.5,
        "outflow_medium": 5.5,
        "outflow_small": 6.5,
        "ts_recv": RECV_NS,
        "gateway": "opend-1",
    }
    assert rows_of_batch(CAPITAL_DISTRIBUTION, batch_of_rows(CAPITAL_DISTRIBUTION, [row])) == [row]


@pytest.mark.parametrize("name", AMOUNTS.values())
def test_each_required_amount(name: str) -> None:
    reader = Reader()
    assert reason_of(reader.distribution(distribution(**{name: None}).SerializePartialToString())) == (
        "bad_row",
        f"{name} is missing",
    )
    for bad in ("nan", "inf", "-inf"):
        word, detail = reason_of(reader.distribution(distribution(**{name: float(bad)}).SerializeToString()))
        assert (word, detail) == ("bad_row", f"{name} is {bad}")


def test_a_distributions_time_is_read_as_a_ticks() -> None:
    def event_us(market: int, **values: object) -> object:
        return row_of(Reader(market, "X").distribution(distribution(**values).SerializeToString()))["ts_event"]

    assert event_us(US) == 1_795_208_398_000_000
    assert event_us(HK, updateTimestamp=1_795_161_598.25) == 1_795_161_598_250_000
    assert event_us(HK, updateTime=None, updateTimestamp=1_795_161_598.0) == 1_795_161_598_000_000
    assert event_us(31, updateTime="nonsense", updateTimestamp=1_795_161_598.0) == 1_795_161_598_000_000
    for bad in ({"updateTime": None}, {"updateTime": "2026-11-20"}, {"updateTime": "2" * 65}, {"updateTimestamp": 1.0}):
        assert reason_of(Reader().distribution(distribution(**bad).SerializeToString()))[0] == "bad_row"


def test_what_a_distribution_counts() -> None:
    reader = Reader(HK)
    reader.distribution(distribution(updateTimestamp=1_795_161_596.0).SerializeToString())
    assert reader.counters == {n.TIME_DISAGREEMENTS: 1}
    reader = Reader(999, "X")
    reader.distribution(distribution(updateTimestamp=1_795_161_596.0).SerializeToString())
    assert reader.counters == {n.UNLISTED_MARKETS: 1}


def ark(**values: object) -> bytes:
    message = GetArkStockDynamicResponse(retType=0)
    message.s2c.SetInParent()
    for name, value in values.items():
        setattr(message.s2c, name, value)
    return message.SerializeToString()


def test_an_ark_move() -> None:
    body = ark(dynamicType=1, transactionCount=2, netShares=-29523, lastTransactionTime="2026-06-22")
    row = row_of(Reader(US, "TSLA").ark(body, RECV_NS))
    assert row == {
        "source": "futu",
        "symbol": "US.TSLA",
        "dynamic_type": "consecutive_same_direction",
        "transaction_count": 2,
        "net_shares": -29523,
        "last_transaction_time": "2026-06-22",
        "ts_recv": RECV_NS,
        "gateway": "opend-1",
    }
    assert rows_of_batch(ARK_DYNAMIC, batch_of_rows(ARK_DYNAMIC, [row])) == [row]


def test_absent_ark_fields_and_unlisted_types() -> None:
    reader = Reader()
    row = row_of(reader.ark(ark()))
    assert (row["dynamic_type"], row["transaction_count"], row["net_shares"]) == ("unknown", 0, 0)
    assert row["last_transaction_time"] == ""
    assert not reader.counters
    words = ["unknown", "consecutive_same_direction", "recent_transaction", "last_transaction", "no_dynamic"]
    assert [row_of(reader.ark(ark(dynamicType=number)))["dynamic_type"] for number in range(5)] == words
    assert not reader.counters
    for number in (5, -1):
        assert row_of(reader.ark(ark(dynamicType=number)))["dynamic_type"] == "unknown"
    assert reader.counters == {n.UNLISTED_NUMBERS: 2}


@pytest.mark.parametrize("shares", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_every_width_of_net_shares(shares: int) -> None:
    assert row_of(Reader().ark(ark(netShares=shares)))["net_shares"] == shares


def test_a_last_transaction_time_that_is_no_text() -> None:
    for raw in (b"\xff\xfe", b"2" * 65):
        body = wire.number(1, 0) + wire.piece(4, wire.piece(4, raw))
        assert reason_of(Reader().ark(body))[0] == "bad_row"


def test_replies_without_content() -> None:
    reader = Reader()
    for read in (reader.distribution, reader.ark):
        assert read(wire.number(1, -1) + wire.piece(2, b"no right") + wire.number(3, 9)) == GatewayError(
            -1, 9, "no right"
        )
        assert reason_of(read(wire.number(1, 0))) == ("bad_row", "the reply holds nothing: s2c is missing")
        assert reason_of(read(wire.piece(4, b""))) == ("undecodable", "retType is missing")
        assert reason_of(read(b"\x08"))[0] == "undecodable"
        assert reason_of(read(wire.number(1, 0), body_format=2))[0] == "undecodable"


@examples(300)
@given(
    body=st.one_of(
        drawn.mutated(st.just(distribution(capitalInSuper=7.0, updateTimestamp=1_795_161_598.0).SerializeToString())),
        drawn.mutated(st.just(ark(dynamicType=1, transactionCount=2, netShares=-5, lastTransactionTime="2026-06-22"))),
        st.binary(min_size=1, max_size=60),
    )
)
def test_any_body_is_a_row_an_error_or_a_refusal(body: bytes) -> None:
    reader = Reader()
    for response, read in (
        (GetCapitalDistributionResponse(), reader.distribution),
        (GetArkStockDynamicResponse(), reader.ark),
    ):
        outcome = read(body)
        try:
            response.ParseFromString(body)
        except DecodeError:
            assert reason_of(outcome)[0] == "undecodable"
            continue
        if response.HasField("retType") and response.retType != 0:
            assert isinstance(outcome, GatewayError)
        elif isinstance(outcome, OneRow):
            assert response.IsInitialized()
        else:
            assert reason_of(outcome)[0] in ("bad_row", "undecodable")
