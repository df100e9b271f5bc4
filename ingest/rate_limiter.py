"""Keeping within a gateway's quotas: an exact sliding window, not a leaky bucket.

A leaky bucket lets a full burst pass and then goes on at the mean rate, so that some window holds
nearly twice its quota. This one remembers each request of the last window.

Rule: the gateway counts a request when it reads it, which is some time between our sending it and
our getting the answer. So a request is in use from when it was sent until a window after it was
answered, and however long a request or a reply was on its way, no window of the gateway's holds more.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

MARGIN_NS = 20_000_000
"""The gateway's clock may be a little slower than ours, and count in whole milliseconds."""


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `requests` in any `window_s` seconds, as the gateway counts them."""

    requests: int
    window_s: float

    def scaled(self, share: float) -> Quota:
        """Our share of it, where other programs use the same login; at least one request."""
        return Quota(max(1, int(self.requests * share)), self.window_s)

    @property
    def spacing_s(self) -> float:
        """Between requests that use all of it, evenly spread."""
        return self.window_s / self.requests


class RateLimiter:
    """Keeps within several quotas of one call at once. A value of time goes in; it sleeps for nobody.

    Attributes
    ----------
    quotas : what it keeps within
    in_flight : requests without an answer
    """

    def __init__(self, *quotas: Quota) -> None:
        assert quotas
        self.quotas = quotas
        self.in_flight = 0
        self._ended_ns: list[int] = []  # ascending; as many as the greatest quota, and within its window

    @property
    def requests_max(self) -> int:
        return max(quota.requests for quota in self.quotas)

    @property
    def window_ns(self) -> int:
        """How long the longest window is, margin included."""
        return int(max(quota.window_s for quota in self.quotas) * 1e9) + MARGIN_NS

    def restore(self, ended_ns: Iterable[int], in_flight: int) -> None:
        """What an earlier process knew of requests that were sent."""
        self._ended_ns = sorted(ended_ns)
        self.in_flight = in_flight

    def ready_ns(self) -> int | None:
        """The earliest monotonic time at which the next request may be sent; in the past when at once,
        None while only an answer can tell."""
        ready_ns = 0
        for quota in self.quotas:
            others = quota.requests - self.in_flight
            if others <= 0:
                return None
            if len(self._ended_ns) >= others:
                ready_ns = max(ready_ns, self._ended_ns[-others] + int(quota.window_s * 1e9) + MARGIN_NS)
        return ready_ns

    def sent(self, now_ns: int) -> None:
        """A request goes out; tell `ended` of it, however that comes."""
        ready_ns = self.ready_ns()
        assert ready_ns is not None, "sent beyond the quota"
        assert now_ns >= ready_ns, "sent beyond the quota"
        self.in_flight += 1

    def ended(self, at_ns: int) -> None:
        """A request was counted by the gateway at `at_ns` or before."""
        assert self.in_flight > 0, "ended without having been sent"
        self.in_flight -= 1
        bisect.insort(self._ended_ns, at_ns)
        del self._ended_ns[: -self.requests_max]

    def ended_ns(self, now_ns: int) -> list[int]:
        """When the requests of the last window ended, oldest first."""
        return self._ended_ns[bisect.bisect_right(self._ended_ns, now_ns - self.window_ns) :]

    def used_ratio(self, now_ns: int) -> float:
        """How much of the fullest quota is in use."""
        return max(
            (self.in_flight + sum(now_ns - at_ns < quota.window_s * 1e9 for at_ns in self._ended_ns)) / quota.requests
            for quota in self.quotas
        )


def possible_period_s(intervals_s: Iterable[float], quota: Quota) -> float:
    """How often the most frequent of targets with these intervals can be asked within `quota`.

    Those with longer intervals than that keep theirs; all others share what is left of the quota evenly.
    """
    ascending = sorted(intervals_s)
    shortest_s = ascending[0] if ascending else 0.0
    per_s = quota.requests / quota.window_s
    while ascending:
        period_s = len(ascending) / per_s
        if ascending[-1] <= period_s:
            return max(period_s, shortest_s)
        per_s -= 1 / ascending.pop()
    return shortest_s
