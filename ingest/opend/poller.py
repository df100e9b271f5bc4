"""The polls of one gateway: capital flow, distribution and ARK dynamics are asked for, never pushed.

`ingest.poll_schedule` says what is due, the login's quotas say what may go out; this joins them, and
knows what is on its way. It outlives connections, as what is due does. No socket, no clock.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from codec.opend.protocol import ProtoId
from ingest.market_hours import Part
from ingest.opend.requests import Security
from ingest.opend.session import SILENCE_NS_MAX
from ingest.poll_queues import Wish
from ingest.poll_schedule import PollSchedule
from ingest.quotas import CallQuota, LoginQuotas
from ingest.rate_limiter import Quota
from protos.opend import ark_stock_dynamic_pb2, capital_distribution_pb2, capital_flow_pb2, common_pb2

QUOTAS: dict[int, tuple[Quota, ...]] = {
    ProtoId.GET_CAPITAL_FLOW: (Quota(30, 30), Quota(10, 1)),
    ProtoId.GET_CAPITAL_DISTRIBUTION: (Quota(30, 30), Quota(10, 1)),
    ProtoId.GET_ARK_STOCK_DYNAMIC: (Quota(60, 30), Quota(10, 1)),
}
"""docs/protocols/opend.md 4, Rate limits; contract: no bursts beyond ten in a second."""

IN_FLIGHT_MAX = 4
"""Polls without an answer; more would only queue in the gateway."""

LATE_NS = SILENCE_NS_MAX
"""A request whose answer is late may still be waiting in the gateway, and be counted when that goes on.
By so much later the gateway has gone on, or its silence has ended the session."""

BACKOFF_FIRST_S, BACKOFF_GROWTH, BACKOFF_S_MAX = 5.0, 2.0, 120.0
_REFUSALS_MAX = 10
_CALM_NS = 60_000_000_000
"""So long after a backoff without another frequency error, the next one is the first again."""

_FREQUENCY_WORDS = ("频率", "頻率", "频繁", "頻繁", "frequen", "too many requests")
"""In OpenD's texts: 获取资金流向频率太高，请求失败，每30秒最多30次。"""


def is_frequency_error(text: str) -> bool:
    """Whether the gateway refused a request because too many were made; it has no number for that."""
    lowered = text.lower()
    return any(word in lowered for word in _FREQUENCY_WORDS)


@dataclass(frozen=True, slots=True)
class PollTarget:
    """What one poll asks: `period` is a PeriodType number, of capital flow only."""

    proto_id: ProtoId
    security: Security
    period: int = 0

    def message(self) -> Message:
        """The request."""
        security = common_pb2.Security(market=self.security[0], code=self.security[1])
        if self.proto_id is ProtoId.GET_CAPITAL_FLOW:
            flow = capital_flow_pb2.GetCapitalFlowC2S(security=security, periodType=self.period)
            return capital_flow_pb2.GetCapitalFlowRequest(c2s=flow)
        if self.proto_id is ProtoId.GET_CAPITAL_DISTRIBUTION:
            distribution = capital_distribution_pb2.GetCapitalDistributionC2S(security=security)
            return capital_distribution_pb2.GetCapitalDistributionRequest(c2s=distribution)
        dynamic = ark_stock_dynamic_pb2.GetArkStockDynamicC2S(security=security)
        return ark_stock_dynamic_pb2.GetArkStockDynamicRequest(c2s=dynamic)


@dataclass(slots=True)
class _Backoff:
    """Of one call, after the gateway said that its quota is used up."""

    until_ns: int = 0
    refusals: int = 0


class Poller:
    """The polls of one gateway, over all its connections.

    Parameters
    ----------
    schedule : what is due
    rng : for the random part of a backoff
    """

    def __init__(self, schedule: PollSchedule[PollTarget], rng: random.Random) -> None:
        self._schedule = schedule
        self._rng = rng
        self._quotas: dict[int, CallQuota] = {}
        self._in_flight: dict[int, PollTarget] = {}
        self._lost: list[CallQuota] = []
        self._late: deque[tuple[int, CallQuota]] = deque()
        self._backoffs = {call: _Backoff() for call in QUOTAS}
        self._wake_ns: int | None = 0

    @property
    def parts(self) -> Mapping[int, Part]:
        """What each polled market does, by its number."""
        return self._schedule.parts

    def want(self, wishes: Mapping[PollTarget, Wish], now_ns: int) -> None:
        """Poll these and no others."""
        self._schedule.want(wishes, now_ns)
        self._wake_ns = 0

    def connected(self, quotas: LoginQuotas, now_ns: int) -> None:
        """A session is ready: what the last one left without an answer was counted by now."""
        assert not self._in_flight, "told of the end of the last session"
        for quota in (*self._lost, *(quota for _, quota in self._late)):
            quota.limiter.ended(now_ns)
        self._lost.clear()
        self._late.clear()
        self._quotas = quotas.calls
        self._wake_ns = 0

    def disconnected(self, now_ns: int) -> None:
        """The session is over; what is on its way counts until the next one is ready."""
        for target in self._in_flight.values():
            self._lost.append(self._quotas[target.proto_id])
            self._schedule.lost(target, now_ns)
        self._in_flight.clear()
        self._quotas = {}

    def granted(self) -> None:
        """There may be more to send."""
        self._wake_ns = 0

    def next_target(self, now_ns: int, unix_s: float) -> PollTarget | None:
        """What to ask now, if anything; tell `sent`, and ask again. Cheap while nothing is due."""
        if self._wake_ns is None or now_ns < self._wake_ns or len(self._in_flight) >= IN_FLIGHT_MAX:
            return None
        while self._late and self._late[0][0] <= now_ns:
            self._late.popleft()[1].limiter.ended(now_ns)
        self._schedule.look(now_ns, unix_s)
        for call, quota in self._quotas.items():
            ready_ns = quota.ready_ns()
            if ready_ns is not None and max(ready_ns, self._backoffs[call].until_ns) <= now_ns:
                target = self._schedule.next(call, now_ns)
                if target is not None:
                    return target
        self._wake_ns = self._next_wake_ns()
        return None

    def sent(self, target: PollTarget, serial: int, now_ns: int) -> None:
        """What `next_target` gave was asked under `serial`."""
        self._quotas[target.proto_id].sent(now_ns)
        self._schedule.asked(target, now_ns)
        self._in_flight[serial] = target

    def replied(self, serial: int, now_ns: int) -> PollTarget | None:
        """The request was answered, with whatever: what it asked, if it was one of these; tell `ended`."""
        target = self._in_flight.pop(serial, None)
        if target is not None:
            self._quotas[target.proto_id].limiter.ended(now_ns)
            self._wake_ns = 0
        return target

    def failed(self, serial: int, now_ns: int, *, timed_out: bool) -> None:
        """The request got no answer that can be read; with `timed_out` none at all."""
        if (target := self._in_flight.pop(serial, None)) is None:
            return
        quota = self._quotas[target.proto_id]
        if timed_out:
            self._late.append((now_ns + LATE_NS, quota))
        else:
            quota.limiter.ended(now_ns)
        self.came_to_nothing(target, now_ns)

    def came_to_nothing(self, target: PollTarget, now_ns: int) -> None:
        """A target's answer is of no use."""
        self._schedule.failed(target, now_ns)
        self._wake_ns = 0

    def ended(self, target: PollTarget, now_ns: int, *, changed: bool = False, refused: bool = False) -> None:
        """What became of a target's request: something new, nothing new, or a refusal of the target."""
        self._schedule.ended(target, now_ns, changed=changed, refused=refused)
        self._wake_ns = 0

    def too_frequent(self, target: PollTarget, now_ns: int) -> float:
        """The gateway says that the call's quota is used up, though we kept within it: another program uses
        the login. Returns for how many seconds nothing more is asked of the call; the target is still owed."""
        backoff = self._backoffs[target.proto_id]
        if now_ns >= backoff.until_ns + _CALM_NS:
            backoff.refusals = 0
        ceiling_s = min(BACKOFF_FIRST_S * BACKOFF_GROWTH**backoff.refusals, BACKOFF_S_MAX)
        delay_s = self._rng.uniform(ceiling_s / 2, ceiling_s)
        if now_ns >= backoff.until_ns:  # of several on their way at once the first one counts
            backoff.refusals = min(backoff.refusals + 1, _REFUSALS_MAX)
        backoff.until_ns = max(backoff.until_ns, now_ns + int(delay_s * 1e9))
        self._schedule.lost(target, now_ns)
        self._wake_ns = 0
        return (backoff.until_ns - now_ns) / 1e9

    def deadline_ns(self) -> int | None:
        """When `next_target` can have something; None while only an answer or a grant can change that."""
        return self._wake_ns if len(self._in_flight) < IN_FLIGHT_MAX else None

    def quota_used(self, now_ns: int) -> dict[int, float]:
        """How much of each call's quota is in use, 1.0 for all of it."""
        return {call: quota.limiter.used_ratio(now_ns) for call, quota in self._quotas.items()}

    def _next_wake_ns(self) -> int:
        wakes_ns = [self._schedule.look_ns(), *(at_ns for at_ns, _ in self._late)]
        for call, quota in self._quotas.items():
            ready_ns, next_ns = quota.ready_ns(), self._schedule.next_ns(call)
            if ready_ns is not None and next_ns is not None:
                wakes_ns.append(max(ready_ns, next_ns, self._backoffs[call].until_ns))
        return min(wakes_ns)
