"""Which polls are due: capital flow, distribution and ARK dynamics are asked for, never pushed.

Each target is asked at once after connecting, as fast as the quotas allow, and then every interval,
or less often where the quotas allow no more. No socket, no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from codec.opend.protocol import ProtoId
from ingest.opend.requests import Security
from ingest.rate_limiter import Quota, RateLimiter
from protos.opend import ark_stock_dynamic_pb2, capital_distribution_pb2, capital_flow_pb2, common_pb2

QUOTAS: dict[ProtoId, tuple[Quota, ...]] = {
    ProtoId.GET_CAPITAL_FLOW: (Quota(30, 30), Quota(10, 1)),
    ProtoId.GET_CAPITAL_DISTRIBUTION: (Quota(30, 30), Quota(10, 1)),
    ProtoId.GET_ARK_STOCK_DYNAMIC: (Quota(60, 30), Quota(10, 1)),
}
"""docs/protocols/opend.md 4, Rate limits; contract: no bursts beyond ten in a second."""

IN_FLIGHT_MAX = 4
"""Polls without an answer; more would only queue in the gateway."""


def limiters(share: float = 1.0) -> dict[ProtoId, RateLimiter]:
    """A limiter for each call, for one login; they outlive a connection, as the gateway's counts do."""
    return {proto_id: RateLimiter(*(quota.scaled(share) for quota in quotas)) for proto_id, quotas in QUOTAS.items()}


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


class Poller:
    """The polls of one connection.

    Parameters
    ----------
    targets : what to ask, and the interval of each in seconds
    limiters : of the login, one for each call
    now_ns : monotonic; everything is due then
    """

    def __init__(
        self, targets: Mapping[PollTarget, float], limiters: Mapping[ProtoId, RateLimiter], now_ns: int
    ) -> None:
        self._limiters = limiters
        self._interval_ns: dict[PollTarget, int] = {}
        self._due: dict[ProtoId, list[tuple[int, int, PollTarget]]] = {}
        self._in_flight: dict[int, PollTarget] = {}
        self._want({}, targets, now_ns)

    def want(self, targets: Mapping[PollTarget, float], now_ns: int) -> None:
        """Ask these from now on: what stays when it is due anyway, what is new at once."""
        due_ns = {target: due_ns for due in self._due.values() for due_ns, _, target in due}
        self._want(due_ns, targets, now_ns)

    def _want(self, due_ns: Mapping[PollTarget, int], targets: Mapping[PollTarget, float], now_ns: int) -> None:
        self._interval_ns = {target: int(interval_s * 1e9) for target, interval_s in targets.items()}
        self._due = {proto_id: [] for proto_id in self._limiters}
        for number, (target, interval_ns) in enumerate(self._interval_ns.items()):
            at_ns = min(due_ns.get(target, now_ns), now_ns + interval_ns)
            heapq.heappush(self._due[target.proto_id], (at_ns, number, target))

    def next_target(self, now_ns: int) -> PollTarget | None:
        """What to ask now, if anything; tell `sent`, and ask again."""
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            return None
        for proto_id, due in self._due.items():
            if due and due[0][0] <= now_ns and self._limiters[proto_id].ready_ns() <= now_ns:
                return due[0][2]
        return None

    def sent(self, target: PollTarget, serial: int, now_ns: int) -> None:
        """`target` was asked under `serial`: it is due again an interval later."""
        due = self._due[target.proto_id]
        assert due[0][2] == target
        _, number, _ = due[0]
        heapq.heapreplace(due, (now_ns + self._interval_ns[target], number, target))
        self._limiters[target.proto_id].sent(now_ns)
        self._in_flight[serial] = target

    def ended(self, serial: int) -> PollTarget | None:
        """The request was answered or failed: what it asked, if it was one of these."""
        return self._in_flight.pop(serial, None)

    def deadline_ns(self) -> int | None:
        """When the next target can be asked; None while only an answer can change that."""
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            return None
        deadlines = [max(due[0][0], self._limiters[proto_id].ready_ns()) for proto_id, due in self._due.items() if due]
        return min(deadlines, default=None)
