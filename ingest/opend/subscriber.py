"""Which requests one connection still needs, so that every symbol is subscribed and filled.

Desired state is the configured symbols; confirmed state is what the gateway said yes to, on this
connection. Each confirmed symbol is then pulled once: GetTicker closes the hole before the first
push (docs/protocols/opend.md 4). No socket, no clock.

Rule 1: a refusal of several symbols is no refusal of each: the batch is halved until the culprit
stands alone, and the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.message import Message

from codec.markets import US
from codec.opend.protocol import ProtoId, SessionChoice, SubType
from protos.opend import common_pb2, subscription_pb2, ticker_pb2

SUBSCRIBE_SYMBOLS_MAX = 100
"""Symbols a Sub request: a refusal is then found in seven halvings."""
SUBSCRIBES_IN_FLIGHT_MAX = 2
PULLS_IN_FLIGHT_MAX = 4
PULL_TICKS = 1000
"""OpenD gives no more (docs/protocols/opend.md 3.6)."""
PULL_ATTEMPTS_MAX = 3

Security = tuple[int, str]
"""(market number, code on the wire)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send; `ticket` is given back with its serial."""

    proto_id: ProtoId
    message: Message
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request is for."""

    securities: tuple[Security, ...]
    attempt: int = 1


@dataclass(slots=True)
class Subscriber:
    """The subscriptions of one connection.

    Attributes
    ----------
    confirmed : symbols whose ticks the gateway pushes
    refused : symbols that the gateway will not subscribe, with its own words
    filled : symbols whose first pull was answered
    """

    confirmed: set[Security] = field(default_factory=set)
    refused: dict[Security, str] = field(default_factory=dict)
    filled: set[Security] = field(default_factory=set)
    _to_subscribe: deque[Ticket] = field(default_factory=deque)
    _to_pull: dict[Security, Ticket] = field(default_factory=dict)
    _in_flight: dict[int, tuple[ProtoId, Ticket]] = field(default_factory=dict)
    _us_session: SessionChoice = SessionChoice.ALL

    @classmethod
    def wanting(cls, securities: Iterable[Security], us_session: SessionChoice) -> Subscriber:
        """All of `securities` are yet to be subscribed, US ones for `us_session`."""
        subscriber = cls(_us_session=us_session)
        wanted = list(dict.fromkeys(securities))
        for group in ([s for s in wanted if s[0] == US], [s for s in wanted if s[0] != US]):
            for begin in range(0, len(group), SUBSCRIBE_SYMBOLS_MAX):
                subscriber._to_subscribe.append(Ticket(tuple(group[begin : begin + SUBSCRIBE_SYMBOLS_MAX])))
        return subscriber

    def pull(self, security: Security) -> None:
        """Ask for the last ticks of a symbol again, unless that is about to be done."""
        if security in self.confirmed:
            self.filled.discard(security)
            self._to_pull.setdefault(security, Ticket((security,)))

    def next_requests(self) -> list[Request]:
        """What to send now; tell `sent` of each. Empty until something is answered, or for good."""
        requests = []
        in_flight = [proto_id for proto_id, _ in self._in_flight.values()]
        for _ in range(SUBSCRIBES_IN_FLIGHT_MAX - in_flight.count(ProtoId.SUB)):
            if self._to_subscribe:
                ticket = self._to_subscribe.popleft()
                requests.append(Request(ProtoId.SUB, self._sub_request(ticket), ticket))
        for _ in range(PULLS_IN_FLIGHT_MAX - in_flight.count(ProtoId.GET_TICKER)):
            if self._to_pull:
                ticket = self._to_pull.pop(next(iter(self._to_pull)))
                requests.append(Request(ProtoId.GET_TICKER, _pull_request(ticket), ticket))
        return requests

    def sent(self, serial: int, request: Request) -> None:
        """`request` went out under `serial`."""
        self._in_flight[serial] = (request.proto_id, request.ticket)

    def subscribed(self, serial: int) -> tuple[Security, ...]:
        """The gateway said yes to a Sub: the symbols that are confirmed now."""
        if serial not in self._in_flight:
            return ()
        _, ticket = self._in_flight.pop(serial)
        self.confirmed.update(ticket.securities)
        for security in ticket.securities:
            self._to_pull.setdefault(security, Ticket((security,)))
        return ticket.securities

    def pulled(self, serial: int) -> Security | None:
        """GetTicker was answered: whose ticks they are, if it was our request."""
        if serial not in self._in_flight:
            return None
        _, ticket = self._in_flight.pop(serial)
        self.filled.add(ticket.securities[0])
        return ticket.securities[0]

    def failed(self, serial: int, text: str, *, timed_out: bool) -> tuple[Security, ...]:
        """A request failed; returns the symbols that are given up for it, with nothing more to try."""
        if serial not in self._in_flight:
            return ()
        proto_id, ticket = self._in_flight.pop(serial)
        if proto_id is ProtoId.SUB:
            if timed_out:
                self._to_subscribe.append(ticket)
                return ()
            if len(ticket.securities) > 1:
                middle = len(ticket.securities) // 2
                self._to_subscribe.extend((Ticket(ticket.securities[:middle]), Ticket(ticket.securities[middle:])))
                return ()
            self.refused[ticket.securities[0]] = text
            return ticket.securities
        if ticket.attempt < PULL_ATTEMPTS_MAX:
            self._to_pull.setdefault(ticket.securities[0], Ticket(ticket.securities, ticket.attempt + 1))
            return ()
        return ticket.securities

    def _sub_request(self, ticket: Ticket) -> subscription_pb2.SubRequest:
        c2s = subscription_pb2.SubC2S(
            securityList=[_security(security) for security in ticket.securities],
            subTypeList=[SubType.TICKER],
            isSubOrUnSub=True,
            isRegOrUnRegPush=True,
            isFirstPush=True,
        )
        if ticket.securities[0][0] == US:
            c2s.session = self._us_session
            c2s.extendedTime = self._us_session is not SessionChoice.RTH
        return subscription_pb2.SubRequest(c2s=c2s)


def _security(security: Security) -> common_pb2.Security:
    return common_pb2.Security(market=security[0], code=security[1])


def _pull_request(ticket: Ticket) -> ticker_pb2.GetTickerRequest:
    security = _security(ticket.securities[0])
    return ticker_pb2.GetTickerRequest(c2s=ticker_pb2.GetTickerC2S(security=security, maxRetNum=PULL_TICKS))
