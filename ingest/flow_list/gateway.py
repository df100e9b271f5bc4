"""A capital-flow list as configured: polled for ever, its troubles counted, logged and written down."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from codec.clock import MarketClock
from codec.flow_list import DeadRow, Reaction
from codec.markets import MARKET_PREFIXES
from codec.tables import CAPITAL_FLOW_SUMMARY
from ingest.dead_letters import DeadLetters
from ingest.flow_list.client import FlowListClient, FlowListConfig
from ingest.flow_list.outcomes import HttpRefused, Listed, NoAnswer, Outcome, Refused, Unreadable, outcome_word
from ingest.flow_list.plan import Plan, plan_batches
from ingest.flow_list.polls import FlowListPolls
from ingest.market_hours import MarketHours
from ingest.market_watch import MarketWatch
from ingest.pipeline import TickPipeline
from ingest.running import Running

CALL = "capital_flow_list"
FEED = CAPITAL_FLOW_SUMMARY.name

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FlowListStats:
    """Counters of one gateway; read by the exporter."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (call, outcome): outcome is ok, refused, unreadable, too_frequent, http_error, timeout or unreachable."""
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (feed, reason)."""
    ret_codes: Counter[int] = field(default_factory=Counter)
    """Of the server's own errors."""
    http_statuses: Counter[int] = field(default_factory=Counter)
    """That are not 2xx."""
    rows: int = 0


class FlowListGateway:
    """Polls one flow list; tries again for ever, but for what can never succeed.

    Parameters
    ----------
    hours : regular hours by market number, outside of which polls pause; None: around the clock
    client : asks the server; None: one over HTTP
    """

    def __init__(
        self,
        config: FlowListConfig,
        pipeline: TickPipeline,
        clock: MarketClock,
        *,
        hours: Mapping[int, MarketHours] | None = None,
        client: FlowListClient | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.stats = FlowListStats()
        # A lane without ticks: by it the ledger says of this source too when the journal was full.
        pipeline.lane(config.source)
        self._pipeline = pipeline
        self._client = client or FlowListClient(config, clock.for_another_thread())
        now_s = time.time()
        watches = {market: MarketWatch(of_market, lambda: None, now_s) for market, of_market in (hours or {}).items()}
        self._polls = FlowListPolls(watches, rng or random.Random())
        self._log = log.bind(gateway=config.name)
        self._dead_letters = DeadLetters(config.name, pipeline, self._log, self.stats.dead_letters)
        self._woken = asyncio.Event()
        self._running = Running()
        self._last_error = "not asked yet"
        self._failing = False
        self._refused_logged: set[str] = set()
        self._plan = self._want()

    @property
    def name(self) -> str:
        """As configured."""
        return self.config.name

    @property
    def ready(self) -> bool:
        """Whether every symbol was asked for, and the server gave a list the last time."""
        return self._polls.ready

    @property
    def up(self) -> bool:
        """Whether the last answer was one, a list or an error of the server's own."""
        return self._polls.up

    @property
    def logged_in(self) -> bool:
        """Whether the server takes our requests."""
        return self.up and self._polls.stopped is None

    @property
    def gave_up(self) -> bool:
        """Whether something is not asked for any more that may be tried again."""
        return self._polls.gave_up

    def reconfigure(self, config: FlowListConfig) -> None:
        """Other symbols are wanted, or what had been given up is to be tried again."""
        self.config = config
        self._plan = self._want()
        self._woken.set()

    def quota_used(self) -> dict[str, float]:
        """Nothing is known of a quota."""
        return {}

    async def start(self) -> None:
        self._running.begin(self._run(), f"gateway {self.name}")

    async def wait(self) -> None:
        """Return once stopped; a gateway tries again for ever, so what this raises is a mistake of ours."""
        await self._running.wait()

    async def stop(self) -> None:
        await self._running.stop()

    def status(self) -> dict[str, object]:
        """What `ticktape status` shows of this gateway."""
        intervals_s = [wish.interval_s for wish in self._plan.wishes.values()]
        return {
            "kind": "flow-list",
            "source": self.config.source,
            "address": self.config.address,
            "up": self.up,
            "ready": self.ready,
            "logged_in": self.logged_in,
            "trouble": self._trouble(),
            "refused": dict(self._polls.refused),
            "polled": self._plan.symbols,
            "polls": {
                FEED: {
                    "targets": self._plan.symbols,
                    "at_close": 0,
                    "interval_s": min(intervals_s, default=0.0),
                    "period_s": min(intervals_s, default=0.0),
                    "requests": len(intervals_s),
                }
            },
            "polled_markets": {
                MARKET_PREFIXES.get(market, str(market)): part.name.lower()
                for market, part in self._polls.parts.items()
            },
            "requests": {outcome: count for (_, outcome), count in self.stats.requests.items()},
            "rows": self.stats.rows,
            "notices": self._client.noticed(),
            "ret_codes": {str(code): count for code, count in self.stats.ret_codes.items()},
            "http_statuses": {str(status): count for status, count in self.stats.http_statuses.items()},
            "dead_letters": {reason: count for (_, reason), count in self.stats.dead_letters.items()},
            "last_error": None if self.up else self._trouble() or self._last_error,
        }

    def _trouble(self) -> str | None:
        """What keeps rows from coming although the server answers."""
        if (why := self._polls.stopped) is not None:
            return f"{why}; nothing is asked until the configuration is mended and read again (SIGHUP) or we start anew"
        return self._last_error if self._failing else None

    def _want(self) -> Plan:
        plan = plan_batches(self.config.wanted, self.config.batch_max)
        self._polls.want(plan, time.monotonic_ns())
        self._refused_logged.clear()
        self._say_refused()
        self._log.info("polls", feed=FEED, symbols=plan.symbols, requests=len(plan.wishes))
        return plan

    async def _run(self) -> None:
        async with self._client:
            while True:
                await self._room()
                symbols = self._polls.next_symbols(time.monotonic_ns(), time.time())
                if symbols is None:
                    await self._sleep()
                    continue
                outcome = await self._client.ask(symbols)
                self._polls.took(outcome, time.monotonic_ns())
                self._took(outcome)

    async def _room(self) -> None:
        """Ask nothing while too many rows wait."""
        while self._pipeline.rows_full:
            room = asyncio.Event()
            self._pipeline.when_room(room.set)
            await room.wait()

    async def _sleep(self) -> None:
        """Until something is due, or other symbols are wanted."""
        deadline_ns = self._polls.deadline_ns()
        delay_s = None if deadline_ns is None else max(deadline_ns - time.monotonic_ns(), 0) / 1e9
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        self._woken.clear()

    def _took(self, outcome: Outcome) -> None:
        """Count, store and tell what came of a request."""
        self.stats.requests[CALL, outcome_word(outcome)] += 1
        match outcome:
            case Listed():
                self._listed(outcome)
            case Refused():
                self.stats.ret_codes[outcome.error.ret_code] += 1
            case Unreadable():
                batch = outcome.batch
                self._dead_letters.put(FEED, batch.reason, batch.detail, outcome.payload, outcome.payload_bytes)
            case HttpRefused():
                self.stats.http_statuses[outcome.status] += 1
            case NoAnswer():
                pass
        self._tell(outcome)

    def _listed(self, listed: Listed) -> None:
        flows = listed.flows
        self.stats.rows += len(flows.rows)
        self._pipeline.append_rows(FEED, flows.rows)
        for dead in flows.dead:
            self._dead_row(dead)

    def _dead_row(self, dead: DeadRow) -> None:
        detail, payload = self._client.hide(dead.detail), self._client.hide_bytes(dead.payload)
        self._dead_letters.put(FEED, "bad_row", detail, payload, len(dead.payload))

    def _tell(self, outcome: Outcome) -> None:
        """One line when it begins to fail, for each new reason, and when it is over."""
        self._say_refused()
        if self._polls.ready:
            if self._failing:
                self._log.info("answers with lists again")
            self._failing = False
        if isinstance(outcome, Listed) or (isinstance(outcome, Refused) and outcome.error.reaction is Reaction.SPLIT):
            return
        reason = str(outcome)
        if self._polls.stopped is not None:
            remedy = "correct the gateway's url, method, market or headers_file"
            self._log.error(
                "nothing is asked any more: the server will never answer this", reason=reason, remedy=remedy
            )
        elif not self._failing or reason != self._last_error:
            self._log.warning("no list; trying again", reason=reason)
        self._failing, self._last_error = True, reason

    def _say_refused(self) -> None:
        for symbol, reason in self._polls.refused.items():
            if symbol not in self._refused_logged:
                self._refused_logged.add(symbol)
                self._log.error("symbol refused; the others go on", symbol=symbol, reason=reason)
