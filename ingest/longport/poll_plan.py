"""From what is configured to what is polled of LongPort how often, and how often that can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codec.longport.protocol import Command
from codec.longport.wire_symbols import wire_symbol
from codec.markets import Security, parse_symbol
from codec.tables import CAPITAL_DISTRIBUTION, CAPITAL_FLOW
from ingest.longport.limits import CALLS
from ingest.poll_config import PollConfig, Possible, together
from ingest.poll_queues import Wish
from ingest.rate_limiter import possible_period_s

COMMAND_OF_FEED = {
    CAPITAL_FLOW.name: Command.QUERY_CAPITAL_FLOW_INTRADAY,
    CAPITAL_DISTRIBUTION.name: Command.QUERY_CAPITAL_FLOW_DISTRIBUTION,
}
FEED_OF_COMMAND: dict[int, str] = {command: feed for feed, command in COMMAND_OF_FEED.items()}

POLLS = 0
"""What the schedule knows all of LongPort's polls by: they share the account's calls, so that they take turns."""


@dataclass(frozen=True, slots=True)
class PollTarget:
    """What one poll asks."""

    command: Command
    security: Security


def poll_wishes(polls: Iterable[PollConfig]) -> dict[PollTarget, Wish]:
    """What to poll, and how often; asked for twice, the shorter interval. Symbols that LongPort cannot spell are
    left out."""
    wishes: dict[PollTarget, Wish] = {}
    for poll in polls:
        for security in map(parse_symbol, poll.symbols):
            if wire_symbol(*security) is None:
                continue
            target = PollTarget(COMMAND_OF_FEED[poll.feed], security)
            interval_s = poll.interval_s
            if target in wishes:
                interval_s = min(interval_s, wishes[target].interval_s)
            wishes[target] = Wish(POLLS, security[0], interval_s)
    return wishes


def possible_periods(wishes: Mapping[PollTarget, Wish], *, by_calendar: bool) -> list[Possible]:
    """Of each polled feed. All feeds share the account's calls, and each has its part by its targets."""
    period_s = max(
        (possible_period_s(intervals_s, CALLS) for intervals_s in together(list(wishes.values()), by_calendar)),
        default=0.0,
    )
    found = []
    for feed, command in COMMAND_OF_FEED.items():
        intervals_s = [wish.interval_s for target, wish in wishes.items() if target.command is command]
        if intervals_s:
            shortest_s = min(intervals_s)
            found.append(
                Possible(
                    feed, len(intervals_s), 0, shortest_s, max(period_s, shortest_s), CALLS.requests, CALLS.window_s
                )
            )
    return found
