"""Subscriptions of one connection: what is desired against what the gateway has confirmed.

Desired state is the configured symbols, in file order. A symbol is requested, then pending while a
Sub request is on its way, then confirmed or refused. No socket, no clock.

Rule 1: a refusal of several symbols is no refusal of each: the batch is halved until the culprit
stands alone, and the others go on.
Rule 2: no more units are held than the login's quota less our reserve and what others use. Symbols
beyond it are refused for `QUOTA`, the last of the file first, until units are free again.
Rule 3: one Sub at a time, so that a shortage is met in file order.
Rule 4: nothing is unsubscribed before its minute (docs/protocols/opend.md 4).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from codec.opend.protocol import ProtoId
from ingest.opend.requests import Request, Security, Ticket, Wanted, sub_request, unsub_request

SUBSCRIBE_SYMBOLS_MAX = 100
"""Symbols a Sub request: a refusal is then found in seven halvings."""
HELD_NS_MIN = 61_000_000_000
"""The gateway lets go of a subscription after a minute; one second for the way there."""
UNSUB_AGAIN_NS = 60_000_000_000
QUOTA = "quota"
"""Why a symbol is refused that the login has no unit for."""

_UNLIMITED = 1 << 62

Judge = Callable[[Security], str | None]
"""Why a symbol is not worth asking for; None when it is."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Units of the login, one for each symbol of anybody's.

    Attributes
    ----------
    total : that the login has
    left : not in use
    foreign : in use on other connections, for symbols that we don't want
    """

    total: int
    left: int
    foreign: int


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """`since_ns` is when the gateway said yes first, monotonic."""

    wanted: Wanted
    since_ns: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a request on its way names; `asked` is empty when it unsubscribes."""

    securities: tuple[Security, ...]
    asked: Mapping[Security, Wanted]
    is_suspect: bool


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A batch that the gateway refused, in its own words."""

    securities: tuple[Security, ...]
    text: str


class Subscriptions:
    """The subscriptions of one connection.

    Attributes
    ----------
    wanted : desired state, in file order
    refused : symbols that are not subscribed to, with the reason: the gateway's own words, ours, or `QUOTA`
    quota : as the gateway last said; None while it has not
    needs_quota : a batch was refused: nothing more is asked before `quota_is` or `quota_unknown`
    """

    def __init__(self, reserve: int = 0) -> None:
        self.wanted: dict[Security, Wanted] = {}
        self.refused: dict[Security, str] = {}
        self.quota: Quota | None = None
        self._reserve = reserve
        self._units_max = _UNLIMITED
        self._is_short = False
        self._judge: Judge = lambda security: None
        self._requested: dict[Security, Wanted] = {}
        self._suspects: deque[tuple[Security, ...]] = deque()
        self._parked: _Refusal | None = None
        self._confirmed: dict[Security, _Confirmed] = {}
        self._leaving_ns: dict[Security, int] = {}
        self._batch: _Batch | None = None
        self._serial: int | None = None
        self._news: list[tuple[Security, str]] = []

    @property
    def confirmed(self) -> set[Security]:
        """Wanted symbols that the gateway said yes to."""
        return {security for security in self._confirmed if security in self.wanted}

    @property
    def settled(self) -> bool:
        """Whether each wanted symbol is subscribed, as it is wanted, or refused."""
        return not (self._requested or self._suspects or self._parked or (self._batch and self._batch.asked))

    @property
    def needs_quota(self) -> bool:
        return self._parked is not None

    @property
    def lacks_quota(self) -> bool:
        """Whether symbols wait for units to become free."""
        return QUOTA in self.refused.values()

    def is_confirmed(self, security: Security) -> bool:
        """Whether a symbol is wanted and the gateway said yes to it."""
        return security in self._confirmed and security in self.wanted

    def want(self, wanted: Iterable[Wanted], now_ns: int) -> tuple[Security, ...]:
        """Desired state is this from now on; returns the symbols that it lacks and the last one had."""
        before, self.wanted = self.wanted, {}
        for each in wanted:
            self.wanted.setdefault(each.security, each)
        removed = tuple(security for security in before if security not in self.wanted)
        for security in removed:
            self.refused.pop(security, None)
        for security, confirmed in self._confirmed.items():
            if security in self.wanted:
                self._leaving_ns.pop(security, None)
            else:
                self._leaving_ns.setdefault(security, max(confirmed.since_ns + HELD_NS_MIN, now_ns))
        self._allot()
        return removed

    def judged_by(self, judge: Judge) -> None:
        """`judge` says what is not worth asking for; whatever was refused is tried again, quota allowing."""
        self._judge = judge
        self.refused = {security: text for security, text in self.refused.items() if text == QUOTA}
        self._allot()

    def quota_is(self, quota: Quota) -> None:
        """What the gateway says of its units, all it answered before included."""
        self.quota = quota
        parked, self._parked = self._parked, None
        if parked is not None:
            costs = sum(security not in self._confirmed for security in parked.securities)
            if costs <= quota.left:
                self._halve(parked)
            else:
                self._is_short = True
        self._units_max = max(quota.total - max(self._reserve, quota.foreign), 0)
        if self._is_short:
            # Units of a connection of ours that ended count for a minute more, and cost nothing when
            # they are asked for again: what is left tells nothing before the first shortage.
            left = max(quota.left - max(self._reserve - quota.foreign, 0), 0)
            self._units_max = min(self._units_max, len(self._confirmed) + left)
        self._allot()

    def quota_unknown(self) -> None:
        """The gateway does not say: a refusal is taken for one of a symbol."""
        parked, self._parked = self._parked, None
        if parked is not None:
            self._halve(parked)
            self._allot()

    def held_by_gateway(self, securities: Collection[Security]) -> bool:
        """What this connection is subscribed to, as the gateway says: the rest is asked for again.

        Returns whether anything was missing.
        """
        gone = [security for security in self._confirmed if security not in securities]
        for security in gone:
            del self._confirmed[security]
            self._leaving_ns.pop(security, None)
        if gone:
            self._allot()
        return bool(gone)

    def next_request(self, now_ns: int) -> Request | None:
        """What to send now; tell `sent`."""
        if self._batch is not None or self.needs_quota:
            return None
        if due := [security for security, due_ns in self._leaving_ns.items() if due_ns <= now_ns]:
            leaving = tuple(due[:SUBSCRIBE_SYMBOLS_MAX])
            self._batch = _Batch(leaving, {}, is_suspect=False)
            return Request(ProtoId.SUB, unsub_request(leaving), Ticket(leaving))
        self._batch = self._next_batch()
        if self._batch is None:
            return None
        first = next(iter(self._batch.asked.values()))
        securities = self._batch.securities
        return Request(ProtoId.SUB, sub_request(securities, first.session, first.push), Ticket(securities))

    def sent(self, serial: int) -> None:
        """The request went out under `serial`."""
        assert self._batch is not None
        self._serial = serial

    def ended(self, serial: int, now_ns: int) -> tuple[Security, ...]:
        """The gateway said yes: the symbols that are confirmed by it now, if the request was one of these."""
        batch = self._answered(serial)
        if batch is None:
            return ()
        if not batch.asked:  # unsubscribed
            for security in batch.securities:
                self._confirmed.pop(security, None)
                self._leaving_ns.pop(security, None)
        for security, wanted in batch.asked.items():
            before = self._confirmed.get(security)
            self._confirmed[security] = _Confirmed(wanted, before.since_ns if before else now_ns)
            if security not in self.wanted:
                self._leaving_ns[security] = now_ns + HELD_NS_MIN
        self._allot()
        return tuple(security for security in batch.asked if security in self.wanted)

    def failed(self, serial: int, text: str, now_ns: int, *, says_nothing: bool) -> None:
        """A request failed. One that `says_nothing` of its symbols (no answer, not logged in) is sent again."""
        batch = self._answered(serial)
        if batch is None:
            return
        if not batch.asked:
            for security in batch.securities:
                if security in self._leaving_ns:
                    self._leaving_ns[security] = now_ns + UNSUB_AGAIN_NS
        elif not says_nothing:
            refusal = _Refusal(tuple(security for security in batch.securities if security in self.wanted), text)
            if batch.is_suspect:
                self._halve(refusal)
            else:
                self._parked = refusal
        self._allot()

    def take_refused(self) -> list[tuple[Security, str]]:
        """Symbols that were refused since the last call, each with the reason."""
        news, self._news = self._news, []
        return news

    def deadline_ns(self) -> int | None:
        """When `next_request` has something again by time alone."""
        if self._batch is not None or self.needs_quota:
            return None
        return min(self._leaving_ns.values(), default=None)

    def _answered(self, serial: int) -> _Batch | None:
        if serial != self._serial:
            return None
        batch, self._batch, self._serial = self._batch, None, None
        return batch

    def _next_batch(self) -> _Batch | None:
        """The next symbols in file order that one request can name: they share session and push."""
        securities: Iterable[Security]
        is_suspect = bool(self._suspects)
        if is_suspect:
            securities = self._suspects.popleft()
        else:
            securities = tuple(itertools.islice(self._requested, SUBSCRIBE_SYMBOLS_MAX))
        wanted = [self.wanted[security] for security in securities if security in self.wanted]
        if not wanted:
            return self._next_batch() if is_suspect else None
        kind = (wanted[0].session, wanted[0].push)
        asked = {each.security: each for each in wanted if (each.session, each.push) == kind}
        if is_suspect and len(asked) < len(wanted):
            self._suspects.appendleft(tuple(each.security for each in wanted if each.security not in asked))
        for security in asked:
            self._requested.pop(security, None)
        return _Batch(tuple(asked), asked, is_suspect)

    def _halve(self, refusal: _Refusal) -> None:
        """Rule 1."""
        if len(refusal.securities) == 1:
            self._refuse(refusal.securities[0], refusal.text)
        elif refusal.securities:
            middle = len(refusal.securities) // 2
            self._suspects.extendleft((refusal.securities[middle:], refusal.securities[:middle]))

    def _refuse(self, security: Security, text: str) -> None:
        if self.refused.get(security) != text:
            self.refused[security] = text
            self._news.append((security, text))

    def _allot(self) -> None:
        """Request what is wanted and neither confirmed, on its way nor refused, as far as units reach (rule 2)."""
        parked = self._parked.securities if self._parked else ()
        busy = set(itertools.chain(self._batch.asked if self._batch else (), parked, *self._suspects))
        units_left = self._units_max - len(busy | self._confirmed.keys())
        self._requested = {}
        for security, wanted in self.wanted.items():
            if security in busy:
                continue
            if (confirmed := self._confirmed.get(security)) is not None:
                if confirmed.wanted != wanted:
                    self._requested[security] = wanted
            elif self.refused.get(security, QUOTA) != QUOTA:
                continue
            elif (why := self._judge(security)) is not None:
                self._refuse(security, why)
            elif units_left > 0:
                units_left -= 1
                self._requested[security] = wanted
                self.refused.pop(security, None)
            else:
                self._refuse(security, QUOTA)
