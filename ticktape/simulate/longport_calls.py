"""What the simulated LongPort answers to each command (docs/protocols/longport.md 3 and 4).

Sans-IO: a call is the body of a request and the time, an answer is a packet and how long it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from codec.longport.protocol import Command, pack_response
from protos.longport import (
    capital_flow_pb2,
    control_pb2,
    quote_profile_pb2,
    subscription_pb2,
    trade_days_pb2,
    trade_pb2,
)
from protos.longport.subscription_pb2 import SubType
from ticktape.simulate.faults import Faults
from ticktape.simulate.flows import INTRADAY, Flows
from ticktape.simulate.frequency import Window
from ticktape.simulate.longport_account import SYMBOLS_MAX, Account, CallRefused, Code, Status
from ticktape.simulate.longport_book import Book
from ticktape.simulate.longport_faults import RATE_LIMITED, SERVER_ERROR, SLOW_REPLY
from ticktape.simulate.longport_trades import TradeEncoder, wire_symbol
from ticktape.simulate.market import EVERY_SESSION, Market
from ticktape.simulate.served import ServedRows

PULL_TRADES_MAX = 1000
MEMBER_ID = 10_000_001
_MARKETS = ("HK", "US", "SG", "CN")
_TRADE_DAYS_MAX = 366
_PULLS = frozenset({Command.QUERY_TRADE, Command.QUERY_CAPITAL_FLOW_INTRADAY, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION})
_SUB_TYPES = frozenset(SubType.values()) - {SubType.UNKNOWN_TYPE}


@dataclass(slots=True)
class Client:
    """One connection: its number here, and the session it stands on once it has logged in."""

    connection: int
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply as a packet, and how many seconds it takes; until then the call is in flight."""

    packet: bytes
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Call:
    request: type[Any]
    handle: Callable[[Client, Any, float], Message | bytes]


class Calls:
    """Answers calls, and counts what was asked.

    Attributes
    ----------
    account, book : who may ask, and who is pushed what
    served : the polled rows that were served
    requests : calls received, by name; unknown ones as `unknown:<command>`
    """

    def __init__(
        self,
        market: Market,
        encoder: TradeEncoder,
        account: Account,
        faults: Faults,
        seed: int,
        *,
        kick_older: Callable[[int], None],
    ) -> None:
        self._market, self._encoder, self.account = market, encoder, account
        self._faults, self._flows, self._kick_older = faults, Flows(seed), kick_older
        self.book = Book(len(market.listings))
        self.served = ServedRows()
        self.requests: Counter[str] = Counter()
        self._index = {wire_symbol(listing): number for number, listing in enumerate(market.listings)}
        self._measured: dict[str, Window] = {}
        self._connections = 0
        self._calls: dict[int, _Call] = {
            Command.AUTH: _Call(control_pb2.AuthRequest, self._auth),
            Command.RECONNECT: _Call(control_pb2.ReconnectRequest, self._reconnect),
            Command.QUERY_USER_QUOTE_PROFILE: _Call(quote_profile_pb2.UserQuoteProfileRequest, self._profile),
            Command.SUBSCRIPTION: _Call(subscription_pb2.SubscriptionResponse, self._subscription),
            Command.SUBSCRIBE: _Call(subscription_pb2.SubscribeRequest, self._subscribe),
            Command.UNSUBSCRIBE: _Call(subscription_pb2.UnsubscribeRequest, self._unsubscribe),
            Command.QUERY_MARKET_TRADE_DAY: _Call(trade_days_pb2.MarketTradeDayRequest, self._trade_days),
            Command.QUERY_TRADE: _Call(trade_pb2.SecurityTradeRequest, self._trades),
            Command.QUERY_CAPITAL_FLOW_INTRADAY: _Call(capital_flow_pb2.CapitalFlowIntradayRequest, self._flow),
            Command.QUERY_CAPITAL_FLOW_DISTRIBUTION: _Call(capital_flow_pb2.SecurityRequest, self._distribution),
        }

    def connect(self) -> Client:
        """A new connection, not yet logged in."""
        self._connections += 1
        return Client(self._connections)

    def disconnect(self, client: Client) -> None:
        """It is gone."""
        self.book.close(client.connection)
        if client.session is not None:
            self.account.log_out(client.session)

    def answer(self, client: Client, command: int, request_id: int, body: bytes, now_s: float) -> Answer:
        """The answer to one request; `now_s` is unix time."""
        if command == Command.HEARTBEAT:
            return Answer(pack_response(command, request_id, body))
        call = self._calls.get(command)
        name = Command(command).name.lower() if call is not None else f"unknown:{command}"
        self.requests[name] += 1
        self._measured.setdefault(name, Window(1.0)).add(now_s)
        try:
            if command not in (Command.AUTH, Command.RECONNECT):
                self._admit(client, command, now_s)
            if call is None:
                raise CallRefused(Status.BAD_REQUEST, Code.BAD_REQUEST, f"unknown command {command}")
            try:
                request = call.request.FromString(body)
            except DecodeError:
                raise CallRefused(Status.BAD_REQUEST, Code.BAD_REQUEST, "the body is not the message") from None
            reply = call.handle(client, request, now_s)
        except CallRefused as refusal:
            error = control_pb2.Error(code=refusal.code, msg=str(refusal))
            return Answer(pack_response(command, request_id, error.SerializeToString(), refusal.status))
        text = reply if isinstance(reply, bytes) else reply.SerializeToString()
        delay_s = self._faults.strength.get(SLOW_REPLY, 0.0) if command in _PULLS else 0.0
        return Answer(pack_response(command, request_id, text), delay_s)

    def frequency(self) -> dict[str, dict[str, int]]:
        """The most requests of each call in any second."""
        return {name: {"most_in_1_s": window.most} for name, window in self._measured.items()}

    def _admit(self, client: Client, command: int, now_s: float) -> None:
        if client.session is None:
            raise CallRefused(Status.UNAUTHENTICATED, Code.UNAUTHENTICATED, "log in first")
        self.account.allow(command, now_s)
        for fault, code in ((RATE_LIMITED, Code.RATE_LIMIT), (SERVER_ERROR, Code.SERVER_ERROR)):
            if self._faults.random(fault).random() < self._faults.strength.get(fault, 0.0):
                self._faults.struck[fault] += 1
                status = Status.BAD_REQUEST if code == Code.RATE_LIMIT else Status.SERVER_ERROR
                raise CallRefused(status, code, "on purpose")

    def _auth(self, client: Client, request: control_pb2.AuthRequest, now_s: float) -> Message:
        return control_pb2.AuthResponse(**self._logged_in(client, self.account.log_in(request.token, now_s)))

    def _reconnect(self, client: Client, request: control_pb2.ReconnectRequest, now_s: float) -> Message:
        resumed = self.account.resume(request.session_id, now_s)
        return control_pb2.ReconnectResponse(**self._logged_in(client, resumed))

    def _logged_in(self, client: Client, session: tuple[str, int]) -> dict[str, Any]:
        if client.session is not None:
            self.account.log_out(client.session)
        client.session, expires_ms = session
        self.book.open(client.connection)
        self._kick_older(client.connection)
        online, limit = len(self.account.online), self.account.connections_max
        return {"session_id": client.session, "expires": expires_ms, "limit": limit, "online": online}

    def _profile(self, client: Client, request: Message, now_s: float) -> Message:
        profile = quote_profile_pb2.UserQuoteProfileResponse(
            member_id=MEMBER_ID, quote_level="HK/US simulated", subscribe_limit=SYMBOLS_MAX
        )
        for limit in self.account.rate_limits:
            profile.rate_limit.add(command=limit.command, limit=limit.limit, burst=limit.burst)
        return profile

    def _subscription(self, client: Client, request: Message, now_s: float) -> Message:
        reply = subscription_pb2.SubscriptionResponse()
        for symbol, types in self.book.types_of(client.connection).items():
            reply.sub_list.add(symbol=wire_symbol(self._market.listings[symbol]), sub_type=sorted(types))
        return reply

    def _subscribe(self, client: Client, request: subscription_pb2.SubscribeRequest, now_s: float) -> Message:
        symbols = self._symbols(request.symbol)
        self._check_types(request.sub_type)
        if self.book.total_with(symbols) > SYMBOLS_MAX:
            raise CallRefused(
                Status.SERVER_ERROR, Code.TOO_MANY_SUBSCRIPTIONS, f"over {SYMBOLS_MAX} symbols are subscribed"
            )
        self.book.subscribe(client.connection, symbols, request.sub_type)
        if SubType.TRADE in request.sub_type:
            self._market.fill_cache(np.array(symbols, np.int64), EVERY_SESSION)
        return self._subscription(client, request, now_s)

    def _unsubscribe(self, client: Client, request: subscription_pb2.UnsubscribeRequest, now_s: float) -> Message:
        symbols = None if request.unsub_all and not request.symbol else self._symbols(request.symbol)
        if not request.unsub_all:
            self._check_types(request.sub_type)
        self.book.unsubscribe(client.connection, symbols, None if request.unsub_all else request.sub_type)
        return subscription_pb2.SubscriptionResponse()  # as empty as UnsubscribeResponse

    def _trade_days(self, client: Client, request: trade_days_pb2.MarketTradeDayRequest, now_s: float) -> Message:
        """Every day, as the simulated market has it."""
        try:
            first, last = (
                datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
                for text in (request.beg_day, request.end_day)
            )
        except ValueError:
            raise CallRefused(Status.SERVER_ERROR, Code.BAD_REQUEST, "days are YYYYMMDD") from None
        if request.market not in _MARKETS or not 0 <= (last - first).days <= _TRADE_DAYS_MAX:
            raise CallRefused(Status.SERVER_ERROR, Code.BAD_REQUEST, "unknown market, or too many days")
        days = [(first + timedelta(days=day)).strftime("%Y%m%d") for day in range((last - first).days + 1)]
        return trade_days_pb2.MarketTradeDayResponse(trade_day=days)

    def _trades(self, client: Client, request: trade_pb2.SecurityTradeRequest, now_s: float) -> bytes:
        [symbol] = self._symbols([request.symbol])
        if request.count > PULL_TRADES_MAX:
            raise CallRefused(Status.SERVER_ERROR, Code.TOO_MANY_ITEMS, f"over {PULL_TRADES_MAX} trades")
        if request.count <= 0:
            raise CallRefused(Status.BAD_REQUEST, Code.BAD_REQUEST, "count must be positive")
        chosen = np.array([symbol], np.int64)
        self._market.fill_cache(chosen, EVERY_SESSION)
        return self._encoder.pulled(self._market.cached(chosen, request.count), symbol)

    def _flow(self, client: Client, request: capital_flow_pb2.CapitalFlowIntradayRequest, now_s: float) -> Message:
        """Cumulative since the open, a line a minute, the running one still growing."""
        [symbol] = self._symbols([request.symbol])
        listing = self._market.listings[symbol]
        reply = capital_flow_pb2.CapitalFlowIntradayResponse(symbol=request.symbol)
        for line in self._flows.intraday(listing, self._market.now_us):
            reply.capital_flow_lines.add(inflow=f"{line.net:.3f}", timestamp=int(Flows.timestamp(listing, line.at)))
            self.served.add("capital_flow", listing.symbol, (INTRADAY, line.at), (line.net,))
        return reply

    def _distribution(self, client: Client, request: capital_flow_pb2.SecurityRequest, now_s: float) -> Message:
        [symbol] = self._symbols([request.symbol])
        listing = self._market.listings[symbol]
        money = self._flows.distribution(listing, self._market.now_us)
        texts = []
        for very_large, large, medium, small in (money.inflow, money.outflow):
            texts.append({"large": f"{very_large + large:.3f}", "medium": f"{medium:.3f}", "small": f"{small:.3f}"})
        self.served.add("capital_distribution", listing.symbol, (money.at,), tuple(map(str, texts)))
        return capital_flow_pb2.CapitalDistributionResponse(
            symbol=request.symbol,
            timestamp=int(Flows.timestamp(listing, money.at)),
            capital_in=capital_flow_pb2.CapitalDistributionResponse.CapitalDistribution(**texts[0]),
            capital_out=capital_flow_pb2.CapitalDistributionResponse.CapitalDistribution(**texts[1]),
        )

    def _symbols(self, names: Iterable[str]) -> list[int]:
        """Their indices, each once. Raises CallRefused."""
        found = []
        for name in dict.fromkeys(names):
            if name not in self._index:
                raise CallRefused(Status.SERVER_ERROR, Code.BAD_REQUEST, f"unknown symbol {name}")
            found.append(self._index[name])
        if not found:
            raise CallRefused(Status.SERVER_ERROR, Code.BAD_REQUEST, "no symbol")
        return found

    @staticmethod
    def _check_types(types: Iterable[int]) -> None:
        wanted = set(types)
        if not wanted or not wanted <= _SUB_TYPES:
            raise CallRefused(Status.SERVER_ERROR, Code.BAD_REQUEST, f"bad sub_type {sorted(wanted)}")
