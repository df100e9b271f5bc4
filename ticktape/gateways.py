"""The first hop: the gateways of this worker and the pipeline that takes their ticks to the journal."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from codec.clock import MarketClock
from codec.markets import MARKET_PREFIXES, parse_symbol
from codec.opend.protocol import SessionChoice
from codec.tables import TICKS
from codec.warm import warm
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.ledger import GAP_STATES
from ingest.market_hours import MarketHours
from ingest.opend.encryption import WireMode
from ingest.opend.poll_plan import CALL_OF_FEED, PollConfig
from ingest.opend.poller import QUOTAS
from ingest.pipeline import TickPipeline
from ingest.quota_keeper import QuotaKeeper
from sinks.threads import Threads
from ticktape.hops import JournalHop, quantiles
from ticktape.keys import wire_mode
from ticktape.metrics import Metrics, Sample
from ticktape.quota_store import JournalQuotaStore
from ticktape.settings import OpenDSettings, Settings, SubscriptionSettings
from ticktape.settings.model import ScheduleSettings
from ticktape.window_store import JournalWindowStore
from ticktape.wiring import partition_count

log = structlog.get_logger(__name__)

_CALENDAR_ENDS_SOON = datetime.timedelta(days=14)


class GatewaysHop:
    """Every gateway of this worker. Raises BadSettings where the key of one cannot be used."""

    name = "gateways"

    def __init__(self, settings: Settings, journal: JournalHop) -> None:
        # Keys are read once; those of a named worker may be another machine's, so not before our own name is known.
        self._wires = {each.name: wire_mode(each) for each in _opends(settings) if each.worker is None}
        self._settings = settings
        self._journal = journal
        self._pipeline: TickPipeline | None = None
        self._gateways: list[OpenDGateway] = []
        self._quotas: QuotaKeeper | None = None
        self._preparing = Threads(1, "prepare")  # may be left behind when the process ends first

    async def start(self) -> None:
        journal = self._journal.journal
        clock, hours = await self._preparing.run(_prepare, self._settings.schedule)
        pipeline = TickPipeline(
            journal.append,
            partition_count=partition_count(self._settings),
            windows=JournalWindowStore(journal),
            clock=clock,
        )
        named = [each for each in _opends(self._settings) if each.worker == journal.worker]
        self._wires |= {each.name: wire_mode(each) for each in named}
        configs = gateway_configs(self._settings, self._wires)
        if not configs:
            log.warning("no gateway is for this worker: it waits, and receives nothing", worker=journal.worker)
        self._quotas = quotas = QuotaKeeper(QUOTAS, JournalQuotaStore(journal))
        await quotas.start()
        self._gateways = [OpenDGateway(config, pipeline, clock, quotas=quotas, hours=hours) for config in configs]
        _warn_of_old_calendars(configs, hours)
        await pipeline.start()
        self._pipeline = pipeline
        for gateway in self._gateways:
            await gateway.start()

    async def stop(self, drain_s: float) -> None:
        for gateway in self._gateways:
            await gateway.stop()
        if self._quotas is not None:
            await self._quotas.stop()
        if self._pipeline is not None:
            await self._pipeline.stop(drain_s)

    async def wait(self) -> None:
        """Gateways try again for ever; raises what keeps the pipeline from storing, or a gateway from trying."""
        assert self._pipeline is not None, "started before it is waited for"
        await asyncio.gather(self._pipeline.wait(), *(gateway.wait() for gateway in self._gateways))

    def reconfigure(self, settings: Settings) -> None:
        """Other subscriptions are wanted; gateways stay those of the start."""
        self._settings = settings
        configs = {config.name: config for config in gateway_configs(settings, self._wires)}
        for gateway in self._gateways:
            if (config := configs[gateway.config.name]) != gateway.config:
                gateway.reconfigure(config)

    def trouble(self) -> str | None:
        if self._pipeline is None:
            return "starting"
        if self._pipeline.stats.journal_full_since_ns is not None:
            return "the journal takes nothing: nothing is read from the gateways"
        return None

    def readiness(self) -> dict[str, bool]:
        """Whether each gateway streams what it was asked for."""
        return {gateway.config.name: gateway.ready for gateway in self._gateways}

    def gateways_status(self) -> dict[str, dict[str, object]]:
        """What each gateway says of itself."""
        return {gateway.config.name: gateway.status() for gateway in self._gateways}

    def status(self) -> dict[str, Any]:
        if self._pipeline is None:
            return {}
        stats = self._pipeline.stats
        return {
            "received": dict(stats.received_rows),
            "repeats": dict(stats.repeat_rows),
            "conflicts": dict(stats.conflicts),
            "rows": dict(stats.journaled_rows),
            "latency_s": quantiles(stats.journal_latency),
        }

    def samples(self) -> Iterator[Sample]:
        if self._pipeline is None:
            return
        stats = self._pipeline.stats
        for table, rows in tuple(stats.received_rows.items()):
            yield Metrics.ROWS, ("received", table), rows
        for table, rows in tuple(stats.repeat_rows.items()):
            yield Metrics.ROWS, ("repeat", table), rows
        for table, rows in tuple(stats.journaled_rows.items()):
            yield Metrics.ROWS, ("journaled", table), rows
        yield Metrics.LATENCY, ("journal",), stats.journal_latency
        for gateway in self._gateways:
            name = gateway.config.name
            yield Metrics.GATEWAY_UP, (name,), float(gateway.up)
            yield Metrics.GATEWAY_LOGGED_IN, (name,), float(gateway.state.logged_in)
            yield Metrics.SEQUENCE_CONFLICTS, (name,), stats.conflicts[name]
            for call, ratio in gateway.quota_used().items():
                yield Metrics.QUOTA_USED, (name, call), ratio
            for (call, outcome), count in tuple(gateway.stats.requests.items()):
                yield Metrics.REQUESTS, (name, call, outcome), count
            for (feed, reason), count in tuple(gateway.stats.dead_letters.items()):
                yield Metrics.DEAD_LETTERS, (feed, reason), count
        gaps = self._pipeline.gap_counts()
        for state in GAP_STATES:
            yield Metrics.GAPS, (state,), gaps[state]


def _opends(settings: Settings) -> Iterator[OpenDSettings]:
    return (gateway for gateway in settings.gateway if isinstance(gateway, OpenDSettings))


def gateway_configs(settings: Settings, wires: Mapping[str, WireMode]) -> list[GatewayConfig]:
    """The gateways that are in `wires`, by name, each with all its symbols, in file order."""
    return [_gateway_config(settings, each, wires[each.name]) for each in _opends(settings) if each.name in wires]


def poll_configs(settings: Settings, gateway: OpenDSettings) -> tuple[PollConfig, ...]:
    """The feeds that this gateway is to be asked for."""
    return tuple(
        PollConfig(feed, subscription.symbols, subscription.poll_interval.total_seconds(), subscription.periods)
        for subscription in settings.subscription
        if subscription.gateway == gateway.name
        for feed in subscription.feeds
        if feed in CALL_OF_FEED
    )


def tick_symbols(settings: Settings, gateway: OpenDSettings) -> tuple[str, ...]:
    """Whose ticks are wanted from a gateway, each once, in file order."""
    return tuple(dict.fromkeys(symbol for each in _tick_subscriptions(settings, gateway) for symbol in each.symbols))


def _tick_subscriptions(settings: Settings, gateway: OpenDSettings) -> list[SubscriptionSettings]:
    return [each for each in settings.subscription if each.gateway == gateway.name and TICKS.name in each.feeds]


def _gateway_config(settings: Settings, gateway: OpenDSettings, wire: WireMode) -> GatewayConfig:
    ticks = _tick_subscriptions(settings, gateway)
    sessions: dict[str, SessionChoice] = {}
    for subscription in ticks:
        session = SessionChoice[subscription.session.upper()]
        for symbol in subscription.symbols:  # asked for twice, the wider one
            sessions[symbol] = max(session, sessions.get(symbol, session))
    pushed = {symbol for each in ticks if each.mode == "push" for symbol in each.symbols}
    tick_polls: dict[str, float] = {}
    for subscription in ticks:
        interval_s = subscription.poll_interval.total_seconds()
        for symbol in subscription.symbols:
            if symbol not in pushed:
                tick_polls[symbol] = min(interval_s, tick_polls.get(symbol, interval_s))
    port = gateway.port
    assert port is not None, "a tcp:// URL names its port"
    return GatewayConfig(
        name=gateway.name,
        source=gateway.source,
        host=gateway.host,
        port=port,
        symbols=tick_symbols(settings, gateway),
        polls=poll_configs(settings, gateway),
        quota_share=gateway.quota_share,
        us_sessions={symbol: session for symbol, session in sessions.items() if session is not SessionChoice.ALL},
        tick_polls=tick_polls,
        quota_reserve=gateway.subscription_quota_reserve,
        wire=wire,
        body_bytes_max=gateway.frame_bytes_max,
    )


def _prepare(schedule: ScheduleSettings) -> tuple[MarketClock, dict[int, MarketHours] | None]:
    """What takes seconds and must not hold up the loop: compiling kernels, reading the calendars."""
    from ingest.calendar import market_hours, us_days  # pandas: seconds that commands without gateways need not spend

    warm(["opend"])
    hours = None
    if schedule.calendar == "auto":
        today = datetime.datetime.now(datetime.UTC).date()
        hours = market_hours(today, closed=schedule.closed, open_=schedule.open)
    return MarketClock(us_days()), hours


def _warn_of_old_calendars(configs: list[GatewayConfig], hours: dict[int, MarketHours] | None) -> None:
    """Say where polls will soon go, or go already, by weekdays only."""
    polled = {parse_symbol(symbol)[0] for config in configs for poll in config.polls for symbol in poll.symbols}
    soon = datetime.datetime.now(datetime.UTC).date() + _CALENDAR_ENDS_SOON
    for market, each in (hours or {}).items():
        if market in polled and each.known_until < soon:
            log.warning(
                "the exchange calendar ends: from then on every weekday counts as open; update exchange_calendars",
                market=MARKET_PREFIXES[market],
                ends=str(each.known_until),
            )
