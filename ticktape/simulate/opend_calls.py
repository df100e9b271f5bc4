"""What the simulated OpenD answers to each call (docs/protocols/opend.md 2, 3 and 4).

Sans-IO: a call is the bytes of a request and the time; an answer is a frame, and ticks to push
behind it. Request bodies, protobuf or JSON, are turned into messages here only; answers are plain
protobuf, which the connection makes into what its client wants (ticktape/simulate/opend_wire.py).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from codec.markets import HK, US
from codec.opend.json_bodies import UndecodableJson, to_protobuf
from codec.opend.protocol import BodyFormat, ProtoId, SessionChoice, SubType, pack_frame
from protos.opend import (
    ark_stock_dynamic_pb2,
    capital_distribution_pb2,
    capital_flow_pb2,
    common_pb2,
    global_state_pb2,
    init_connect_pb2,
    keep_alive_pb2,
    market_state_pb2,
    notify_pb2,
    static_info_pb2,
    subscription_pb2,
    ticker_pb2,
    user_info_pb2,
)
from ticktape.simulate.frequency import Frequency
from ticktape.simulate.market import EVERY_SESSION, Market
from ticktape.simulate.opend_condition import Condition
from ticktape.simulate.opend_frames import Encoder
from ticktape.simulate.opend_quotes import CallRefused, QuoteCalls
from ticktape.simulate.opend_subscriptions import Pair, SubscriptionBook, SubscriptionRefused
from ticktape.simulate.opend_wire import ClientWire, GatewayKey, WireRefused
from ticktape.simulate.sessions import SECOND_US, MarketState, TradingSession, phase_at
from ticktape.simulate.tick_store import Spans

SERVER_VERSION, SERVER_BUILD = 1011, 7108
LOGIN_USER_ID = 10_000_001
KEEP_ALIVE_INTERVAL_S = 10
CONNECTIONS_MAX = 128
PULL_TICKS_MAX = 1000
FIRST_PUSH_TICKS_MAX = 10
"""Of what is cached, a first push carries at most this many a symbol."""

RET_SUCCESS, RET_FAILED = 0, -1
REFUSED_CODE = -1
"""errCode of every refusal; which numbers the real one uses is not documented."""

_SUB_TYPES = frozenset({1, 2, *range(4, 23)})
_COVERED_US = {
    SessionChoice.RTH: TradingSession.REGULAR,
    SessionChoice.ETH: TradingSession.REGULAR | TradingSession.EXTENDED,
    SessionChoice.ALL: EVERY_SESSION,
}


@dataclass(slots=True)
class Client:
    """One connection: its number here, how its bodies travel, if it wants Notify, if InitConnect succeeded."""

    connection: int
    conn_id: int
    wire: ClientWire
    takes_notices: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply as a frame, and cached ticks to push behind it."""

    frame: bytes
    first_push: Spans | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    request: type[Any]
    response: type[Any]
    handle: Callable[[Client, Any, float], Message | Spans | None]


class Calls:
    """Answers calls; owns the login's subscriptions and counts what was asked.

    Attributes
    ----------
    book : the login's subscriptions
    condition : whether the login stands, and what it may see
    quotes : answers that need none
    requests : calls received, by name; unknown ones as `unknown:<id>`
    frequency : how often each came, and whether that was too often
    """

    def __init__(self, market: Market, encoder: Encoder, seed: int, quota: int, key: GatewayKey | None = None) -> None:
        self._market, self._encoder = market, encoder
        self._key = key
        self.book = SubscriptionBook(len(market.listings), quota)
        self.condition = Condition()
        self.quotes = QuoteCalls(market, seed)
        self.requests: Counter[str] = Counter()
        self._random = random.Random(f"{seed}/connections")
        self._connections = 0
        self.frequency = Frequency()
        self._first_push: Spans | None = None
        quotes = self.quotes
        self._calls: dict[int, _Call] = {
            ProtoId.INIT_CONNECT: _call(init_connect_pb2, "InitConnect", self._init_connect),
            ProtoId.GET_GLOBAL_STATE: _call(global_state_pb2, "GetGlobalState", self._global_state),
            ProtoId.KEEP_ALIVE: _call(keep_alive_pb2, "KeepAlive", self._keep_alive),
            ProtoId.GET_USER_INFO: _call(user_info_pb2, "GetUserInfo", self._user_info),
            ProtoId.SUB: _call(subscription_pb2, "Sub", self._sub),
            ProtoId.REG_QOT_PUSH: _call(subscription_pb2, "RegQotPush", self._register_push),
            ProtoId.GET_SUB_INFO: _call(subscription_pb2, "GetSubInfo", self._sub_info),
            ProtoId.GET_TICKER: _call(ticker_pb2, "GetTicker", self._ticker),
            ProtoId.GET_STATIC_INFO: _call(static_info_pb2, "GetStaticInfo", _plain(quotes.static_info)),
            ProtoId.GET_CAPITAL_FLOW: _call(capital_flow_pb2, "GetCapitalFlow", _plain(quotes.capital_flow)),
            ProtoId.GET_CAPITAL_DISTRIBUTION: _call(
                capital_distribution_pb2, "GetCapitalDistribution", _plain(quotes.capital_distribution)
            ),
            ProtoId.GET_MARKET_STATE: _call(market_state_pb2, "GetMarketState", _plain(quotes.market_state)),
            ProtoId.GET_ARK_STOCK_DYNAMIC: _call(
                ark_stock_dynamic_pb2, "GetArkStockDynamic", _plain(quotes.ark_stock_dynamic)
            ),
        }

        self._responses = {int(proto_id): call.response for proto_id, call in self._calls.items()} | {
            int(ProtoId.UPDATE_TICKER): ticker_pb2.UpdateTickerResponse,
            int(ProtoId.NOTIFY): notify_pb2.NotifyResponse,
        }

    def connect(self, *, by_front: bool = False) -> Client:
        """A new connection, not yet greeted; the WebSocket front's, inside OpenD, is not encrypted."""
        self._connections += 1
        conn_id = self._random.getrandbits(52) << 8 | self._connections & 0xFF
        client = Client(self._connections, conn_id, ClientWire(None if by_front else self._key, self._responses))
        self.book.open(client.connection)
        return client

    def disconnect(self, client: Client, now_s: float) -> None:
        """The connection is gone."""
        self.book.close(client.connection, now_s)

    def answer(
        self,
        client: Client,
        proto_id: int,
        serial: int,
        body: bytes,
        now_s: float,
        body_format: BodyFormat = BodyFormat.PROTOBUF,
    ) -> Answer | None:
        """Answer one request; None for an unknown protocol id, which OpenD would not answer either."""
        call = self._calls.get(proto_id)
        if call is None:
            self.requests[f"unknown:{proto_id}"] += 1
            return None
        self.requests[ProtoId(proto_id).name.lower()] += 1
        self._first_push = None
        response = call.response(retType=RET_SUCCESS, retMsg="", errCode=0)
        try:
            s2c = self._handle(call, client, ProtoId(proto_id), body, body_format, now_s)
            if isinstance(s2c, Spans):
                return Answer(self._encoder.reply(s2c, serial))
            if s2c is not None:
                response.s2c.CopyFrom(s2c)
        except (CallRefused, SubscriptionRefused) as refusal:
            response = call.response(retType=RET_FAILED, retMsg=str(refusal), errCode=REFUSED_CODE)
        return Answer(pack_frame(proto_id, serial, response.SerializeToString()), self._first_push)

    def _handle(
        self, call: _Call, client: Client, proto_id: ProtoId, body: bytes, body_format: BodyFormat, now_s: float
    ) -> Message | Spans | None:
        refusal = self.frequency.ask(proto_id, now_s)
        if not client.ready and proto_id != ProtoId.INIT_CONNECT:
            raise CallRefused("the first request must be InitConnect")
        try:
            if body_format is BodyFormat.JSON:
                body = to_protobuf(body, call.request).body
            request = call.request.FromString(body)
        except (DecodeError, UndecodableJson) as error:
            raise CallRefused(f"the request does not decode: {error}") from None
        if not request.IsInitialized():
            missing = ", ".join(request.FindInitializationErrors())
            raise CallRefused(f"the request does not decode: required fields are missing: {missing}")
        if refusal is not None:
            raise CallRefused(refusal)
        if (why := self.condition.refusal(proto_id)) is not None:
            raise CallRefused(why)
        return call.handle(client, request.c2s, now_s)

    def _init_connect(
        self, client: Client, c2s: init_connect_pb2.InitConnectC2S, now_s: float
    ) -> init_connect_pb2.InitConnectS2C:
        if client.ready:
            raise CallRefused("this connection is initialized already")
        if len(self.book.connections()) > CONNECTIONS_MAX:
            raise CallRefused(f"there are {CONNECTIONS_MAX} connections already")
        s2c = init_connect_pb2.InitConnectS2C(
            serverVer=SERVER_VERSION,
            loginUserID=LOGIN_USER_ID,
            connID=client.conn_id,
            keepAliveInterval=KEEP_ALIVE_INTERVAL_S,
            userAttribution=1,
        )
        try:
            client.wire.agree(c2s, s2c, self._random)
        except WireRefused as refusal:
            raise CallRefused(str(refusal)) from None
        client.ready, client.takes_notices = True, c2s.recvNotify
        return s2c

    def _global_state(self, client: Client, c2s: Message, now_s: float) -> global_state_pb2.GetGlobalStateS2C:
        now_us = self._market.now_us
        return global_state_pb2.GetGlobalStateS2C(
            marketHK=phase_at(HK, now_us).state,
            marketUS=phase_at(US, now_us).state,
            marketSH=MarketState.CLOSED,
            marketSZ=MarketState.CLOSED,
            marketHKFuture=MarketState.CLOSED,
            qotLogined=self.condition.has_backend,
            trdLogined=self.condition.has_backend,
            serverVer=SERVER_VERSION,
            serverBuildNo=SERVER_BUILD,
            time=now_us // SECOND_US,
            localTime=now_us / SECOND_US,
            programStatus=self.condition.program,
            connID=client.conn_id,
        )

    def _keep_alive(
        self, client: Client, c2s: keep_alive_pb2.KeepAliveC2S, now_s: float
    ) -> keep_alive_pb2.KeepAliveS2C:
        return keep_alive_pb2.KeepAliveS2C(time=self._market.now_us // SECOND_US)

    def _user_info(self, client: Client, c2s: Message, now_s: float) -> user_info_pb2.GetUserInfoS2C:
        return self.condition.user_info(LOGIN_USER_ID, self.book.quota)

    def _sub(self, client: Client, c2s: subscription_pb2.SubC2S, now_s: float) -> subscription_pb2.SubS2C:
        connection = client.connection
        if c2s.isUnsubAll:
            self.book.unsubscribe(connection, None, now_s)
            return subscription_pb2.SubS2C()
        symbols, pairs = self._pairs(c2s.securityList, c2s.subTypeList)
        if not c2s.isSubOrUnSub:
            self.book.unsubscribe(connection, pairs, now_s)
            return subscription_pb2.SubS2C()
        self._check_rights(symbols)
        covered_us = self._covered_us(c2s)
        covered = [
            covered_us if self._market.listings[symbol].market == US else TradingSession.REGULAR for symbol, _ in pairs
        ]
        push = c2s.isRegOrUnRegPush if c2s.HasField("isRegOrUnRegPush") else None
        self.book.subscribe(connection, pairs, covered, push, now_s)
        if SubType.TICKER in c2s.subTypeList:
            self._market.fill_cache(np.array(symbols, np.int64), covered_us)
        if push and (c2s.isFirstPush or not c2s.HasField("isFirstPush")):
            self._push_cached(pairs)
        return subscription_pb2.SubS2C()

    def _register_push(
        self, client: Client, c2s: subscription_pb2.RegQotPushC2S, now_s: float
    ) -> subscription_pb2.RegQotPushS2C:
        _, pairs = self._pairs(c2s.securityList, c2s.subTypeList)
        self.book.register_push(client.connection, pairs, c2s.isRegOrUnReg)
        if c2s.isRegOrUnReg and (c2s.isFirstPush or not c2s.HasField("isFirstPush")):
            self._push_cached(pairs)
        return subscription_pb2.RegQotPushS2C()

    def _sub_info(
        self, client: Client, c2s: subscription_pb2.GetSubInfoC2S, now_s: float
    ) -> subscription_pb2.GetSubInfoS2C:
        used = self.book.used()
        s2c = subscription_pb2.GetSubInfoS2C(
            totalUsedQuota=used,
            remainQuota=self.book.quota - used,
            optionUsedQuota=0,
            optionRemainQuota=self.book.quota,
        )
        for connection in self.book.connections() if c2s.isReqAllConn else [client.connection]:
            pairs = self.book.pairs_of(connection)
            is_own = connection == client.connection
            info = s2c.connSubInfoList.add(usedQuota=len(pairs), isOwnConnData=is_own, optionUsedQuota=0)
            for sub_type in sorted({sub_type for _, sub_type in pairs}):
                securities = [self._security(symbol) for symbol, of_type in pairs if of_type == sub_type]
                info.subInfoList.add(subType=sub_type, securityList=securities)
        return s2c

    def _ticker(self, client: Client, c2s: ticker_pb2.GetTickerC2S, now_s: float) -> Spans:
        symbol = self.quotes.symbol_index(c2s.security)
        if not self.book.holds(client.connection, (symbol, SubType.TICKER)):
            raise CallRefused(f"subscribe to TICKER of {self._market.listings[symbol].symbol} first")
        if c2s.maxRetNum <= 0:
            raise CallRefused("maxRetNum must be positive")
        self._check_rights([symbol])
        chosen = np.array([symbol], np.int64)
        cached = self._market.cached(chosen, min(c2s.maxRetNum, PULL_TICKS_MAX))
        return cached if len(cached) else Spans(chosen, np.zeros(1, np.int64), np.zeros(1, np.int64))

    def _check_rights(self, symbols: Iterable[int]) -> None:
        for symbol in symbols:
            if self.condition.lacks_right(self._market.listings[symbol].market):
                raise CallRefused(f"no quote right for {self._market.listings[symbol].symbol}")

    def _pairs(
        self, securities: Iterable[common_pb2.Security], sub_types: Sequence[int]
    ) -> tuple[list[int], list[Pair]]:
        symbols = [self.quotes.symbol_index(security) for security in securities]
        if not symbols or not sub_types:
            raise CallRefused("securityList and subTypeList must not be empty")
        if not _SUB_TYPES.issuperset(sub_types):
            raise CallRefused(f"unknown subType {min(set(sub_types) - _SUB_TYPES)}")
        symbols = list(dict.fromkeys(symbols))
        return symbols, [(symbol, sub_type) for symbol in symbols for sub_type in dict.fromkeys(sub_types)]

    def _push_cached(self, pairs: Iterable[Pair]) -> None:
        symbols = [symbol for symbol, sub_type in pairs if sub_type == SubType.TICKER]
        self._first_push = self._market.cached(np.array(symbols, np.int64), FIRST_PUSH_TICKS_MAX)

    def _security(self, symbol: int) -> common_pb2.Security:
        listing = self._market.listings[symbol]
        return common_pb2.Security(market=listing.market, code=listing.code)

    @staticmethod
    def _covered_us(c2s: subscription_pb2.SubC2S) -> TradingSession:
        if c2s.session == 0:
            return _COVERED_US[SessionChoice.ETH if c2s.extendedTime else SessionChoice.RTH]
        try:
            return _COVERED_US[SessionChoice(c2s.session)]
        except ValueError:
            raise CallRefused(f"session {c2s.session} cannot be subscribed to") from None


def _call(module: Any, name: str, handle: Callable[[Client, Any, float], Message | Spans | None]) -> _Call:
    return _Call(getattr(module, f"{name}Request"), getattr(module, f"{name}Response"), handle)


def _plain(handle: Callable[[Any], Message]) -> Callable[[Client, Any, float], Message]:
    """A handler that looks at the request only."""
    return lambda client, c2s, now_s: handle(c2s)
