"""The vendors' samples and the worked frames decode to the values listed with them."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from codec.markets import MARKET_TIMES, symbol_name
from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC, ProtoId, pack_frame
from protos.opend.ark_stock_dynamic_pb2 import GetArkStockDynamicResponse
from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import oracle
from tests.codec.feeding import read_chunks
from tests.codec.oracle import EPOCH, MICROSECOND
from tests.vectors import FlowSample, FrameVector, TickSample, flow_samples, frame_vectors, tick_samples, utc_us

RESPONSES: dict[int, type[Message]] = {
    ProtoId.UPDATE_TICKER: UpdateTickerResponse,
    ProtoId.GET_CAPITAL_FLOW: GetCapitalFlowResponse,
    ProtoId.GET_ARK_STOCK_DYNAMIC: GetArkStockDynamicResponse,
}


@pytest.mark.parametrize("sample", tick_samples(), ids=lambda sample: sample.name)
def test_samples_of_ticks(sample: TickSample) -> None:
    body = sample.message().SerializeToString()
    reading = read_chunks([pack_frame(ProtoId.GET_TICKER, 3, body)])
    assert [expectation(row) for row in reading.rows] == sample.expected
    assert {row.symbol for row in reading.rows} == {symbol_name(sample.market, sample.code)}
    assert {row.delivery for row in reading.rows} == {"pull"}
    assert {row.ts_gateway_us for row in reading.rows} == {None}
    assert not +reading.counters


def expectation(row: oracle.Row) -> dict[str, Any]:
    """A row in the words of the vectors."""
    return {
        "ts_event": (EPOCH + row.ts_event_us * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "sequence": row.sequence,
        "price": float.fromhex(row.price),
        "volume": float.fromhex(row.volume),
        "turnover": float.fromhex(row.turnover),
        "direction": row.direction,
        "trade_type": row.trade_type,
        "condition": row.condition,
        "session": row.session,
        "trade_date": row.trade_date.isoformat(),
    }


@pytest.mark.parametrize("sample", tick_samples(), ids=lambda sample: sample.name)
def test_samples_of_ticks_agree_with_themselves(sample: TickSample) -> None:
    """Text, timestamp and the sequence's upper half, which is unix seconds, say the same; so do their products."""
    for tick, expected in zip(sample.ticks, sample.expected, strict=True):
        local = datetime.datetime.fromisoformat(tick["time"]).replace(tzinfo=ZoneInfo(MARKET_TIMES[sample.market].zone))
        event_us = utc_us(expected["ts_event"])
        assert event_us == (local - EPOCH) // MICROSECOND
        assert tick.get("timestamp", event_us / 1e6) == event_us / 1e6
        assert abs((int(tick["sequence"]) >> 32) - event_us / 1e6) < 1
        assert tick["price"] * int(tick["volume"]) == pytest.approx(tick["turnover"])


@pytest.mark.parametrize("sample", flow_samples(), ids=lambda sample: sample.name)
def test_samples_of_capital_flow_agree_with_themselves(sample: FlowSample) -> None:
    message = GetCapitalFlowResponse.FromString(sample.message().SerializeToString())
    for item, expected in zip(message.s2c.flowItemList, sample.expected, strict=True):
        local = datetime.datetime.fromisoformat(item.time).replace(tzinfo=ZoneInfo(MARKET_TIMES[sample.market].zone))
        assert utc_us(expected["ts_event"]) == (local - EPOCH) // MICROSECOND
        assert item.timestamp in (0, local.timestamp())
        assert (item.inFlow, local.date().isoformat()) == (expected["net_inflow"], expected["trade_date"])


@pytest.mark.parametrize("vector", frame_vectors(), ids=lambda vector: vector.name)
def test_worked_frames(vector: FrameVector) -> None:
    magic, proto_id, body_format, version, serial, body_bytes, digest, reserved = HEADER.unpack_from(vector.frame)
    body = vector.frame[HEADER_BYTES:]
    assert (magic, body_format, version, reserved) == (MAGIC, 0, 0, bytes(8))
    assert (proto_id, serial, body_bytes) == (vector.proto_id, vector.serial, len(body))
    assert digest == hashlib.sha1(body).digest()
    response = RESPONSES[proto_id]
    assert MessageToDict(response.FromString(body)) == vector.message
    assert ParseDict(vector.message, response()).SerializeToString() == body
    assert pack_frame(proto_id, serial, body) == vector.frame


def test_the_worked_frames_are_those_of_the_protocols_description() -> None:
    text = (Path(__file__).parents[2] / "docs/protocols/opend.md").read_text(encoding="utf-8")
    assert all(vector.frame.hex() in text for vector in frame_vectors())


def test_the_worked_push() -> None:
    vectors = {vector.proto_id: vector.frame for vector in frame_vectors()}
    reading = read_chunks([vectors[ProtoId.UPDATE_TICKER]], recv_ns=9)
    assert reading.rows == [
        oracle.Row(
            symbol="HK.00700",
            trade_date=datetime.date(2026, 11, 20),
            ts_event_us=1_795_138_200_000_000,
            sequence=7710059860800307201,
            price=(512.5).hex(),
            volume=(300.0).hex(),
            turnover=(153750.0).hex(),
            direction="buy",
            trade_type=1,
            condition="",
            session="regular",
            delivery="realtime",
            ts_gateway_us=1_795_138_200_250_000,
            ts_recv_ns=9,
        )
    ]


@pytest.mark.parametrize("proto_id", [ProtoId.GET_CAPITAL_FLOW, ProtoId.GET_ARK_STOCK_DYNAMIC])
def test_the_other_worked_frames_are_the_sessions_business(proto_id: int) -> None:
    (vector,) = [vector for vector in frame_vectors() if vector.proto_id == proto_id]
    reading = read_chunks([vector.frame])
    assert reading.notes == [oracle.Control(0, len(vector.frame), proto_id, vector.serial, 0)]
