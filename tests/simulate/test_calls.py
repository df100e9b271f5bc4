"""Answers of the simulated OpenD, without a network."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from codec.markets import parse_symbol
from codec.opend.protocol import HEADER_BYTES, ProtoId
from protos.opend import (
    ark_stock_dynamic_pb2,
    capital_distribution_pb2,
    capital_flow_pb2,
    common_pb2,
    global_state_pb2,
    init_connect_pb2,
    market_state_pb2,
    static_info_pb2,
    subscription_pb2,
    ticker_pb2,
    user_info_pb2,
)
from ticktape.simulate.market import CACHE_TICKS, Market
from ticktape.simulate.opend_calls import CONNECTIONS_MAX, Answer, Calls, Client
from ticktape.simulate.opend_frames import Encoder
from ticktape.simulate.opend_subscriptions import HOLD_S
from ticktape.simulate.sessions import opening_us
from ticktape.simulate.symbols import list_symbols

HK_SYMBOL, US_SYMBOL = "HK.00700", "US.AAPL"
MIDDAY_S = 3 * 3600.0

_Response = TypeVar("_Response", bound=Message)


def security(symbol: str) -> common_pb2.Security:
    market, code = parse_symbol(symbol)
    return common_pb2.Security(market=market, code=code)


class Desk:
    """One client of calls that answer at once."""

    def __init__(self, market: Market, quota: int = 100) -> None:
        self.market = market
        self.calls = Calls(market, Encoder(market.listings, market.store.rings, 50), seed=1, quota=quota)
        self.client: Client = self.calls.connect()
        self.now_s = 1000.0
        self.answer: Answer | None = None

    def call(
        self, proto_id: ProtoId, request: Message, response: type[_Response], client: Client | None = None
    ) -> _Response:
        """One request, with what it says as c2s."""
        body = request.SerializePartialToString()
        self.answer = self.calls.answer(client or self.client, proto_id, 7, body, self.now_s)
        assert self.answer is not None
        return response.FromString(self.answer.frame[HEADER_BYTES:])

    def init_connect(self, client: Client | None = None, **fields: Any) -> init_connect_pb2.InitConnectResponse:
        request = init_connect_pb2.InitConnectRequest()
        request.c2s.MergeFrom(init_connect_pb2.InitConnectC2S(clientVer=1, clientID="test", **fields))
        return self.call(ProtoId.INIT_CONNECT, request, init_connect_pb2.InitConnectResponse, client)

    def sub(self, *symbols: str, **fields: Any) -> subscription_pb2.SubResponse:
        values: dict[str, Any] = {
            "subTypeList": [4],
            "isSubOrUnSub": True,
            "isRegOrUnRegPush": True,
            "session": 3,
        } | fields
        c2s = subscription_pb2.SubC2S(securityList=[security(symbol) for symbol in symbols], **values)
        return self.call(ProtoId.SUB, subscription_pb2.SubRequest(c2s=c2s), subscription_pb2.SubResponse)

    def pull(self, symbol: str, ticks_max: int = 1000) -> ticker_pb2.GetTickerResponse:
        c2s = ticker_pb2.GetTickerC2S(security=security(symbol), maxRetNum=ticks_max)
        return self.call(ProtoId.GET_TICKER, ticker_pb2.GetTickerRequest(c2s=c2s), ticker_pb2.GetTickerResponse)

    def flow(self, symbol: str, **fields: Any) -> capital_flow_pb2.GetCapitalFlowResponse:
        c2s = capital_flow_pb2.GetCapitalFlowC2S(security=security(symbol), **fields)
        return self.call(
            ProtoId.GET_CAPITAL_FLOW,
            capital_flow_pb2.GetCapitalFlowRequest(c2s=c2s),
            capital_flow_pb2.GetCapitalFlowResponse,
        )


@pytest.fixture
def desk(market: Market) -> Desk:
    desk = Desk(market)
    assert desk.init_connect().retType == 0
    return desk


def desk_at(hours_after_open: float) -> Desk:
    start_us = opening_us("2026-11-20") + int(hours_after_open * 3600e6)
    desk = Desk(Market(list_symbols(8), seed=1, start_us=start_us))
    desk.init_connect()
    return desk


def test_connecting_fills_all_that_is_required(market: Market) -> None:
    desk = Desk(market)
    others = [desk.calls.connect() for _ in range(3)]
    replies = [desk.init_connect(client) for client in (desk.client, *others)]
    for reply in replies:
        assert reply.IsInitialized()
        assert reply.retType == 0
        assert len(reply.s2c.connAESKey) == 16
        assert not reply.s2c.HasField("aesCBCiv")
    assert len({reply.s2c.connID for reply in replies}) == 4


def test_nothing_is_answered_before_init_connect(market: Market) -> None:
    desk = Desk(market)
    reply = desk.call(
        ProtoId.GET_GLOBAL_STATE,
        global_state_pb2.GetGlobalStateRequest(c2s=global_state_pb2.GetGlobalStateC2S(userID=0)),
        global_state_pb2.GetGlobalStateResponse,
    )
    assert (reply.retType, reply.errCode) == (-1, -1)
    assert "InitConnect" in reply.retMsg


def test_twice_connecting_unknown_ways_of_writing_and_a_crowd_are_refused(desk: Desk) -> None:
    assert "already" in desk.init_connect().retMsg
    assert "pushProtoFmt 2" in desk.init_connect(desk.calls.connect(), pushProtoFmt=2).retMsg
    assert "AES_ECB" in desk.init_connect(desk.calls.connect(), packetEncAlgo=1).retMsg
    clients = [desk.calls.connect() for _ in range(CONNECTIONS_MAX)]
    assert "128 connections" in desk.init_connect(clients[-1]).retMsg


def test_an_unknown_protocol_id_gets_no_answer_and_is_counted(desk: Desk) -> None:
    assert desk.calls.answer(desk.client, 3006, 1, b"\x0a\x00", 0.0) is None
    assert desk.calls.requests["unknown:3006"] == 1


@pytest.mark.parametrize("body", [b"", b"\x0a", b"\x0a\x02\x08\x01", b"\xff\xff"])
def test_a_request_that_does_not_decode_is_refused(desk: Desk, body: bytes) -> None:
    answer = desk.calls.answer(desk.client, ProtoId.GET_TICKER, 1, body, 0.0)
    assert answer is not None
    reply = ticker_pb2.GetTickerResponse.FromString(answer.frame[HEADER_BYTES:])
    assert reply.retType == -1
    assert "decode" in reply.retMsg


def test_global_state_follows_the_market_clock(desk: Desk) -> None:
    def state() -> global_state_pb2.GetGlobalStateS2C:
        reply = desk.call(
            ProtoId.GET_GLOBAL_STATE,
            global_state_pb2.GetGlobalStateRequest(c2s=global_state_pb2.GetGlobalStateC2S(userID=0)),
            global_state_pb2.GetGlobalStateResponse,
        )
        assert reply.s2c.programStatus.type == common_pb2.ProgramStatusType_Ready
        return reply.s2c

    before = state()
    assert (before.marketHK, before.marketUS) == (3, 37)
    desk.market.step(0.0, MIDDAY_S, desk.calls.book.held)
    after = state()
    assert after.time - before.time == 2.5 * 3600  # the clock stops where the morning does
    assert after.marketHK == 4


def test_user_info_tells_quota_and_rights(desk: Desk) -> None:
    reply = desk.call(
        ProtoId.GET_USER_INFO,
        user_info_pb2.GetUserInfoRequest(c2s=user_info_pb2.GetUserInfoC2S()),
        user_info_pb2.GetUserInfoResponse,
    )
    assert (reply.s2c.subQuota, reply.s2c.hkQotRight) == (100, 3)


def test_the_first_push_comes_with_registering_unless_unwanted(desk: Desk) -> None:
    def first_push() -> int:
        assert desk.answer is not None
        return desk.answer.first_push.ticks if desk.answer.first_push else 0

    desk.sub(HK_SYMBOL, US_SYMBOL)
    assert first_push() == 2 * CACHE_TICKS
    desk.sub(HK_SYMBOL)
    assert first_push() == CACHE_TICKS, "also when subscribed already"
    desk.sub(HK_SYMBOL, isFirstPush=False)
    assert first_push() == 0
    desk.sub("HK.09988", isRegOrUnRegPush=False)
    assert first_push() == 0
    assert len(desk.pull("HK.09988").s2c.tickerList) == CACHE_TICKS, "the cache is filled all the same"


def test_a_pull_needs_a_subscription_of_this_connection(desk: Desk) -> None:
    assert "subscribe to TICKER of HK.00700 first" in desk.pull(HK_SYMBOL).retMsg
    desk.sub(HK_SYMBOL)
    assert desk.pull(HK_SYMBOL).retType == 0
    other = desk.calls.connect()
    desk.init_connect(other)
    desk.client = other
    assert desk.pull(HK_SYMBOL).retType == -1
    assert "unknown stock HK.99999" in desk.pull("HK.99999").retMsg


def test_a_pull_gives_the_newest_and_at_most_a_thousand(desk: Desk) -> None:
    desk.sub(HK_SYMBOL)
    for _ in range(20):
        desk.market.step(0.1, 0.1, desk.calls.book.held)
    ticks = int(desk.market.store.state.ticks[0])
    assert ticks > 1000
    pulled = desk.pull(HK_SYMBOL, 5000).s2c.tickerList
    assert [tick.sequence & 0xFFFFFFFF for tick in pulled] == list(range(ticks - 999, ticks + 1))
    assert not pulled[0].HasField("pushDataType")
    assert pulled[0].recvTime == 0.0
    assert len(desk.pull(HK_SYMBOL, 3).s2c.tickerList) == 3
    assert "positive" in desk.pull(HK_SYMBOL, 0).retMsg


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"subTypeList": []}, "must not be empty"),
        ({"subTypeList": [99]}, "unknown subType 99"),
        ({"session": 4}, "session 4"),
    ],
)
def test_what_cannot_be_subscribed_to_is_refused(desk: Desk, fields: dict[str, Any], message: str) -> None:
    reply = desk.sub(HK_SYMBOL, **fields)
    assert reply.retType == -1
    assert message in reply.retMsg
    assert desk.calls.book.used() == 0


def test_one_unknown_symbol_refuses_the_whole_request(desk: Desk) -> None:
    assert "unknown stock HK.99999" in desk.sub(HK_SYMBOL, "HK.99999").retMsg
    assert desk.calls.book.used() == 0


@pytest.mark.parametrize(
    ("fields", "sessions"),
    [({}, 1), ({"extendedTime": True}, 3), ({"session": 1}, 1), ({"session": 2}, 3), ({"session": 3}, 7)],
)
def test_us_sessions_are_as_asked_and_hong_kong_has_one(desk: Desk, fields: dict[str, Any], sessions: int) -> None:
    desk.sub(HK_SYMBOL, US_SYMBOL, **({"session": 0} | fields))
    assert desk.calls.book.pushed[:2].tolist() == [1, sessions]


def test_unsubscribing_within_a_minute_is_refused(desk: Desk) -> None:
    desk.sub(HK_SYMBOL)
    assert "1 minute" in desk.sub(HK_SYMBOL, isSubOrUnSub=False).retMsg
    assert "1 minute" in desk.sub(isUnsubAll=True, isSubOrUnSub=False).retMsg
    desk.now_s += HOLD_S
    assert desk.sub(isUnsubAll=True, isSubOrUnSub=False).retType == 0
    assert desk.calls.book.used() == 0


def test_subscriptions_are_told_by_connection(desk: Desk) -> None:
    desk.sub(HK_SYMBOL, US_SYMBOL)
    other = desk.calls.connect()
    desk.init_connect(other)
    for all_connections, count in ((False, 1), (True, 2)):
        reply = desk.call(
            ProtoId.GET_SUB_INFO,
            subscription_pb2.GetSubInfoRequest(c2s=subscription_pb2.GetSubInfoC2S(isReqAllConn=all_connections)),
            subscription_pb2.GetSubInfoResponse,
            other,
        )
        own = [info for info in reply.s2c.connSubInfoList if info.isOwnConnData]
        assert (len(reply.s2c.connSubInfoList), len(own), own[0].usedQuota) == (count, 1, 0)
        assert (reply.s2c.totalUsedQuota, reply.s2c.remainQuota) == (2, 98)


@pytest.mark.parametrize(
    ("symbol", "hours", "lines", "last"),
    [
        (HK_SYMBOL, 0.0, 1, "2026-11-20 09:30:00"),
        (HK_SYMBOL, 1.0, 61, "2026-11-20 10:30:00"),
        (HK_SYMBOL, 3.0, 151, "2026-11-20 12:00:00"),
        (HK_SYMBOL, 3.6, 157, "2026-11-20 13:06:00"),
        (HK_SYMBOL, 8.0, 331, "2026-11-20 16:00:00"),
        (HK_SYMBOL, 23.0, 331, "2026-11-20 16:00:00"),
        (US_SYMBOL, 0.0, 391, "2026-11-19 16:00:00"),
    ],
)
def test_flow_lines_are_one_a_minute_without_lunch(symbol: str, hours: float, lines: int, last: str) -> None:
    items = desk_at(hours).flow(symbol).s2c.flowItemList
    assert (len(items), items[-1].time) == (lines, last)
    for item in items:
        sizes = item.superInFlow + item.bigInFlow + item.midInFlow + item.smlInFlow
        assert item.inFlow == pytest.approx(sizes, abs=0.01)
        assert not item.HasField("mainInFlow")


def test_finished_flow_lines_stay_and_the_distribution_agrees() -> None:
    early, late = desk_at(1.0), desk_at(1.5)
    before, after = early.flow(HK_SYMBOL).s2c.flowItemList, late.flow(HK_SYMBOL).s2c.flowItemList
    assert list(after[: len(before) - 1]) == list(before[:-1])
    c2s = capital_distribution_pb2.GetCapitalDistributionC2S(security=security(HK_SYMBOL))
    money = late.call(
        ProtoId.GET_CAPITAL_DISTRIBUTION,
        capital_distribution_pb2.GetCapitalDistributionRequest(c2s=c2s),
        capital_distribution_pb2.GetCapitalDistributionResponse,
    ).s2c
    assert after[-1].superInFlow == pytest.approx(money.capitalInSuper - money.capitalOutSuper, abs=0.01)
    assert after[-1].smlInFlow == pytest.approx(money.capitalInSmall - money.capitalOutSmall, abs=0.01)
    assert money.updateTime == "2026-11-20 11:00:00"


def test_flow_lines_of_days_weeks_and_months(desk: Desk) -> None:
    bounds = {"beginTime": "2026-09-01", "endTime": "2026-10-31 00:00:00"}
    days, weeks, months = (desk.flow(HK_SYMBOL, periodType=period, **bounds).s2c.flowItemList for period in (2, 3, 4))
    assert (len(days), len(weeks), len(months)) == (61, 8, 2)
    assert months[0].time == "2026-09-01 00:00:00"
    assert days[0].mainInFlow == pytest.approx(days[0].superInFlow + days[0].bigInFlow, abs=0.01)
    assert desk.flow(HK_SYMBOL, periodType=2, **bounds).s2c.flowItemList == days
    assert "not a date" in desk.flow(HK_SYMBOL, periodType=2, beginTime="yesterday").retMsg
    assert "periodType 9" in desk.flow(HK_SYMBOL, periodType=9).retMsg


def test_served_lines_are_counted_by_version(desk: Desk) -> None:
    for _ in range(2):
        desk.flow(HK_SYMBOL)
    assert desk.calls.quotes.served.counts("capital_flow") == {HK_SYMBOL: 1}
    desk.market.step(0.0, 90.0, desk.calls.book.held)
    desk.flow(HK_SYMBOL)
    assert desk.calls.quotes.served.counts("capital_flow") == {HK_SYMBOL: 3}


def test_thirty_flow_requests_in_thirty_seconds_and_no_more(desk: Desk) -> None:
    assert [desk.flow(HK_SYMBOL).retType for _ in range(30)] == [0] * 30
    assert "too frequent" in desk.flow(HK_SYMBOL).retMsg
    desk.now_s += 29.9
    assert desk.flow(HK_SYMBOL).retType == -1
    desk.now_s += 0.2
    assert desk.flow(HK_SYMBOL).retType == 0


def test_some_symbols_have_ark_moves() -> None:
    desk, types = Desk(Market(list_symbols(40), seed=1, start_us=opening_us("2026-11-20"))), set()
    desk.init_connect()
    for listing in desk.market.listings:
        c2s = ark_stock_dynamic_pb2.GetArkStockDynamicC2S(security=security(listing.symbol))
        ark = desk.call(
            ProtoId.GET_ARK_STOCK_DYNAMIC,
            ark_stock_dynamic_pb2.GetArkStockDynamicRequest(c2s=c2s),
            ark_stock_dynamic_pb2.GetArkStockDynamicResponse,
        ).s2c
        types.add(ark.dynamicType)
        assert bool(ark.lastTransactionTime) == (ark.dynamicType != 4)
    assert len(types) > 1


def test_static_info_and_market_state(desk: Desk) -> None:
    info = desk.call(
        ProtoId.GET_STATIC_INFO,
        static_info_pb2.GetStaticInfoRequest(c2s=static_info_pb2.GetStaticInfoC2S(market=11, secType=3)),
        static_info_pb2.GetStaticInfoResponse,
    ).s2c.staticInfoList
    assert [entry.basic.security.code for entry in info] == ["AAPL", "NVDA", "TSLA", "MSFT"]
    symbols = [security(HK_SYMBOL), security(US_SYMBOL)]
    state = desk.call(
        ProtoId.GET_MARKET_STATE,
        market_state_pb2.GetMarketStateRequest(c2s=market_state_pb2.GetMarketStateC2S(securityList=symbols)),
        market_state_pb2.GetMarketStateResponse,
    )
    assert [entry.marketState for entry in state.s2c.marketInfoList] == [3, 37]
