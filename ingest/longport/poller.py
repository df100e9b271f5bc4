"""The polls of one LongPort gateway: capital flow and its distribution are asked for, never pushed.

`ingest.poll_schedule` says what is due, the account's limits say what may go out; this joins them, and
knows what is on its way. It outlives connections, as what is due does. No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.longport.errors import Reaction, reaction_to
from ingest.longport.events import Failed
from ingest.longport.poll_plan import POLLS, PollTarget
from ingest.market_hours import Part
from ingest.poll_queues import Wish
from ingest.poll_schedule import PollSchedule

IN_FLIGHT_MAX = 3
"""Of the account's five calls the others are left to subscriptions and pulls."""


class Poller:
    """The polls of one gateway, over all its connections.

    Parameters
    ----------
    schedule : what is due

    Attributes
    ----------
    refused : targets that the gateway refuses for good, with the reason; they rest until the next connection
    """

    def __init__(self, schedule: PollSchedule[PollTarget]) -> None:
        self.refused: dict[PollTarget, str] = {}
        self._schedule = schedule
        self._wishes: dict[PollTarget, Wish] = {}
        self._in_flight: dict[int, PollTarget] = {}
        self._wake_ns = 0

    @property
    def parts(self) -> Mapping[int, Part]:
        """What each polled market does, by its number."""
        return self._schedule.parts

    def want(self, wishes: Mapping[PollTarget, Wish], now_ns: int) -> None:
        """Poll these and no others."""
        self._wishes = dict(wishes)
        self.refused = {target: why for target, why in self.refused.items() if target in wishes}
        self._reschedule(now_ns)

    def connected(self, now_ns: int) -> None:
        """A session is ready. What was refused may be allowed by now."""
        assert not self._in_flight, "told of the end of the last session"
        self.refused.clear()
        self._reschedule(now_ns)

    def disconnected(self, now_ns: int) -> None:
        """The session is over."""
        for target in self._in_flight.values():
            self._schedule.lost(target, now_ns)
        self._in_flight.clear()

    def next_target(self, now_ns: int, unix_s: float) -> PollTarget | None:
        """What to ask now, if anything; tell `sent`, and ask again. Cheap while nothing is due."""
        if now_ns < self._wake_ns or len(self._in_flight) >= IN_FLIGHT_MAX:
            return None
        self._schedule.look(now_ns, unix_s)
        target = self._schedule.next(POLLS, now_ns)
        if target is None:
            next_ns, look_ns = self._schedule.next_ns(POLLS), self._schedule.look_ns()
            self._wake_ns = look_ns if next_ns is None else min(next_ns, look_ns)
        return target

    def sent(self, target: PollTarget, request_id: int, now_ns: int) -> None:
        """What `next_target` gave was asked under this id."""
        self._schedule.asked(target, now_ns)
        self._in_flight[request_id] = target

    def replied(self, request_id: int) -> PollTarget | None:
        """The request was answered: what it asked, if it was one of these; tell `ended` or `came_to_nothing`."""
        return self._in_flight.pop(request_id, None)

    def ended(self, target: PollTarget, now_ns: int, *, changed: bool) -> None:
        """A target's answer said something new, or nothing new."""
        self._schedule.ended(target, now_ns, changed=changed)
        self._wake_ns = 0

    def came_to_nothing(self, target: PollTarget, now_ns: int) -> None:
        """A target's answer is of no use."""
        self._schedule.failed(target, now_ns)
        self._wake_ns = 0

    def failed(self, failed: Failed, why: str, now_ns: int) -> PollTarget | None:
        """A request failed; returns the target that is refused for good by it, for the reason `why`."""
        if (target := self._in_flight.pop(failed.request_id, None)) is None:
            return None
        match reaction_to(failed.status_code, failed.code):
            case Reaction.REFUSED:
                self._schedule.ended(target, now_ns)
                self.refused[target] = why
                self._reschedule(now_ns)
                return target
            case Reaction.SLOW_DOWN:
                self._schedule.lost(target, now_ns)
            case Reaction.RETRY:
                self._schedule.failed(target, now_ns)
        self._wake_ns = 0
        return None

    def deadline_ns(self) -> int | None:
        """When `next_target` can have something; None while only an answer can change that."""
        return self._wake_ns if len(self._in_flight) < IN_FLIGHT_MAX else None

    def _reschedule(self, now_ns: int) -> None:
        wishes = {target: wish for target, wish in self._wishes.items() if target not in self.refused}
        self._schedule.want(wishes, now_ns)
        self._wake_ns = 0
