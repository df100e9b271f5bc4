"""The hops of a daemon, each as the daemon sees it: started, stopped, asked how it is.

A hop wraps one piece of an edge and adds nothing but this face; what it counts, it reads from the
piece's own stats when somebody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import structlog

from codec.errors import TicktapeError
from codec.histogram import LatencyHistogram
from sinks.clickhouse import ClickHouse
from sinks.journal import Journal, JournalReader
from sinks.journal_log import JournalRecordLog
from sinks.kafka import KafkaConfig
from sinks.kafka_log import KafkaRecordLog
from sinks.record_log import RecordLogBroken
from sinks.relay import RELAY_READER_NAME, Relay
from sinks.writer import Writer
from ticktape.backlog import Backlog
from ticktape.metrics import Metrics, Sample
from ticktape.settings import Settings

_RESTART_S = 5.0
"""Between attempts of a writer that cannot go on by itself, in a daemon that keeps journaling."""

log = structlog.get_logger(__name__)


class Hop(Protocol):
    """One step on the way of the data."""

    name: str

    async def start(self) -> None:
        """Begin. Raises TicktapeError for what makes it useless to go on at all."""

    async def stop(self, drain_s: float) -> None:
        """Finish what is held within `drain_s`, then let go of everything; also after a failed start."""

    async def wait(self) -> None:
        """Return never; raises what makes it useless to go on."""

    def trouble(self) -> str | None:
        """Why rows do not get through just now; None when they do."""

    def status(self) -> dict[str, Any]:
        """What there is to know, as JSON."""

    def samples(self) -> Iterator[Sample]:
        """What it counts, for `/metrics`."""


class JournalHop:
    """The journal, which this process appends to."""

    name = "journal"

    def __init__(self, settings: Settings, readers: tuple[str, ...]) -> None:
        """`readers` are those that trimming waits for; the first of them is the next hop's."""
        self._settings = settings
        self.next_reader = readers[0]
        self._readers = readers
        self._journal: Journal | None = None
        self._backlog = Backlog()

    @property
    def journal(self) -> Journal:
        assert self._journal is not None, "the journal is started first"
        return self._journal

    @property
    def worker(self) -> str | None:
        """The worker's name, once the journal is open."""
        return self._journal.worker if self._journal is not None else None

    @property
    def rows_total(self) -> int:
        """Rows appended since the journal was made; 0 while it is being opened."""
        return self._journal.rows_total if self._journal is not None else 0

    def lag_s(self, rows_done: int) -> float:
        """Age of the oldest row behind the first `rows_done`, counted from when it was journaled."""
        self._note()
        return self._backlog.age_s(rows_done, time.monotonic())

    def _note(self) -> None:
        self._backlog.note(self.rows_total, time.monotonic())

    async def start(self) -> None:
        settings = self._settings.journal
        self._journal = await asyncio.to_thread(
            Journal.open,
            settings.path,
            bytes_max=settings.max_bytes,
            free_bytes_min=settings.min_free_bytes,
            durability=settings.durability,
            worker=self._settings.worker.name,
            readers=self._readers,
        )
        self._note()
        self._journal.appended.append(self._note)
        report = self._journal.report
        if not report.clean:
            log.warning(
                "the journal was mended",
                path=str(settings.path),
                torn_bytes=report.torn_bytes,
                damaged=[str(part) for part in report.damaged],
                control_set_aside=report.control_set_aside and str(report.control_set_aside),
            )

    async def stop(self, drain_s: float) -> None:
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)

    async def wait(self) -> None:
        await asyncio.Event().wait()

    def trouble(self) -> str | None:
        return None if self._journal is not None else "opening"

    def status(self) -> dict[str, Any]:
        journal = self._journal
        if journal is None:
            return {"path": str(self._settings.journal.path)}
        return {
            "path": str(journal.path),
            "id": journal.id,
            "bytes": journal.size_bytes,
            "bytes_max": self._settings.journal.max_bytes,
            "next_offset": journal.next_offset,
            "rows": journal.rows_total,
        }

    def samples(self) -> Iterator[Sample]:
        if self._journal is not None:
            yield Metrics.JOURNAL_BYTES, (), self._journal.size_bytes


class RelayHop:
    """The relay, in its own thread, over the journal of this process."""

    name = "relay"

    def __init__(self, journal: JournalHop, kafka: KafkaConfig) -> None:
        self._journal = journal
        self._kafka = kafka
        self._reader: JournalReader | None = None
        self._relay: Relay | None = None

    async def start(self) -> None:
        journal = self._journal.journal
        self._reader = await asyncio.to_thread(JournalReader, journal.path, RELAY_READER_NAME)
        self._relay = Relay(self._reader, self._kafka, journal.worker)
        self._relay.start()
        journal.appended.append(self._relay.wake)

    async def stop(self, drain_s: float) -> None:
        if self._relay is not None:
            await asyncio.to_thread(self._relay.stop, drain_s)
        if self._reader is not None:
            self._reader.close()

    async def wait(self) -> None:
        await asyncio.Event().wait()

    def trouble(self) -> str | None:
        return self._relay.stats.trouble if self._relay is not None else "starting"

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = {"bootstrap_servers": self._kafka.bootstrap_servers}
        if self._relay is not None:
            stats = self._relay.stats
            status |= {
                "rows": dict(stats.published_rows),
                "in_flight_rows": self._relay.in_flight_rows,
                "lag_rows": self.lag_rows(),
                "last_trouble": stats.last_trouble,
                "latency_s": quantiles(stats.latency),
            }
        return status

    def samples(self) -> Iterator[Sample]:
        if self._relay is None:
            return
        for table, rows in tuple(self._relay.stats.published_rows.items()):
            yield Metrics.ROWS, ("published", table), rows
        yield Metrics.LAG_ROWS, ("journal",), self.lag_rows()
        yield Metrics.LAG_SECONDS, ("journal",), self._journal.lag_s(self._journal.rows_total - self.lag_rows())
        yield Metrics.LATENCY, ("kafka",), self._relay.stats.latency

    def lag_rows(self) -> int:
        """Rows journaled and not acknowledged by Kafka."""
        assert self._relay is not None, "asked for once it is started"
        return self._relay.lag_rows(self._journal.journal.rows_total)


class WriterHop:
    """The writer, started again when it gives up, unless it is all that this process is for.

    Parameters
    ----------
    make_log : what it reads, opened anew for each attempt
    journal : where it reads the journal of this process
    ends_with_it : whether an error that neither waiting nor a log opened anew can mend ends the process
    """

    name = "writer"

    def __init__(
        self,
        make_log: Callable[[], JournalRecordLog | KafkaRecordLog],
        clickhouse: ClickHouse,
        *,
        journal: JournalHop | None,
        ends_with_it: bool,
    ) -> None:
        self._make_log = make_log
        self._journal = journal
        self._clickhouse = clickhouse
        self._ends_with_it = ends_with_it
        self._gave_up: str | None = None
        self._log = make_log()
        self._writer = Writer(self._log, clickhouse)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep_writing(), name="writer hop")

    async def stop(self, drain_s: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            await self._writer.stop(drain_s)
        await asyncio.to_thread(self._clickhouse.close)

    async def wait(self) -> None:
        """Return never while it goes on; raises what ends the process."""
        assert self._task is not None, "started before it is waited for"
        await asyncio.shield(self._task)

    def trouble(self) -> str | None:
        stats = self._writer.stats
        trouble = stats.clickhouse.trouble or stats.record_log.trouble
        return trouble if stats.started else (trouble or self._gave_up or "starting")

    def status(self) -> dict[str, Any]:
        stats = self._writer.stats
        return {
            "clickhouse": self._clickhouse.config.url,
            "database": self._clickhouse.database,
            "rows": dict(stats.stored_rows),
            "inserts": stats.inserts,
            "lag_rows": self.lag_rows(),
            "lag_s": round(self._writer.lag_s(time.time_ns()), 3),
            "latency_s": quantiles(stats.latency),
        }

    def samples(self) -> Iterator[Sample]:
        stats = self._writer.stats
        for table, rows in tuple(stats.stored_rows.items()):
            yield Metrics.ROWS, ("stored", table), rows
        for (feed, reason), count in tuple(stats.dead_letters.items()):
            yield Metrics.DEAD_LETTERS, (feed, reason), count
        for hop, rows in self.lag_rows().items():
            yield Metrics.LAG_ROWS, (hop,), rows
        yield Metrics.LAG_SECONDS, ("clickhouse",), self._writer.lag_s(time.time_ns())
        if self._journal is not None and isinstance(self._log, JournalRecordLog):
            yield Metrics.LAG_SECONDS, ("journal",), self._journal.lag_s(self._log.committed_rows_total)
        yield Metrics.LATENCY, ("clickhouse",), stats.latency

    def lag_rows(self) -> dict[str, int]:
        """Rows that wait, by the hop where they do; what it reads in another process is left to that."""
        lags = {"clickhouse": self._writer.stats.held_rows}
        if isinstance(self._log, KafkaRecordLog):
            lags["kafka"] = self._log.lag_rows()
        elif self._journal is not None:
            lags["journal"] = max(self._journal.rows_total - self._log.committed_rows_total, 0)
        return lags

    async def _keep_writing(self) -> None:
        while True:
            self._writer.start()
            try:
                await self._writer.wait()
            except TicktapeError as error:
                if self._ends_with_it and not isinstance(error, RecordLogBroken):
                    raise
                if self._gave_up != str(error):
                    log.error("the writer cannot go on; rows stay where they are until it can", error=str(error))
                self._gave_up = str(error)
            await self._writer.stop(0)
            await asyncio.sleep(_RESTART_S)
            self._log = self._make_log()
            self._writer = Writer(self._log, self._clickhouse)


def quantiles(latency: LatencyHistogram) -> dict[str, float | None]:
    """The median and the 99th percentile, seconds; None before the first row."""
    return {"p50": latency.quantile_s(0.5), "p99": latency.quantile_s(0.99)}
