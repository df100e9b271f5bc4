"""What a gateway polls: its plan, its poller, and what becomes of the answers for the schedule."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from codec.flow_columns import FlowBuffer
from codec.opend.protocol import ProtoId
from codec.opend.replies import FlowLines, GatewayError, OneRow
from ingest.market_hours import MarketHours
from ingest.market_watch import MarketWatch
from ingest.opend.poll_plan import PollConfig, poll_wishes, possible_periods
from ingest.opend.poller import QUOTAS, Poller, PollTarget, is_frequency_error
from ingest.opend.requests import Security
from ingest.poll_config import parts_status, possible_status
from ingest.poll_news import PollNews
from ingest.poll_schedule import PollSchedule
from ingest.quota_keeper import QuotaKeeper


class GatewayPolls:
    """The polls of one gateway, over all its connections.

    Parameters
    ----------
    share : our part of the login's request quotas
    quotas : of all logins
    hours : regular hours by market number, outside of which polls pause; None: around the clock
    market_state : what the gateway says of a market, by its number; None while it says nothing
    latest_us : greatest time of a symbol's ticks
    log : the gateway's

    Attributes
    ----------
    poller : for the connection
    """

    def __init__(
        self,
        polls: Iterable[PollConfig],
        share: float,
        quotas: QuotaKeeper,
        hours: Mapping[int, MarketHours] | None,
        *,
        market_state: Callable[[int], int | None],
        latest_us: Callable[[Security], int],
        rng: random.Random,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._share, self._hours, self._log = share, hours, log
        self._quotas = quotas
        self._news = PollNews[PollTarget]()
        now_s = time.time()
        watches = {
            market: MarketWatch(of_market, partial(market_state, market), now_s)
            for market, of_market in (hours or {}).items()
        }
        shares = {call: of_call[0].scaled(share) for call, of_call in QUOTAS.items()}
        self.poller = Poller(PollSchedule[PollTarget](shares, watches, lambda target: latest_us(target.security)), rng)
        self.want(polls)

    def want(self, polls: Iterable[PollConfig]) -> None:
        """Poll these from now on, and say how often that is possible."""
        by_calendar = self._hours is not None
        self._wishes = poll_wishes(polls, by_calendar=by_calendar)
        self._possible = possible_periods(self._wishes, self._share, by_calendar=by_calendar)
        self.poller.want(self._wishes, time.monotonic_ns())
        for possible in self._possible:
            self._log.info("polls", feed=possible.feed, possible=str(possible))

    def connected(self, login_user_id: int) -> None:
        """A session of this login is ready."""
        self.poller.connected(self._quotas.of(login_user_id, self._share), time.monotonic_ns())

    def disconnected(self) -> None:
        """A session is over, or there was none."""
        self.poller.disconnected(time.monotonic_ns())

    def asked(self) -> None:
        """Requests went out."""
        self._quotas.replenish()

    def lines(self, target: PollTarget, answer: FlowLines, flows: FlowBuffer) -> None:
        """A target was answered with flow lines."""
        self._ended(target, changed=self._news.lines(target, flows, answer.first_row, answer.rows))

    def row(self, target: PollTarget, answer: OneRow) -> None:
        """A target was answered with one row."""
        self._ended(target, changed=self._news.row(target, answer.row))

    def nothing(self, target: PollTarget) -> None:
        """A target was answered with what is of no use."""
        self.poller.came_to_nothing(target, time.monotonic_ns())

    def refused(self, target: PollTarget, error: GatewayError) -> bool:
        """The gateway answered an error; whether it was that too many requests were made."""
        now_ns = time.monotonic_ns()
        if not is_frequency_error(error.text):
            self.poller.ended(target, now_ns, refused=True)
            return False
        delay_s = self.poller.too_frequent(target, now_ns)
        self._log.warning(
            "the quota is used up though we kept within it: does another program use the login? see quota_share",
            call=target.proto_id.name.lower(),
            gateway_says=error.text,
            waiting_s=round(delay_s, 1),
        )
        return True

    def quota_used(self) -> dict[str, float]:
        """How much of each polled call's quota is in use, 1.0 for all of it."""
        return {
            ProtoId(call).name.lower(): ratio for call, ratio in self.poller.quota_used(time.monotonic_ns()).items()
        }

    def status(self) -> dict[str, object]:
        """What `ticktape status` shows of polls."""
        return possible_status(self._possible) | parts_status(self.poller.parts)

    def __len__(self) -> int:
        return len(self._wishes)

    def _ended(self, target: PollTarget, *, changed: bool) -> None:
        self.poller.ended(target, time.monotonic_ns(), changed=changed)
