"""The queues of a poll schedule: what waits, in which order, with items that turn void rather than be searched for."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_GOLDEN = 0.6180339887498949
"""Multiples of it, without their whole parts, divide an interval evenly however many there are."""

Target = TypeVar("Target", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Wish:
    """How often a target should be asked.

    Attributes
    ----------
    call : whose quota it takes
    only_at_close : ask at the start and after each close, and not every `interval_s`
    """

    call: int
    market: int
    interval_s: float
    only_at_close: bool = False


@dataclass(slots=True)
class Entry(Generic[Target]):
    """A target and where it stands.

    Attributes
    ----------
    number : its place in its interval follows from it
    moves : queue items made under an earlier number of moves are void
    owed : is to be asked at the next opportunity; `was_owed` says the same of the request under way
    active : changed or traded since it was asked before
    asked : its request is under way
    failures, refusals : in a row
    traded : of its symbol, when it was asked
    """

    target: Target
    wish: Wish
    number: int
    due_ns: int
    moves: int = 0
    owed: bool = False
    active: bool = True
    asked: bool = False
    was_owed: bool = False
    failures: int = 0
    refusals: int = 0
    traded: int = 0

    @property
    def interval_ns(self) -> int:
        return int(self.wish.interval_s * 1e9)

    def place_ns(self, after_ns: int) -> int:
        """Its first place in its interval behind `after_ns`."""
        offset_ns = int(self.interval_ns * (self.number * _GOLDEN % 1.0))
        return after_ns - (after_ns - offset_ns) % self.interval_ns + self.interval_ns


Item = tuple[int, int, int, Entry[Target]]
"""(due, number, moves, entry)."""
Queue = deque[Item[Target]] | list[Item[Target]]


@dataclass(slots=True)
class Queues(Generic[Target]):
    """What waits in one market for one call."""

    owed: deque[Item[Target]] = field(default_factory=deque)
    owed_at_leisure: deque[Item[Target]] = field(default_factory=deque)
    """Those that are asked at the start and after the close only."""
    active: list[Item[Target]] = field(default_factory=list)
    idle: list[Item[Target]] = field(default_factory=list)


def head(queue: Queue[Target]) -> tuple[int, int]:
    """What queues are compared by: the oldest first."""
    return queue[0][:2]


def is_due(queue: Queue[Target], now_ns: int) -> bool:
    """Whether its first item is."""
    return bool(queue) and queue[0][0] <= now_ns


def top(queue: Queue[Target]) -> Queue[Target]:
    """The queue with no void item at its head."""
    while queue and queue[0][2] != queue[0][3].moves:
        drop_head(queue)
    return queue


def drop_head(queue: Queue[Target]) -> None:
    """Take its first item away."""
    if isinstance(queue, deque):
        queue.popleft()
    else:
        heapq.heappop(queue)
