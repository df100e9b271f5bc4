"""The pulls of one LongPort connection: which symbols are asked for their last trades, and when answers are taken.

A pulled trade has no number; it is told from the pushed ones by its content. So an answer waits for
`HOLD_NS` before it is decoded: what was on its way as a push then has come. No socket, no clock.

Rule 1: a pull is asked `WAIT_NS` after what it is to mend. Trades have whole seconds, and one of them must not hold
both what was missed and the end of the answer: an equal trade, pushed later in that second, would be
taken for the one that was pulled (codec/longport/trade_window.py).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codec.markets import Security
from ingest.longport.errors import Reaction, reaction_to
from ingest.longport.events import Failed, Pulled
from ingest.pull_queue import Pull, PullQueue

WAIT_NS = 1_200_000_000
"""A second of the exchange's, and what its trades take to us."""
HOLD_NS = 2_000_000_000
"""Trades younger than this when they were pulled may still be pushed."""
IN_FLIGHT_MAX = 4
"""Of the account's five calls one is left to subscriptions and polls."""
ATTEMPTS_MAX = 4
RETRY_FIRST_NS = 1_000_000_000
"""Before the second attempt, and doubled before each further one."""


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that waits."""

    pull: Pull
    answer: Pulled
    opened: int
    """How often trades of the symbol may have been missed when it came."""
    due_ns: int


class Backfill:
    """The pulls of one connection.

    Parameters
    ----------
    activity : how busy a symbol was of late
    opened : how often trades of it may have been missed

    Attributes
    ----------
    filled : symbols whose first pull was answered and taken
    refused : symbols whose trades the gateway refuses to tell, with the reason: they are not asked for again
    """

    def __init__(self, activity: Callable[[Security], float], opened: Callable[[Security], int]) -> None:
        self.filled: set[Security] = set()
        self.refused: dict[Security, str] = {}
        self._queue = PullQueue(activity)
        self._opened = opened
        self._later: list[tuple[int, Security, int]] = []
        self._due_ns: dict[Security, int] = {}
        """When a first attempt may be made, which is put off while trades are missed again."""
        self._in_flight: dict[int, Pull] = {}
        self._held: deque[Held] = deque()

    def pull(self, security: Security, now_ns: int) -> None:
        """Trades of a symbol may have been missed until now: ask for the last ones (rule 1)."""
        self.filled.discard(security)
        if security not in self._due_ns:
            heapq.heappush(self._later, (now_ns + WAIT_NS, security, 1))
        self._due_ns[security] = now_ns + WAIT_NS

    def poll(self, security: Security) -> None:
        """Ask for the last trades of a symbol that is not pushed, unless that is about to be done."""
        if security not in self.refused:
            self._queue.add(security)

    def discard(self, security: Security) -> None:
        """A symbol is not wanted any more."""
        self.filled.discard(security)
        self._queue.discard(security)
        self._due_ns.pop(security, None)
        self._later = [each for each in self._later if each[1] != security]
        heapq.heapify(self._later)

    def next_pull(self, now_ns: int) -> Pull | None:
        """What to ask now, if anything; tell `sent`. None until something is answered, or until `deadline_ns`."""
        self.ripen(now_ns)
        return self._queue.pop() if len(self._in_flight) < IN_FLIGHT_MAX else None

    def ripen(self, now_ns: int) -> None:
        """What is due by now `waits`, whether it may be asked or not."""
        while self._later and self._later[0][0] <= now_ns:
            _, security, attempt = heapq.heappop(self._later)
            if attempt == 1 and (due_ns := self._due_ns.pop(security)) > now_ns:
                self._due_ns[security] = due_ns
                heapq.heappush(self._later, (due_ns, security, attempt))
            else:
                self._queue.add(security, attempt)

    def sent(self, request_id: int, pull: Pull) -> None:
        """It went out under this id."""
        self._in_flight[request_id] = pull

    def answered(self, answer: Pulled, now_ns: int) -> None:
        """A pull was answered: `due` gives it when its time has come."""
        if (pull := self._in_flight.pop(answer.request_id, None)) is not None:
            self._held.append(Held(pull, answer, self._opened(pull.security), now_ns + HOLD_NS))

    def due(self, now_ns: int | None) -> Iterator[Held]:
        """The answers to take now, oldest first; with None all, since no push comes any more."""
        while self._held and (now_ns is None or self._held[0].due_ns <= now_ns):
            yield self._held.popleft()

    def put_back(self, held: Held) -> None:
        """There is no room for it yet."""
        self._held.appendleft(held)

    def failed(self, failed: Failed, why: str, now_ns: int) -> Security | None:
        """A request failed, for the reason `why`; returns the symbol whose pull is given up for it."""
        if (pull := self._in_flight.pop(failed.request_id, None)) is None:
            return None
        if reaction_to(failed.status_code, failed.code) is Reaction.REFUSED:
            self.refused[pull.security] = why
            return pull.security
        return self.failed_pull(pull, now_ns)

    def failed_pull(self, pull: Pull, now_ns: int) -> Security | None:
        """An attempt came to nothing: there is another one, or its symbol is given up and returned."""
        if pull.attempt >= ATTEMPTS_MAX:
            return pull.security
        due_ns = now_ns + (RETRY_FIRST_NS << (pull.attempt - 1))
        heapq.heappush(self._later, (due_ns, pull.security, pull.attempt + 1))
        return None

    def deadline_ns(self) -> int | None:
        """When `due` or `next_pull` has something by time alone."""
        dues_ns = [each[0] for each in self._later[:1]]
        if self._held:
            dues_ns.append(self._held[0].due_ns)
        return min(dues_ns, default=None)

    @property
    def waits(self) -> bool:
        """Whether there is something to ask as soon as the account's limits allow it."""
        return bool(self._queue) and len(self._in_flight) < IN_FLIGHT_MAX
