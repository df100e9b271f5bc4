"""Subscriptions of one LongPort connection: what is desired against what the gateway has confirmed.

Desired state is the configured symbols, in file order. No socket, no clock.

Rule 1: a refusal of several symbols is no refusal of each: the batch is halved until the culprit
stands alone, and the others go on.
Rule 2: no more symbols are asked for than the account may hold. Those beyond are refused for `QUOTA`,
the last of the file first, until there is room.
Rule 3: one request at a time, so that a shortage is met in file order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from codec.longport.wire_symbols import wire_symbol
from codec.markets import Security
from ingest.longport.errors import TOO_MANY_SUBSCRIPTIONS, Reaction, in_words, reaction_to
from ingest.longport.events import Failed
from ingest.longport.requests import Request, subscribe_request, unsubscribe_request

SYMBOLS_MAX = 500
"""Of an account, and of one request (docs/protocols/longport.md 5)."""
QUOTA = "quota"
"""Why a symbol is refused that the account has no room for."""
UNKNOWN_MARKET = "LongPort has no such market"

RETRY_FIRST_NS, RETRY_NS_MAX = 1_000_000_000, 60_000_000_000


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a request on its way, or to be sent again, names."""

    securities: tuple[Security, ...]
    subscribes: bool


class Subscriptions:
    """The subscriptions of one connection.

    Attributes
    ----------
    wanted : desired state, in file order
    refused : symbols that are not subscribed to, with the reason: the gateway's words, ours, or `QUOTA`
    confirmed : symbols that the gateway said yes to; those not wanted any more are on their way out
    """

    def __init__(self) -> None:
        self.wanted: dict[Security, None] = {}
        self.refused: dict[Security, str] = {}
        self.confirmed: set[Security] = set()
        self._symbols_max = SYMBOLS_MAX
        self._requested: dict[Security, None] = {}
        self._leaving: tuple[Security, ...] = ()
        self._suspects: deque[tuple[Security, ...]] = deque()
        self._batch: _Batch | None = None
        self._request_id: int | None = None
        self._retry_ns: int | None = None
        self._failures = 0
        self._news: list[tuple[Security, str]] = []

    @property
    def settled(self) -> bool:
        """Whether each wanted symbol is subscribed or refused."""
        return not (self._requested or self._suspects or (self._batch and self._batch.subscribes))

    def is_confirmed(self, security: Security) -> bool:
        """Whether a symbol is wanted and the gateway said yes to it."""
        return security in self.confirmed and security in self.wanted

    def want(self, wanted: Iterable[Security]) -> tuple[Security, ...]:
        """Desired state is this from now on; returns the symbols that it lacks and the last one had."""
        before, self.wanted = self.wanted, dict.fromkeys(wanted)
        removed = tuple(security for security in before if security not in self.wanted)
        for security in removed:
            self.refused.pop(security, None)
        self._allot()
        return removed

    def limit_is(self, symbols_max: int) -> None:
        """So many symbols may be subscribed to, as the account's profile says."""
        self._symbols_max = min(symbols_max, SYMBOLS_MAX)
        self._suspects.clear()  # there may be more of them than there is room for
        self._allot()

    @property
    def symbols_max(self) -> int:
        """How many may be subscribed to, as far as is known."""
        return self._symbols_max

    @property
    def subscribed(self) -> set[Security]:
        """Wanted symbols that the gateway said yes to."""
        return {security for security in self.confirmed if security in self.wanted}

    def next_request(self, now_ns: int) -> Request | None:
        """What to send now; tell `sent`."""
        if self._request_id is not None or (self._retry_ns is not None and now_ns < self._retry_ns):
            return None
        if self._batch is None:
            self._batch = self._next_batch()
        if self._batch is None:
            return None
        build = subscribe_request if self._batch.subscribes else unsubscribe_request
        return build(self._batch.securities)

    def sent(self, request_id: int) -> None:
        """The request went out under this id."""
        self._request_id = request_id
        self._retry_ns = None

    def ended(self, request_id: int) -> tuple[Security, ...]:
        """The gateway said yes: the wanted symbols that are confirmed by it now, if the request was one of these."""
        batch = self._answered(request_id)
        if batch is None:
            return ()
        self._failures = 0
        if batch.subscribes:
            self.confirmed.update(batch.securities)
        else:
            self.confirmed.difference_update(batch.securities)
        self._allot()
        return tuple(security for security in batch.securities if batch.subscribes and security in self.wanted)

    def failed(self, failed: Failed, now_ns: int) -> None:
        """A request failed: what the error asks for."""
        batch = self._answered(failed.request_id)
        if batch is None:
            return
        if reaction_to(failed.status_code, failed.code) is not Reaction.REFUSED:
            self._batch = batch
            delay_ns = min(RETRY_FIRST_NS << min(self._failures, 10), RETRY_NS_MAX)
            self._failures += 1
            self._retry_ns = now_ns + delay_ns
            return
        if not batch.subscribes:
            self.confirmed.difference_update(batch.securities)  # what it does not hold, it does not push
        elif len(batch.securities) > 1:
            middle = len(batch.securities) // 2
            self._suspects.extendleft((batch.securities[middle:], batch.securities[:middle]))
        elif failed.code == TOO_MANY_SUBSCRIPTIONS:
            self._symbols_max = len(self.confirmed)
            self._suspects.clear()
        else:
            self._refuse(batch.securities[0], in_words(failed.code, failed.text))
        self._allot()

    def take_refused(self) -> list[tuple[Security, str]]:
        """Symbols that were refused since the last call, each with the reason."""
        news, self._news = self._news, []
        return news

    def next_ns(self) -> int | None:
        """When `next_request` has something, in the past when at once; None while only an answer can change that."""
        if self._request_id is not None:
            return None
        waits = self._batch or self._suspects or self._requested or self._leaving
        return (self._retry_ns or 0) if waits else None

    def _answered(self, request_id: int) -> _Batch | None:
        if request_id != self._request_id:
            return None
        batch, self._batch, self._request_id = self._batch, None, None
        return batch

    def _next_batch(self) -> _Batch | None:
        """What is not wanted any more, then suspects, then the next symbols in file order."""
        if self._leaving:
            return _Batch(self._leaving[:SYMBOLS_MAX], subscribes=False)
        while self._suspects:
            suspects = tuple(each for each in self._suspects.popleft() if each in self.wanted)
            if suspects:
                return _Batch(suspects, subscribes=True)
        securities = tuple(itertools.islice(self._requested, SYMBOLS_MAX))
        self._requested = {}
        return _Batch(securities, subscribes=True) if securities else None

    def _refuse(self, security: Security, text: str) -> None:
        if self.refused.get(security) != text:
            self.refused[security] = text
            self._news.append((security, text))

    def _allot(self) -> None:
        """Request what is wanted and neither confirmed, on its way nor refused, as far as there is room (rule 2)."""
        self._leaving = tuple(security for security in self.confirmed if security not in self.wanted)
        on_its_way = self._batch.securities if self._batch and self._batch.subscribes else ()
        busy = set(itertools.chain(on_its_way, *self._suspects))
        room = self._symbols_max - len(busy | self.confirmed)
        self._requested = {}
        for security in self.wanted:
            if security in busy or security in self.confirmed or self.refused.get(security, QUOTA) != QUOTA:
                continue
            if wire_symbol(*security) is None:
                self._refuse(security, UNKNOWN_MARKET)
            elif room > 0:
                room -= 1
                self._requested[security] = None
                self.refused.pop(security, None)
            else:
                self._refuse(security, QUOTA)
