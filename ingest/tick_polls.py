"""When to pull the ticks of symbols that are subscribed without push (`mode = "poll"`). No socket, no clock.

While the gateway says that a market is closed its symbols rest, after one pull more.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping

from codec.markets import Security


class TickPolls:
    """Pulls spread evenly over each interval.

    Parameters
    ----------
    intervals_s : how often to pull each symbol
    """

    def __init__(self, intervals_s: Mapping[Security, float], now_ns: int) -> None:
        self._intervals_ns = {security: int(interval_s * 1e9) for security, interval_s in intervals_s.items()}
        self._resting: set[Security] = set()
        alike = Counter(self._intervals_ns.values())
        place: Counter[int] = Counter()
        self._due: list[tuple[int, int, Security]] = []
        for number, (security, interval_ns) in enumerate(self._intervals_ns.items()):
            place[interval_ns] += 1
            first_ns = now_ns + interval_ns * place[interval_ns] // alike[interval_ns]
            heapq.heappush(self._due, (first_ns, number, security))

    def due(self, now_ns: int, is_closed: Callable[[int], bool]) -> list[Security]:
        """What to pull now, each once however late it is; `is_closed` knows markets by their number."""
        ready = []
        while self._due and self._due[0][0] <= now_ns:
            due_ns, number, security = self._due[0]
            interval_ns = self._intervals_ns[security]
            missed = (now_ns - due_ns) // interval_ns
            heapq.heapreplace(self._due, (due_ns + (missed + 1) * interval_ns, number, security))
            closed = is_closed(security[0])
            if not (closed and security in self._resting):
                ready.append(security)
            (self._resting.add if closed else self._resting.discard)(security)
        return ready

    def deadline_ns(self) -> int | None:
        """When something is due next."""
        return self._due[0][0] if self._due else None
