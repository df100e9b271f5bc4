"""Symbols whose last ticks are to be asked for, the busiest first. No socket, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from codec.markets import Security


@dataclass(frozen=True, slots=True)
class Pull:
    """One to ask for; `attempt` counts from 1."""

    security: Security
    attempt: int


class PullQueue:
    """Each symbol at most once.

    Parameters
    ----------
    activity : how busy a symbol was of late: the hole of the busiest grows fastest
    """

    def __init__(self, activity: Callable[[Security], float]) -> None:
        self._activity = activity
        self._waiting: dict[Security, Pull] = {}
        self._by_activity: list[tuple[float, int, Security]] = []
        """A heap of what is, or was, waiting, the busiest first, else in order."""
        self._added = 0

    def add(self, security: Security, attempt: int = 1) -> None:
        """Ask for it, unless that is about to be done."""
        if security not in self._waiting:
            self._waiting[security] = Pull(security, attempt)
            self._added += 1
            heapq.heappush(self._by_activity, (-self._activity(security), self._added, security))

    def discard(self, security: Security) -> None:
        """Do not ask for it."""
        self._waiting.pop(security, None)

    def pop(self) -> Pull | None:
        """The next one, if any."""
        while self._by_activity:
            _, _, security = heapq.heappop(self._by_activity)
            if (pull := self._waiting.pop(security, None)) is not None:
                return pull
        return None

    def __bool__(self) -> bool:
        return bool(self._waiting)
