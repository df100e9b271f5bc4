"""From what is configured to what is polled how often, and how often that can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from codec.markets import parse_symbol
from codec.opend.protocol import ProtoId
from codec.tables import ARK_DYNAMIC, CAPITAL_DISTRIBUTION, CAPITAL_FLOW, PERIOD
from ingest.opend.poller import QUOTAS, PollTarget
from ingest.poll_config import PollConfig as PollConfig
from ingest.poll_config import Possible, together
from ingest.poll_queues import Wish
from ingest.rate_limiter import possible_period_s

CALL_OF_FEED = {
    CAPITAL_FLOW.name: ProtoId.GET_CAPITAL_FLOW,
    CAPITAL_DISTRIBUTION.name: ProtoId.GET_CAPITAL_DISTRIBUTION,
    ARK_DYNAMIC.name: ProtoId.GET_ARK_STOCK_DYNAMIC,
}
"""The polled feeds; each is named after its table."""
FEED_OF_CALL: dict[int, str] = {call: feed for feed, call in CALL_OF_FEED.items()}


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
