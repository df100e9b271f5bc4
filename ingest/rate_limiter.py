"""Keeping within a gateway's quotas: an exact sliding window, not a leaky bucket.

A leaky bucket lets a full burst pass and then goes on at the mean rate, so that some window holds
nearly twice its quota. This one remembers when each request of the last window was sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MARGIN_NS = 500_000_000
"""A request may travel longer than the next one: the gateway would see them closer together."""


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `requests` in any `window_s` seconds, as the gateway counts them."""

    requests: int
    window_s: float

    def scaled(self, share: float) -> Quota:
        """Our share of it, where other programs use the same login; at least one request."""
        return Quota(max(1, int(self.requests * share)), self.window_s)


class RateLimiter:
    """Keeps within several quotas of one call at once. A value of time goes in; it sleeps for nobody."""

    def __init__(self, *quotas: Quota) -> None:
        assert quotas
        self._quotas = quotas
        self._sent_ns: deque[int] = deque(maxlen=max(quota.requests for quota in quotas))

    def ready_ns(self) -> int:
        """The earliest monotonic time at which the next request may be sent; in the past when at once."""
        ready_ns = 0
        for quota in self._quotas:
            if len(self._sent_ns) >= quota.requests:
                oldest_ns = self._sent_ns[-quota.requests]
                ready_ns = max(ready_ns, oldest_ns + int(quota.window_s * 1e9) + _MARGIN_NS)
        return ready_ns

    def sent(self, now_ns: int) -> None:
        """A request was sent, answered or not: the gateway counts it."""
        assert now_ns >= self.ready_ns(), "sent beyond the quota"
        self._sent_ns.append(now_ns)

    def used_ratio(self, now_ns: int) -> float:
        """How much of the fullest quota the last window used."""
        return max(
            sum(now_ns - at_ns < quota.window_s * 1e9 for at_ns in self._sent_ns) / quota.requests
            for quota in self._quotas
        )
