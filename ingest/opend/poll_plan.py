"""From what is configured to what is polled how often, and how often that can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codec.markets import HK, SH, SZ, US, parse_symbol
from codec.opend.protocol import ProtoId
from codec.tables import ARK_DYNAMIC, CAPITAL_DISTRIBUTION, CAPITAL_FLOW, PERIOD
from ingest.opend.poller import QUOTAS, PollTarget
from ingest.poll_queues import Wish
from ingest.rate_limiter import possible_period_s

CALL_OF_FEED = {
    CAPITAL_FLOW.name: ProtoId.GET_CAPITAL_FLOW,
    CAPITAL_DISTRIBUTION.name: ProtoId.GET_CAPITAL_DISTRIBUTION,
    ARK_DYNAMIC.name: ProtoId.GET_ARK_STOCK_DYNAMIC,
}
"""The polled feeds; each is named after its table."""
FEED_OF_CALL: dict[int, str] = {call: feed for feed, call in CALL_OF_FEED.items()}

_TRADE_TOGETHER = ({HK, SH, SZ}, {US})
"""Markets whose regular hours overlap; any other one may trade at any time."""


@dataclass(frozen=True, slots=True)
class PollConfig:
    """A feed that is asked for: `capital_flow`, `capital_distribution` or `ark_dynamic`.

    `periods` are words of `codec.tables.PERIOD`, for capital_flow. A symbol is asked every
    `interval_s`, or less often when the quotas say so.
    """

    feed: str
    symbols: tuple[str, ...]
    interval_s: float
    periods: tuple[str, ...] = ("intraday",)


@dataclass(frozen=True, slots=True)
class Possible:
    """What the quota makes of the polls of one feed.

    Attributes
    ----------
    targets : polled all day while their market trades
    at_close : polled at the start and after each close only
    interval_s : the shortest one asked for; 0 without `targets`
    period_s : how often each can be polled at most, when all markets that trade together do
    requests, window_s : of the quota, our share of it
    """

    feed: str
    targets: int
    at_close: int
    interval_s: float
    period_s: float
    requests: int
    window_s: float

    def __str__(self) -> str:
        quota = f"{self.requests} requests in {self.window_s:g} s"
        parts = []
        if self.targets:
            slower = f" rather than {self.interval_s:g} s" if self.period_s > self.interval_s else ""
            parts.append(f"{self.targets:,} targets every {self.period_s:.0f} s{slower}")
        if self.at_close:
            seconds = self.at_close * self.window_s / self.requests
            parts.append(f"{self.at_close:,} after each close, within {seconds:.0f} s")
        return f"{self.feed}: {', '.join(parts)} ({quota})"


def poll_wishes(polls: Iterable[PollConfig], *, by_calendar: bool) -> dict[PollTarget, Wish]:
    """What to poll, and how often; asked for twice, the shorter interval.

    Lines of days, weeks and months change at the close: `by_calendar`, they are polled then only.
    """
    wishes: dict[PollTarget, Wish] = {}
    for poll in polls:
        proto_id = CALL_OF_FEED[poll.feed]
        periods = poll.periods if proto_id is ProtoId.GET_CAPITAL_FLOW else ("",)
        for symbol in poll.symbols:
            security = parse_symbol(symbol)
            for period in periods:
                target = PollTarget(proto_id, security, PERIOD.code(period) if period else 0)
                at_close = by_calendar and period not in ("", "intraday")
                interval_s = poll.interval_s
                if target in wishes:
                    interval_s = min(interval_s, wishes[target].interval_s)
                wishes[target] = Wish(proto_id, security[0], interval_s, at_close)
    return wishes


def possible_periods(wishes: Mapping[PollTarget, Wish], share: float, *, by_calendar: bool) -> list[Possible]:
    """Of each polled feed, in the order of the calls' numbers."""
    by_call: defaultdict[int, list[Wish]] = defaultdict(list)
    for wish in wishes.values():
        by_call[wish.call].append(wish)
    found = []
    for call, of_call in sorted(by_call.items()):
        quota = QUOTAS[call][0].scaled(share)
        all_day = [wish for wish in of_call if not wish.only_at_close]
        found.append(
            Possible(
                FEED_OF_CALL[call],
                len(all_day),
                len(of_call) - len(all_day),
                min((wish.interval_s for wish in all_day), default=0.0),
                max(possible_period_s(intervals_s, quota) for intervals_s in together(all_day, by_calendar)),
                quota.requests,
                quota.window_s,
            )
        )
    return found


def together(wishes: Sequence[Wish], by_calendar: bool) -> list[list[float]]:
    """The intervals of targets that are polled in the same hours."""
    if not by_calendar:
        return [[wish.interval_s for wish in wishes]]
    known = set().union(*_TRADE_TOGETHER)
    return [
        [wish.interval_s for wish in wishes if wish.market in markets or wish.market not in known]
        for markets in _TRADE_TOGETHER
    ]
