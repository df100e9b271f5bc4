"""How many calls an account may make: at most 10 in any second, 5 of them without an answer, and what its profile says.

They are the account's, so its gateways in this process share one of these. Another process begins with
empty windows, and takes longer than a second to start. No socket, no clock.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

from ingest.rate_limiter import Quota, RateLimiter

CALLS = Quota(10, 1.0)
IN_FLIGHT_MAX = 5
"""docs/protocols/longport.md 5."""

BACKOFF_FIRST_S, BACKOFF_GROWTH, BACKOFF_S_MAX = 1.0, 2.0, 60.0
_REFUSALS_MAX = 10
_CALM_NS = 30_000_000_000
"""So long after a backoff without another refusal, the next one is the first again."""


class AccountLimits:
    """The calls of one account.

    Attributes
    ----------
    freed : called whenever an answer may have made room for another gateway's request
    """

    def __init__(self, rng: random.Random) -> None:
        self.freed: list[Callable[[], None]] = []
        self._rng = rng
        self._all = RateLimiter(CALLS)
        self._by_command: dict[int, RateLimiter] = {}
        self._in_flight: Counter[int] = Counter()
        self._until_ns = 0
        self._refusals = 0

    def profile(self, quotas: Mapping[int, Quota]) -> None:
        """What the account's profile says of some commands, by their number."""
        for command, quota in quotas.items():
            if command in self._by_command:
                self._by_command[command].quotas = (quota,)
            else:
                self._by_command[command] = RateLimiter(quota)
                self._by_command[command].restore((), self._in_flight[command])

    def ready_ns(self, command: int) -> int | None:
        """When the next call of this command may go out; in the past when at once, None while only an answer
        can tell."""
        if self._all.in_flight >= IN_FLIGHT_MAX:
            return None
        readies_ns = [limiter.ready_ns() for limiter in self._of(command)]
        if any(each is None for each in readies_ns):
            return None
        return max(self._until_ns, *(each for each in readies_ns if each is not None))

    def sent(self, command: int, now_ns: int) -> None:
        """A call goes out; tell `ended` of it, however that comes."""
        self._in_flight[command] += 1
        for limiter in self._of(command):
            limiter.sent(now_ns)

    def ended(self, command: int, at_ns: int) -> None:
        """A call was answered, or will not be."""
        self._in_flight[command] -= 1
        for limiter in self._of(command):
            limiter.ended(at_ns)
        for tell in self.freed:
            tell()

    def too_frequent(self, now_ns: int) -> float:
        """The gateway says that there were too many calls, though we kept within the limits: another program uses
        the account. Returns for how many seconds nothing more is asked."""
        if now_ns >= self._until_ns:  # of several on their way at once the first one counts
            if now_ns >= self._until_ns + _CALM_NS:
                self._refusals = 0
            ceiling_s = min(BACKOFF_FIRST_S * BACKOFF_GROWTH**self._refusals, BACKOFF_S_MAX)
            self._refusals = min(self._refusals + 1, _REFUSALS_MAX)
            self._until_ns = now_ns + int(self._rng.uniform(ceiling_s / 2, ceiling_s) * 1e9)
        return (self._until_ns - now_ns) / 1e9

    def used(self, now_ns: int) -> dict[int | None, float]:
        """How much of each limit is in use, 1.0 for all of it; None for all calls together."""
        return {None: self._all.used_ratio(now_ns)} | {
            command: limiter.used_ratio(now_ns) for command, limiter in self._by_command.items()
        }

    def _of(self, command: int) -> tuple[RateLimiter, ...]:
        own = self._by_command.get(command)
        return (self._all,) if own is None else (self._all, own)


def quota_of(limit: int, burst: int) -> Quota | None:
    """The window of a command that refills by `limit` calls a second up to `burst`; None where that says nothing."""
    if limit <= 0:
        return None
    requests = min(limit, burst) if burst > 0 else limit
    return Quota(requests, requests / limit)
