"""The request quotas of each login, shared by all gateways of the process and remembered by the next.

Rule 1: a request goes out only under a grant: a number of requests that what was kept for the next
process counts as sent already. Grants come in blocks, so that few requests wait for the disk, none
of them in the loop, and a process that is killed has never sent more than was kept.
Rule 2: what is not known exactly counts at the latest time it can have happened: requests without
an answer, and what was granted and perhaps not sent, when the next process first meets the login.
Rule 3: monotonic time measures; across processes it is believed only within one boot of the machine,
and no further than the wall clock agrees. Otherwise what was kept counts from now on. A clock that
was set may so delay requests by a window, and never lets one too many pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codec.errors import TicktapeError
from ingest.rate_limiter import Quota, RateLimiter

GRANT_REQUESTS = 10
"""A block: as many as may go out in one second. What is left of one at a kill counts as sent."""

_FORMAT = 1


class UnreadableQuotas(TicktapeError):
    """What was kept is not of this program's making."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the machine's clocks say at one moment.

    Attributes
    ----------
    boot : names the boot of the machine that monotonic time belongs to; empty when unknown
    """

    monotonic_ns: int
    wall_ns: int
    boot: str


@dataclass(slots=True)
class CallQuota:
    """One call of one login: its window, and how many more requests are granted."""

    limiter: RateLimiter
    granted: int = 0

    @property
    def block(self) -> int:
        return min(GRANT_REQUESTS, self.limiter.requests_max)

    def ready_ns(self) -> int | None:
        """As `RateLimiter.ready_ns`; None too while nothing is granted."""
        return self.limiter.ready_ns() if self.granted > 0 else None

    def sent(self, now_ns: int) -> None:
        """A request goes out."""
        assert self.granted > 0, "sent without a grant"
        self.granted -= 1
        self.limiter.sent(now_ns)


@dataclass(slots=True)
class LoginQuotas:
    """The calls of one login, by their number."""

    calls: dict[int, CallQuota] = field(default_factory=dict)
    met: bool = False
    """Whether this process has a session of the login."""


class QuotaBook:
    """All logins. No I/O, no clock: `QuotaKeeper` keeps what `pledge` writes.

    Parameters
    ----------
    quotas : of each call that has any, by its number
    """

    def __init__(self, quotas: Mapping[int, tuple[Quota, ...]]) -> None:
        self._quotas = quotas
        self._logins: dict[int, LoginQuotas] = {}
        self._pledged: list[tuple[CallQuota, int, int]] = []

    def restore(self, kept: bytes, clocks: Clocks) -> None:
        """Begin with what an earlier process kept.

        Raises
        ------
        UnreadableQuotas
            Nothing was restored.
        """
        try:
            document = json.loads(kept)
            if document["format"] != _FORMAT:
                raise UnreadableQuotas(f"quotas kept in format {document['format']}, not {_FORMAT}")
            same_boot = bool(clocks.boot) and document["boot"] == clocks.boot
            logins = {
                int(login): {
                    int(call): ([_back(at, clocks, same_boot) for at in each["ended"]], int(each["unknown"]))
                    for call, each in calls.items()
                    if int(call) in self._quotas
                }
                for login, calls in document["logins"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableQuotas(f"quotas kept earlier cannot be read: {error!r}") from error
        for login, calls in logins.items():
            quotas = self._login(login)
            for call, (ended_ns, unknown) in calls.items():
                quotas.calls[call].limiter.restore(ended_ns, unknown)

    def of(self, login: int, share: float, now_ns: int) -> LoginQuotas:
        """The quotas of a login that a gateway has a session of.

        `share` is our part of them; of several gateways' the least. What an earlier process may have
        sent was counted by now (rule 2).
        """
        quotas = self._login(login)
        for call, each in quotas.calls.items():
            scaled = tuple(quota.scaled(share) for quota in self._quotas[call])
            if not quotas.met or scaled[0].requests < each.limiter.quotas[0].requests:
                each.limiter.quotas = scaled
            if not quotas.met:
                while each.limiter.in_flight:
                    each.limiter.ended(now_ns)
        quotas.met = True
        return quotas

    @property
    def wants_grants(self) -> bool:
        """Whether a call has used half of its block: time to `pledge`."""
        return any(2 * each.granted <= each.block for login in self._met() for each in login.calls.values())

    def pledge(self, clocks: Clocks, *, last: bool = False) -> bytes:
        """What must be kept before `grant`: all requests that may have been sent when it is read.

        `last` grants nothing more: what is kept is then exact.
        """
        self._pledged = []
        logins: dict[str, dict[str, Any]] = {}
        for login, quotas in self._logins.items():
            calls = {}
            for call, each in quotas.calls.items():
                block = 0 if last or not quotas.met else each.block
                each.granted = min(each.granted, block)
                self._pledged.append((each, block, each.granted))
                ended = [_stamp(at_ns, clocks) for at_ns in each.limiter.ended_ns(clocks.monotonic_ns)]
                unknown = each.limiter.in_flight + block
                if ended or unknown:
                    calls[str(call)] = {"ended": ended, "unknown": unknown}
            if calls:
                logins[str(login)] = calls
        return json.dumps({"format": _FORMAT, "boot": clocks.boot, "logins": logins}).encode()

    def grant(self) -> None:
        """What `pledge` wrote last is kept: its blocks may be sent, less what was sent meanwhile."""
        for each, block, before in self._pledged:
            each.granted = block - (before - each.granted)
            assert each.granted >= 0, "a block is never less than what was granted before"
        self._pledged = []

    def _login(self, login: int) -> LoginQuotas:
        if login not in self._logins:
            limiters = {call: CallQuota(RateLimiter(*quotas)) for call, quotas in self._quotas.items()}
            self._logins[login] = LoginQuotas(limiters)
        return self._logins[login]

    def _met(self) -> list[LoginQuotas]:
        return [quotas for quotas in self._logins.values() if quotas.met]


def _stamp(at_ns: int, clocks: Clocks) -> list[int]:
    """A time by both clocks, as they stand now."""
    return [at_ns, clocks.wall_ns - (clocks.monotonic_ns - at_ns)]


def _back(stamp: list[int], clocks: Clocks, same_boot: bool) -> int:
    """The monotonic time of a stamp, no earlier than both clocks say (rule 3)."""
    at_ns, wall_ns = stamp
    age_ns = min(clocks.monotonic_ns - at_ns, clocks.wall_ns - wall_ns) if same_boot else 0
    return clocks.monotonic_ns - max(age_ns, 0)
