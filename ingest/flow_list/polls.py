"""What a flow list is asked next, and what follows from its answers. No socket, no clock.

`ingest.poll_schedule` says which batch is due. One request is on its way at a time: nothing is known of
how many a server takes.

Rule 1: a failure of one batch holds up that batch alone, a failure to answer at all everything; both with
back-off. An answer that cannot be read is asked again at the batch's next poll.
Rule 2: a list that holds a wrong code is halved until the code stands alone; the others are asked on.
Rule 3: what can never succeed stops everything until the configuration is read again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from codec.flow_list import Reaction
from ingest.flow_list.outcomes import HttpRefused, Listed, NoAnswer, Outcome, Refused, Unreadable
from ingest.flow_list.plan import LIST_CALL, Batch, Plan
from ingest.market_hours import Part
from ingest.market_watch import MarketWatch
from ingest.poll_schedule import PollSchedule
from ingest.rate_limiter import Quota

BACKOFF_FIRST_S, BACKOFF_GROWTH, BACKOFF_S_MAX = 1.0, 2.0, 60.0
SPACING = Quota(10, 1)
"""Requests follow each other no faster; splitting a list makes many."""

_SPACING_NS = int(SPACING.spacing_s * 1e9)
_FAILURES_MAX = 10
"""Further ones wait no longer."""


@dataclass(slots=True)
class _Standing:
    """Of a batch that is asked for.

    Attributes
    ----------
    pieces : how it is asked: as one, or in pieces where the server takes no more at once
    left : those that this poll still has to ask
    found : whether this poll found a wrong code
    failures : in a row
    again_ns : when what failed is to be asked again; None while it is not
    well : whether its last poll came to a list; None before the first
    """

    pieces: list[tuple[str, ...]]
    left: deque[tuple[str, ...]] = field(default_factory=deque)
    found: bool = False
    failures: int = 0
    again_ns: int | None = None
    well: bool | None = None


class FlowListPolls:
    """The polls of one gateway.

    Parameters
    ----------
    watches : each market's; one that is not named is always open
    rng : for the random part of a back-off

    Attributes
    ----------
    refused : symbols that are not asked for, and why
    stopped : why nothing is asked any more; None while it is
    up : whether the last answer was one
    """

    def __init__(self, watches: Mapping[int, MarketWatch], rng: random.Random) -> None:
        self.refused: dict[str, str] = {}
        self.stopped: str | None = None
        self.up = False
        self._rng = rng
        self._schedule = PollSchedule[Batch]({LIST_CALL: SPACING}, watches, lambda _: 0)
        self._standings: dict[Batch, _Standing] = {}
        self._plan = Plan({}, {})
        self._asking: tuple[Batch, _Standing] | None = None
        self._failures = 0
        self._not_before_ns = 0

    @property
    def parts(self) -> Mapping[int, Part]:
        """What each polled market does, by its number."""
        return self._schedule.parts

    @property
    def ready(self) -> bool:
        """Whether each batch was asked, and got a list."""
        return self.stopped is None and all(standing.well for standing in self._standings.values())

    @property
    def gave_up(self) -> bool:
        """Whether the server's word is why something is not asked any more."""
        return self.stopped is not None or bool(self.refused.keys() - self._plan.refused.keys())

    def want(self, plan: Plan, now_ns: int) -> None:
        """Poll these and no others. What had been given up is tried again."""
        if self.gave_up:
            self._schedule.want({}, now_ns)  # every batch is owed anew, with all its symbols
            self._standings.clear()
            self.stopped = None
        self._plan, self.refused = plan, dict(plan.refused)
        self._standings = {batch: self._standings.get(batch) or _Standing([batch.symbols]) for batch in plan.wishes}
        self._schedule.want(plan.wishes, now_ns)

    def next_symbols(self, now_ns: int, unix_s: float) -> tuple[str, ...] | None:
        """What to ask now, if anything; tell `took`."""
        assert self._asking is None, "one at a time"
        if self.stopped is not None or now_ns < self._not_before_ns:
            return None
        self._schedule.look(now_ns, unix_s)
        batch = self._next_batch(now_ns)
        if batch is None:
            return None
        standing = self._standings[batch]
        self._asking = batch, standing
        return standing.left[0]

    def deadline_ns(self) -> int | None:
        """When `next_symbols` can have something, if nothing else happens; in the past when at once."""
        if self.stopped is not None:
            return None
        dues_ns = [self._schedule.look_ns()]
        dues_ns += [each.again_ns for each in self._standings.values() if each.again_ns is not None]
        if (next_ns := self._schedule.next_ns(LIST_CALL)) is not None:
            dues_ns.append(next_ns)
        return max(min(dues_ns), self._not_before_ns)

    def took(self, outcome: Outcome, now_ns: int) -> None:
        """What `next_symbols` gave was asked, and came to this."""
        assert self._asking is not None, "nothing was asked"
        (batch, standing), self._asking = self._asking, None
        self.up = isinstance(outcome, Listed | Refused)
        self._failures = self._failures + 1 if isinstance(outcome, HttpRefused | NoAnswer) else 0
        self._not_before_ns = now_ns + _SPACING_NS
        if isinstance(outcome, HttpRefused | NoAnswer):
            least_s = outcome.retry_after_s if isinstance(outcome, HttpRefused) else 0.0
            self._not_before_ns = now_ns + int(self._delay_s(self._failures, least_s) * 1e9)
        if self._standings.get(batch) is not standing:
            return  # it is not wanted any more, or begins anew
        match outcome:
            case Listed():
                standing.left.popleft()
                self._go_on(batch, standing, now_ns)
            case Refused():
                self._refused(batch, standing, outcome, now_ns)
            case Unreadable():
                self._unreadable(batch, standing, now_ns)
            case HttpRefused() if outcome.permanent:
                self._stop(str(outcome))
            case HttpRefused() | NoAnswer():
                self._later(standing, self._not_before_ns)

    def _next_batch(self, now_ns: int) -> Batch | None:
        """A poll that goes on, or is tried again, before a new one; the one that waits longest."""
        waiting = [
            (standing.again_ns, number, batch)
            for number, (batch, standing) in enumerate(self._standings.items())
            if standing.again_ns is not None and standing.again_ns <= now_ns
        ]
        if waiting:
            batch = min(waiting)[2]
            self._standings[batch].again_ns = None
            return batch
        while (due := self._schedule.next(LIST_CALL, now_ns)) is not None:
            self._schedule.asked(due, now_ns)
            standing = self._standings[due]
            standing.pieces = [kept for piece in standing.pieces if (kept := self._kept(piece))]
            standing.left, standing.found = deque(standing.pieces), False
            if standing.left:
                return due
            standing.well = True
            self._schedule.ended(due, now_ns)  # every symbol of it was refused
        return None

    def _go_on(self, batch: Batch, standing: _Standing, now_ns: int) -> None:
        """The poll's next piece, or its end."""
        standing.failures = 0
        if standing.left:
            standing.again_ns = now_ns
            return
        if standing.found:  # the rest may go together again
            standing.pieces = [self._kept(batch.symbols)]
        standing.well = True
        self._schedule.ended(batch, now_ns)

    def _refused(self, batch: Batch, standing: _Standing, outcome: Refused, now_ns: int) -> None:
        match outcome.error.reaction:
            case Reaction.PERMANENT:
                self._stop(str(outcome))
            case Reaction.SPLIT:
                symbols = standing.left.popleft()
                if len(symbols) == 1:
                    self.refused[symbols[0]] = str(outcome)
                    standing.found = True
                else:
                    halves = symbols[: len(symbols) // 2], symbols[len(symbols) // 2 :]
                    standing.left.extendleft(reversed(halves))
                    place = standing.pieces.index(symbols)
                    standing.pieces[place : place + 1] = halves
                self._go_on(batch, standing, now_ns)
            case Reaction.RETRY:
                standing.failures += 1
                self._later(standing, now_ns + int(self._delay_s(standing.failures) * 1e9))

    def _unreadable(self, batch: Batch, standing: _Standing, now_ns: int) -> None:
        standing.well = False
        if self._schedule.parts[self._plan.wishes[batch].market] is Part.OPEN:
            standing.left.clear()
            self._schedule.ended(batch, now_ns)
        else:  # its next poll may be days away
            standing.failures += 1
            self._later(standing, now_ns + int(self._delay_s(standing.failures) * 1e9))

    def _kept(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(symbol for symbol in symbols if symbol not in self.refused)

    def _later(self, standing: _Standing, again_ns: int) -> None:
        standing.well, standing.again_ns = False, again_ns

    def _delay_s(self, failures: int, least_s: float = 0.0) -> float:
        """Grows with each failure in a row; at least `least_s`, and then a random part more."""
        ceiling_s = min(BACKOFF_FIRST_S * BACKOFF_GROWTH ** min(failures - 1, _FAILURES_MAX), BACKOFF_S_MAX)
        return max(self._rng.uniform(ceiling_s / 2, ceiling_s), least_s + self._rng.uniform(0, BACKOFF_FIRST_S))

    def _stop(self, why: str) -> None:
        self.stopped = why
