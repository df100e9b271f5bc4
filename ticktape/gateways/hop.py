"""The first hop: the gateways of this worker and the pipeline that takes their rows to the journal."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import structlog

from codec.clock import MarketClock
from codec.markets import MARKET_PREFIXES, parse_symbol
from codec.tables import TICKS
from codec.warm import warm
from ingest.ledger import GAP_STATES
from ingest.market_hours import MarketHours
from ingest.pipeline import TickPipeline
from sinks.threads import Threads
from ticktape.gateways.flow_list import FlowListGateways
from ticktape.gateways.kinds import Gateway, Kind, Shared, subscriptions_of
from ticktape.gateways.longport import LongPortGateways
from ticktape.gateways.opend import OpenDGateways
from ticktape.hops import JournalHop, quantiles
from ticktape.lost_entries import tell_lost_entries
from ticktape.metrics import Metrics, Sample
from ticktape.settings import GatewaySettings, Settings
from ticktape.settings.model import GATEWAY_KINDS, ScheduleSettings
from ticktape.window_store import JournalWindowStore
from ticktape.wiring import partition_count

log = structlog.get_logger(__name__)

KINDS: dict[str, Callable[[], Kind]] = {
    "opend": OpenDGateways,
    "longport": LongPortGateways,
    "flow-list": FlowListGateways,
}
"""By `kind`, as configured."""
assert set(KINDS) == set(GATEWAY_KINDS)

_CALENDAR_ENDS_SOON = datetime.timedelta(days=14)


class GatewaysHop:
    """Every gateway of this worker. Raises BadSettings where the key of one cannot be used."""

    name = "gateways"

    def __init__(self, settings: Settings, journal: JournalHop) -> None:
        self._settings = settings
        self._journal = journal
        self._kinds = {name: make() for name, make in KINDS.items() if any(g.kind == name for g in settings.gateway)}
        # Keys are read once; those of a named worker may be another machine's, so not before our own name is known.
        self._read_keys([each for each in settings.gateway if each.worker is None])
        self._pipeline: TickPipeline | None = None
        self._gateways: list[Gateway] = []
        self._preparing = Threads(1, "prepare")  # may be left behind when the process ends first

    async def start(self) -> None:
        journal, settings = self._journal.journal, self._settings
        ours = [each for each in settings.gateway if each.worker in (None, journal.worker)]
        kinds = {each.kind for each in ours}
        clock, hours = await self._preparing.run(_prepare, settings.schedule, kinds)
        pipeline = TickPipeline(
            journal.append,
            partition_count=partition_count(settings),
            windows=JournalWindowStore(journal),
            clock=clock,
        )
        self._read_keys([each for each in ours if each.worker is not None])
        if not ours:
            log.warning("no gateway is for this worker: it waits, and receives nothing", worker=journal.worker)
        shared = Shared(journal, pipeline, clock, hours)
        made = [gateway for kind in self._kinds.values() for gateway in await kind.make(settings, shared)]
        places = {each.name: place for place, each in enumerate(ours)}
        self._gateways = sorted(made, key=lambda gateway: places[gateway.name])
        _warn_of_old_calendars(_polled_markets(settings, ours), hours or {})
        sources = {each.source for each in ours}
        await asyncio.to_thread(
            tell_lost_entries, journal, self._journal.next_reader, sources, partition_count(settings)
        )
        await pipeline.start()
        self._pipeline = pipeline
        for gateway in self._gateways:
            await gateway.start()

    async def stop(self, drain_s: float) -> None:
        for gateway in self._gateways:
            await gateway.stop()
        for kind in self._kinds.values():
            await kind.stop()
        if self._pipeline is not None:
            await self._pipeline.stop(drain_s)

    async def wait(self) -> None:
        """Gateways try again for ever; raises what keeps the pipeline from storing, or a gateway from trying."""
        assert self._pipeline is not None, "started before it is waited for"
        await asyncio.gather(self._pipeline.wait(), *(gateway.wait() for gateway in self._gateways))

    def reconfigure(self, settings: Settings) -> None:
        """Other subscriptions are wanted; gateways stay those of the start."""
        self._settings = settings
        for kind in self._kinds.values():
            kind.reconfigure(settings)

    def _read_keys(self, gateways: Sequence[GatewaySettings]) -> None:
        for kind in self._kinds.values():
            kind.read_keys(gateways)

    def trouble(self) -> str | None:
        if self._pipeline is None:
            return "starting"
        if self._pipeline.stats.journal_full_since_ns is not None:
            return "the journal takes nothing: nothing is read from the gateways"
        return None

    def readiness(self) -> dict[str, bool]:
        """Whether each gateway streams what it was asked for."""
        return {gateway.name: gateway.ready for gateway in self._gateways}

    def gateways_status(self) -> dict[str, dict[str, object]]:
        """What each gateway says of itself."""
        return {gateway.name: gateway.status() for gateway in self._gateways}

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
            name = gateway.name
            yield Metrics.GATEWAY_UP, (name,), float(gateway.up)
            yield Metrics.GATEWAY_LOGGED_IN, (name,), float(gateway.logged_in)
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


def _prepare(schedule: ScheduleSettings, kinds: Collection[str]) -> tuple[MarketClock, dict[int, MarketHours] | None]:
    """What takes seconds and must not hold up the loop: compiling kernels, reading the calendars."""
    from ingest.calendar import market_hours, us_days  # pandas: seconds that commands without gateways need not spend

    warm(kinds)
    hours = None
    if schedule.calendar == "auto":
        today = datetime.datetime.now(datetime.UTC).date()
        hours = market_hours(today, closed=schedule.closed, open_=schedule.open)
    return MarketClock(us_days()), hours


def _polled_markets(settings: Settings, gateways: Sequence[GatewaySettings]) -> set[int]:
    """Of symbols that have a feed which is asked for at its market's hours."""
    return {
        parse_symbol(symbol)[0]
        for gateway in gateways
        for subscription in subscriptions_of(settings, gateway)
        if set(subscription.feeds) - {TICKS.name}
        for symbol in subscription.symbols
    }


def _warn_of_old_calendars(polled: Collection[int], hours: Mapping[int, MarketHours]) -> None:
    """Say where polls will soon go, or go already, by weekdays only."""
    soon = datetime.datetime.now(datetime.UTC).date() + _CALENDAR_ENDS_SOON
    for market, each in hours.items():
        if market in polled and each.known_until < soon:
            log.warning(
                "the exchange calendar ends: from then on every weekday counts as open; update exchange_calendars",
                market=MARKET_PREFIXES[market],
                ends=str(each.known_until),
            )
