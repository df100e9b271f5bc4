"""What a LongPort gateway polls: its plan, its poller, and what becomes of the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from codec.flow_columns import FlowBuffer
from codec.longport.replies import FlowLines, OneRow
from codec.markets import Security
from ingest.longport.limits import CALLS
from ingest.longport.poll_plan import POLLS, PollTarget, poll_wishes, possible_periods
from ingest.longport.poller import Poller
from ingest.market_hours import MarketHours
from ingest.market_watch import MarketWatch
from ingest.poll_config import PollConfig, parts_status, possible_status
from ingest.poll_news import PollNews
from ingest.poll_schedule import PollSchedule


class GatewayPolls:
    """The polls of one gateway, over all its connections.

    Parameters
    ----------
    hours : regular hours by market number, outside of which polls pause; None: around the clock. LongPort says
        nothing of its markets
    latest_us : greatest time of a symbol's ticks
    log : the gateway's

    Attributes
    ----------
    poller : for the connection
    """

    def __init__(
        self,
        polls: Iterable[PollConfig],
        hours: Mapping[int, MarketHours] | None,
        *,
        latest_us: Callable[[Security], int],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._by_calendar, self._log = hours is not None, log
        self._news = PollNews[PollTarget]()
        now_s = time.time()
        watches = {market: MarketWatch(of_market, _says_nothing, now_s) for market, of_market in (hours or {}).items()}
        schedule = PollSchedule[PollTarget]({POLLS: CALLS}, watches, lambda target: latest_us(target.security))
        self.poller = Poller(schedule)
        self.want(polls)

    def want(self, polls: Iterable[PollConfig]) -> None:
        """Poll these from now on, and say how often that is possible."""
        self._wishes = poll_wishes(polls)
        self._possible = possible_periods(self._wishes, by_calendar=self._by_calendar)
        self.poller.want(self._wishes, time.monotonic_ns())
        for possible in self._possible:
            self._log.info("polls", feed=possible.feed, possible=str(possible))

    def lines(self, target: PollTarget, answer: FlowLines, flows: FlowBuffer) -> None:
        """A target was answered with flow lines."""
        changed = self._news.lines(target, flows, answer.first_row, answer.rows)
        self.poller.ended(target, time.monotonic_ns(), changed=changed)

    def row(self, target: PollTarget, answer: OneRow) -> None:
        """A target was answered with one row."""
        self.poller.ended(target, time.monotonic_ns(), changed=self._news.row(target, answer.row))

    def nothing(self, target: PollTarget) -> None:
        """A target was answered with what is of no use."""
        self.poller.came_to_nothing(target, time.monotonic_ns())

    def status(self) -> dict[str, object]:
        """What `ticktape status` shows of polls."""
        return possible_status(self._possible) | parts_status(self.poller.parts)

    def __len__(self) -> int:
        return len(self._wishes)


def _says_nothing() -> None:
    return None
