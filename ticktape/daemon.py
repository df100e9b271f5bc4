"""`ticktape up`, `ingest` and `sink`: the hops of one process, joined, started, watched and drained."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import structlog
import uvloop

from sinks.clickhouse import ClickHouse
from sinks.journal_log import WRITER_READER_NAME, JournalRecordLog
from sinks.kafka_log import KafkaRecordLog
from sinks.relay import RELAY_READER_NAME
from ticktape.audit.coverage import store_coverage
from ticktape.gateways.hop import GatewaysHop
from ticktape.hops import Hop, JournalHop, RelayHop, WriterHop
from ticktape.http import HttpServer
from ticktape.memory import give_back_large_pieces
from ticktape.metrics import Exposition, Sample
from ticktape.reload import Reloader, SettingsSource
from ticktape.settings import Settings
from ticktape.settings.supported import refuse_unsupported_gateways, refuse_unsupported_stores
from ticktape.window_store import WINDOWS_READER_NAME
from ticktape.wiring import clickhouse_config, kafka_config, revealed

DRAIN_S_MAX = 5.0
"""For all hops together, from the signal on; letting go of connections takes up to 4 s more."""
EXIT_S_MAX = 9.5
"""From the signal on; then the process ends, whatever hangs. What was not drained is in the journal or in Kafka."""
assert DRAIN_S_MAX + 4 < EXIT_S_MAX < 10

log = structlog.get_logger(__name__)


class Role(enum.StrEnum):
    """What a daemon runs; the command's name."""

    UP = "up"
    INGEST = "ingest"
    SINK = "sink"


class Daemon:
    """The hops that a role needs, and the endpoints that tell of them.

    Attributes
    ----------
    clickhouse : what the writer writes to
    hops : in the order in which they start; they stop in reverse, so that each can pass on what it holds
    """

    def __init__(self, settings: Settings, role: Role, source: SettingsSource | None = None) -> None:
        """With `source` the subscriptions follow its files.

        Raises TicktapeError for what can be seen to be wrong before anything starts.
        """
        refuse_unsupported_stores(settings)
        if role is not Role.SINK:
            refuse_unsupported_gateways(settings)
        self._settings = settings
        self._role = role
        self._source = source
        self._reloading: asyncio.Task[None] | None = None
        self._started_at = datetime.now(UTC)
        self._stopping = False
        self.hops: list[Hop] = []
        self.journal: JournalHop | None = None
        self.relay: RelayHop | None = None
        self.writer: WriterHop | None = None
        self.gateways: GatewaysHop | None = None
        self.clickhouse = ClickHouse(clickhouse_config(settings)) if role is not Role.INGEST else None
        self._make_hops()
        http, is_sink = settings.http, role is Role.SINK
        embedded = self.clickhouse if settings.clickhouse.folder is not None else None
        self.http = HttpServer(
            self,
            listen=http.sink_listen if is_sink else http.listen,
            key="sink_listen" if is_sink else "listen",
            probes_listen=http.probes_listen,
            token=revealed(http.token) or "",
            query=embedded.query_async if embedded is not None else None,
            take_coverage=self._take_coverage if embedded is not None else None,
        )
        self._exposition = Exposition(self._samples)

    def _make_hops(self) -> None:
        settings, role = self._settings, self._role
        kafka = kafka_config(settings)
        if role is not Role.SINK:
            next_hop = RELAY_READER_NAME if kafka else WRITER_READER_NAME
            self.journal = JournalHop(settings, (next_hop, WINDOWS_READER_NAME))
            self.hops.append(self.journal)
        if self.clickhouse is not None:
            path = settings.journal.path
            self.writer = WriterHop(
                lambda: KafkaRecordLog(kafka) if kafka else JournalRecordLog(path),
                self.clickhouse,
                journal=self.journal,
                ends_with_it=role is Role.SINK,
            )
            self.hops.append(self.writer)
        if self.journal is not None:
            if kafka is not None:
                self.relay = RelayHop(self.journal, kafka)
                self.hops.append(self.relay)
            self.gateways = GatewaysHop(settings, self.journal)
            self.hops.append(self.gateways)

    async def start(self) -> None:
        """Listen, then start each hop. Raises TicktapeError; `stop` is called in any case."""
        await self.http.start()
        log.info("starting", role=self._role.value, version=version("ticktape"), http=self.http.url)
        reloader = None
        if self._source is not None and self.gateways is not None:
            reloader = Reloader(self._source, self._settings, self.gateways.reconfigure)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask)
        for hop in self.hops:
            await hop.start()
        if reloader is not None:
            self._reloading = asyncio.create_task(reloader.run(), name="reload")
        log.info("started", role=self._role.value)

    async def wait(self) -> None:
        """Return never; raises what makes it useless to go on."""
        watched: list[asyncio.Future[None]] = [asyncio.ensure_future(hop.wait()) for hop in self.hops]
        if self._reloading is not None:
            watched.append(self._reloading)
        try:
            await asyncio.gather(*watched)
        finally:
            for task in watched:
                task.cancel()

    async def stop(self) -> None:
        """Drain the hops within `DRAIN_S_MAX`, from the gateways to the store, then stop listening."""
        self._stopping = True
        if self._reloading is not None:
            self._reloading.cancel()
        deadline_s = time.monotonic() + DRAIN_S_MAX
        for hop in reversed(self.hops):
            try:
                await hop.stop(max(deadline_s - time.monotonic(), 0.0))
            except Exception:  # whatever it is, the hops behind it still hold rows that they can pass on
                log.exception("a hop did not stop as it should", hop=hop.name)
        await self.http.stop()

    async def run(self, stopping: asyncio.Event) -> None:
        """Start, go on until `stopping` is set or a hop ends for good, and stop."""
        try:
            await _until(stopping, self.start())
            await _until(stopping, self.wait())
        finally:
            log.info("stopping", role=self._role.value)
            await self.stop()
            log.info("stopped", role=self._role.value)

    # What the endpoints ask (ticktape.http.Reporter).

    def readiness(self) -> dict[str, Any]:
        hops = {hop.name: hop.trouble() is None for hop in self.hops}
        gateways = self.gateways.readiness() if self.gateways else {}
        ready = not self._stopping and all(hops.values()) and all(gateways.values())
        return {"ready": ready, "hops": hops, "gateways": gateways}

    def status(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "version": version("ticktape"),
            "role": self._role.value,
            "worker": self.journal.worker if self.journal else None,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "uptime_s": round((now - self._started_at).total_seconds(), 1),
            "ready": self.readiness()["ready"],
            "hops": {hop.name: {"trouble": hop.trouble(), **hop.status()} for hop in self.hops},
            "gateways": self.gateways.gateways_status() if self.gateways else {},
        }

    async def _take_coverage(self, stream: bytes) -> None:
        assert self.clickhouse is not None, "asked only where there is a store"
        await asyncio.to_thread(store_coverage, self.clickhouse, pa.py_buffer(stream))

    def metrics(self) -> bytes:
        return self._exposition.text()

    def _samples(self) -> Iterator[Sample]:
        for hop in self.hops:
            yield from hop.samples()


def run_daemon(source: SettingsSource, role: Role) -> None:
    """Run what the files say until SIGTERM or SIGINT. Raises TicktapeError for what makes it useless to go on."""
    settings = source.load()
    give_back_large_pieces()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run_until_signalled(settings, role, source))


async def _run_until_signalled(settings: Settings, role: Role, source: SettingsSource) -> None:
    stopping = asyncio.Event()
    with stop_signals(stopping, exit_s_max=EXIT_S_MAX):
        await Daemon(settings, role, source).run(stopping)


@contextlib.contextmanager
def stop_signals(stopping: asyncio.Event, exit_s_max: float | None = None) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `stopping`; a second one ends the process at once, as if nobody listened.

    With `exit_s_max` the process ends so long after the first one, whatever hangs.
    """
    loop = asyncio.get_running_loop()

    def listen_no_more() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def stop() -> None:
        stopping.set()
        listen_no_more()
        if exit_s_max is not None:
            last_resort = threading.Timer(exit_s_max, os._exit, (0,))
            last_resort.daemon = True
            last_resort.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        listen_no_more()


async def _until(stopping: asyncio.Event, work: Any) -> None:
    """Await `work`, but no longer than until `stopping` is set; then it is cancelled."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.wait([task, stopped])
