"""Which requests one connection still needs, so that every symbol is subscribed and filled.

Subscribing is `subscriptions`' business. Each confirmed symbol is then pulled once: GetTicker closes
the hole before the first push (docs/protocols/opend.md 4). No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from codec.opend.protocol import ProtoId
from ingest.opend.requests import Request, Security, Ticket, Wanted, pull_request
from ingest.opend.subscriptions import Subscriptions
from ingest.pull_queue import PullQueue

PULLS_IN_FLIGHT_MAX = 4
PULL_ATTEMPTS_MAX = 3


@dataclass(slots=True)
class Subscriber:
    """The subscriptions and pulls of one connection.

    Attributes
    ----------
    filled : symbols whose first pull was answered
    held : nothing is asked while the gateway cannot serve it; what fails meanwhile is asked again later
    activity : how busy a symbol was of late: the busiest is pulled first, for its hole grows fastest
    """

    subscriptions: Subscriptions
    filled: set[Security] = field(default_factory=set)
    held: bool = False
    activity: Callable[[Security], float] = lambda _: 0.0
    _to_pull: PullQueue = field(init=False)
    _in_flight: dict[int, Ticket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._to_pull = PullQueue(self.activity)

    @property
    def confirmed(self) -> set[Security]:
        """Symbols whose ticks the gateway sends us."""
        return self.subscriptions.confirmed

    @property
    def refused(self) -> dict[Security, str]:
        """Symbols that are not subscribed to, with the reason."""
        return self.subscriptions.refused

    def pull(self, security: Security) -> None:
        """Ask for the last ticks of a symbol again, unless that is about to be done."""
        if self.subscriptions.is_confirmed(security):
            self.filled.discard(security)
            self._to_pull.add(security)

    def poll(self, security: Security) -> None:
        """Ask for the last ticks of a symbol that is not pushed, unless that is about to be done."""
        if self.subscriptions.is_confirmed(security):
            self._to_pull.add(security)

    def want(self, wanted: Iterable[Wanted], now_ns: int) -> tuple[Security, ...]:
        """Desired state is this from now on; returns the symbols that it lacks and the last one had."""
        removed = self.subscriptions.want(wanted, now_ns)
        for security in removed:
            self.filled.discard(security)
            self._to_pull.discard(security)
        return removed

    def next_requests(self, now_ns: int) -> list[Request]:
        """What to send now; tell `sent` of each. Empty until something is answered, or until `deadline_ns`."""
        if self.held:
            return []
        requests = []
        if (subscribe := self.subscriptions.next_request(now_ns)) is not None:
            requests.append(subscribe)
        for _ in range(PULLS_IN_FLIGHT_MAX - len(self._in_flight)):
            if (pull := self._to_pull.pop()) is not None:
                ticket = Ticket((pull.security,), pull.attempt)
                requests.append(Request(ProtoId.GET_TICKER, pull_request(ticket.securities[0]), ticket))
        return requests

    def sent(self, serial: int, request: Request) -> None:
        """`request` went out under `serial`."""
        if request.proto_id is ProtoId.SUB:
            self.subscriptions.sent(serial)
        else:
            self._in_flight[serial] = request.ticket

    def subscribed(self, serial: int, now_ns: int) -> tuple[Security, ...]:
        """The gateway said yes to a Sub: the symbols that are confirmed now."""
        securities = self.subscriptions.ended(serial, now_ns)
        for security in securities:
            self._to_pull.add(security)
        return securities

    def pulled(self, serial: int) -> Security | None:
        """GetTicker was answered: whose ticks they are, if it was our request."""
        if serial not in self._in_flight:
            return None
        [security] = self._in_flight.pop(serial).securities
        self.filled.add(security)
        return security

    def failed(self, serial: int, text: str, now_ns: int, *, timed_out: bool) -> Security | None:
        """A request failed; returns the symbol whose pull is given up for it, with nothing more to try."""
        if serial not in self._in_flight:
            self.subscriptions.failed(serial, text, now_ns, says_nothing=timed_out or self.held)
            return None
        ticket = self._in_flight.pop(serial)
        [security] = ticket.securities
        if security not in self.subscriptions.wanted:
            return security
        if self.held or ticket.attempt < PULL_ATTEMPTS_MAX:
            self._to_pull.add(security, ticket.attempt if self.held else ticket.attempt + 1)
            return None
        return security

    def deadline_ns(self) -> int | None:
        """When `next_requests` has something again by time alone."""
        return None if self.held else self.subscriptions.deadline_ns()
