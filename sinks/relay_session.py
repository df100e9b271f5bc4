"""The life of two producers: from their transactional ids to the first thing that they cannot mend.

Rule 1: records and the position behind them are in one transaction, so Kafka's readers see both or
    neither. The position read from Kafka is the one that counts; the journal's own is for trimming.
Rule 2: both ids are initialised before the position is read. From then on nobody who used them
    before, here or elsewhere, can change it.
Rule 3: the producers take turns: one sends while the other's transaction is being committed. A
    transaction is begun only when all records of the one before it are acknowledged, and committed
    only when that one is; so records of a partition stay in the journal's order.
Rule 4: a transaction that fails ends the session. New producers abort what was left open, and the
    position says where to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable

import numpy as np
import structlog
from aiokafka import AIOKafkaProducer

from codec.errors import TicktapeError
from codec.tables import TABLES
from sinks.journal import ControlStateError, Entry, JournalReader
from sinks.kafka import KafkaConfig, KafkaUnavailable
from sinks.relay_errors import KafkaRefuses, TopicsMissing
from sinks.relay_kafka import IN_FLIGHT_BYTES_MAX, failure, probe
from sinks.relay_progress import RelayProgress
from sinks.relay_stats import RelayStats
from sinks.relay_transaction import Batch, Names, Transaction

READ_BYTES = 4 << 20
"""Read from the journal and cut into batches at a time: some milliseconds in which nothing is sent."""

CUT_S = 0.05
"""A transaction costs some 25 ms whatever it holds, so what comes within this goes together."""
OPEN_S_MAX = 1.0
"""While there is more to be had a transaction goes on for so long, and its end costs little."""
WINDOW_BYTES_FIRST = 64 << 10
WINDOW_BYTES_MAX = 32 << 20
"""Of values sent and not acknowledged: small at first, for Kafka may be slow, and a transaction that is not done
within its time-out is aborted and sent again."""
WINDOWS_MAX = 8
"""In one transaction."""
assert WINDOW_BYTES_MAX + READ_BYTES < IN_FLIGHT_BYTES_MAX
_WINDOW_STEP = 4
_QUICK_S, _SLOW_S = 1.5, 2.5

IDLE_S_MAX = 10.0
"""Without records the position is written again after this: it shows others of our name that we are alive."""
POLL_S = 0.02
"""How often the journal is looked at when nobody says that it grew."""
KEEP_S = 0.2
PROBE_S = 1.0
MISSING_PROBES = 3
"""Topics count as missing when so many probes in a row found them so: a broker that starts knows none at first."""
_FIRST_PROBES_S = 0.3
STALL_S = 10.0
"""No acknowledgement for so long is trouble, even when the connection stands."""

log = structlog.get_logger(__name__)


class RelaySession:
    """Sends what is in the journal.

    Parameters
    ----------
    producers : two, started
    progress : at the position that Kafka knows
    stopping : set when the journal should be read to its end, and then no more
    appended : set by whoever knows that the journal grew
    """

    def __init__(
        self,
        producers: list[AIOKafkaProducer],
        reader: JournalReader,
        progress: RelayProgress,
        stats: RelayStats,
        config: KafkaConfig,
        names: Names,
        stopping: asyncio.Event,
        appended: asyncio.Event,
    ) -> None:
        self._producers, self._reader, self._progress, self._stats = producers, reader, progress, stats
        self._config, self._names = config, names
        self._stopping, self._appended = stopping, appended
        self._window_bytes = WINDOW_BYTES_FIRST
        self._held: list[Entry] = []
        self._is_claimed = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kept = -1
        self._heard_s = self._begun_s = time.monotonic()

    async def run(self) -> None:
        """Relay until the end of the journal is committed after `stopping` was set.

        Raises
        ------
        KafkaUnavailable, KafkaRefuses, TransactionLost
            What is not committed must be sent again, by a new session.
        """
        self._reader.seek(self._progress.committed.offset)
        relaying = asyncio.create_task(self._relay())
        others = [asyncio.create_task(work) for work in (self._keep_positions(), self._keep_probing())]
        ends = [producer._sender.sender_task for producer in self._producers]
        try:
            waited = [self._failed, *ends, relaying, *others]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for each in waited:
                if each.done() and (error := each.exception()):
                    raise self._failure(error)
        finally:
            for task in (relaying, *others, self._failed):
                task.cancel()
            await asyncio.gather(relaying, *others, self._failed, return_exceptions=True)
            self._keep_position()

    async def _relay(self) -> None:
        """Transaction after transaction; the first one holds nothing but our claim to the worker's name."""
        turns = itertools.cycle(self._producers)
        committing: asyncio.Task[None] | None = None
        try:
            entries: list[Entry] = []
            while True:
                transaction = Transaction(next(turns), self._config, self._names, self._progress, self._settled)
                self._begun_s = transaction.began_s
                await transaction.begin()
                if entries:
                    await self._fill(transaction, entries)
                await transaction.close()
                if committing is not None:
                    await committing
                committing = asyncio.create_task(self._commit(transaction))
                entries = await self._wait_for_entries()
                if not entries and self._stopping.is_set():
                    return await committing
        finally:
            if committing is not None:
                committing.cancel()
                await asyncio.gather(committing, return_exceptions=True)

    async def _wait_for_entries(self) -> list[Entry]:
        """The next entries; none when stopping, or when it is time to show that we are alive."""
        while not (entries := self._take(is_first=True)):
            if self._stopping.is_set() or time.monotonic() - self._begun_s > IDLE_S_MAX:
                return []
            await self._growth()
        return entries

    async def _fill(self, transaction: Transaction, entries: list[Entry]) -> None:
        """Send `entries` and what else comes in time."""
        while True:
            await transaction.send(entries)
            await transaction.wait_for_acks(self._window_bytes)
            is_long = transaction.value_bytes >= WINDOWS_MAX * self._window_bytes
            if is_long or time.monotonic() - transaction.began_s > OPEN_S_MAX:
                return
            while not (entries := self._take(is_first=False)):
                if self._held or self._stopping.is_set() or time.monotonic() - transaction.began_s > CUT_S:
                    return
                await self._growth()

    async def _growth(self) -> None:
        """Wait for the journal to grow, or a little while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._appended.wait()

    def _take(self, *, is_first: bool) -> list[Entry]:
        """The next entries that may go into one transaction, as its first ones or behind others.

        Each suspect goes into a transaction of its own, and those before them into others.
        """
        entries, self._held = self._held or self._read(min(self._window_bytes, READ_BYTES)), []
        suspects = self._progress.suspects
        if not entries or entries[0].offset >= suspects.stop:
            return entries
        if entries[0].offset in suspects:
            count = 1 if is_first else 0
        else:
            count = sum(entry.offset < suspects.start for entry in entries)
        self._held = entries[count:]
        return entries[:count]

    def _read(self, bytes_max: int) -> list[Entry]:
        self._appended.clear()
        entries = self._reader.read(bytes_max)
        for missing in self._reader.take_missing():
            self._stats.missing_records += len(missing)
            log.error("journal entries are missing", first=missing.start, next=missing.stop)
        return entries

    async def _commit(self, transaction: Transaction) -> None:
        try:
            await transaction.commit()
        except Exception as error:
            self._fail(self._failure(error))  # at once: the next transaction may be waiting for records to come
            raise
        self._progress.commit(transaction.end)
        self._is_claimed = True
        now_s = self._heard_s = time.monotonic()
        took_s = now_s - transaction.began_s
        if took_s < _QUICK_S:
            self._window_bytes = min(self._window_bytes * _WINDOW_STEP, WINDOW_BYTES_MAX)
        elif took_s > _SLOW_S:
            self._window_bytes = max(self._window_bytes // _WINDOW_STEP, WINDOW_BYTES_FIRST)
        self._stats.published_rows.update(transaction.rows_of_table)
        if transaction.recv_ns:
            self._stats.latency.observe_ns(time.time_ns() - np.array(transaction.recv_ns, np.int64))
        if not self._stats.ready:
            self._stats.report(None)

    def _settled(self, batch: Batch, error: BaseException | None) -> None:
        """Kafka answered."""
        self._heard_s = time.monotonic()
        if error is None or self._failed.done():
            return
        reason = self._failure(error, f"records for {batch.topic}/{batch.partition}")
        if isinstance(reason, KafkaRefuses) and batch.offsets:
            self._progress.suspects = range(batch.offsets[0], batch.offsets[-1] + 1)
        self._fail(reason)

    def _fail(self, reason: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(reason)

    def _failure(self, error: BaseException, what: str = "a transaction") -> BaseException:
        return error if isinstance(error, TicktapeError) else failure(self._config, error, self._producers, what)

    async def _keep_positions(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            self._keep_position()

    def _keep_position(self) -> None:
        """Tell the journal, so that it can trim; what fails now is tried again by the next one."""
        position = self._progress.committed
        if position.offset == self._kept:
            return
        try:
            self._reader.control.put_snapshot(self._reader.name, position.offset, position.encode())
        except ControlStateError as error:
            log.warning("the relay's position could not be kept", error=str(error))
        else:
            self._kept = position.offset

    async def _keep_probing(self) -> None:
        """Report how Kafka is. Raises only for what would send records to wrong places."""
        missing_probes = 0
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                await probe_topics(self._producers[0], self._config)
            except KafkaUnavailable as error:
                self._stats.report(error)
                self._heard_s = time.monotonic()  # silence counts from when it answers again
            except TopicsMissing as error:
                missing_probes += 1
                if missing_probes >= MISSING_PROBES:
                    self._stats.report(error)
            else:
                missing_probes = 0
                self._report_progress()

    def _report_progress(self) -> None:
        """Kafka answers: does it also take records?"""
        if self._is_claimed and not self._progress.in_flight_rows:
            self._heard_s = time.monotonic()
        if time.monotonic() - self._heard_s > STALL_S:
            self._stats.report(
                KafkaRefuses(
                    f"Kafka at {self._config.bootstrap_servers} answers, and acknowledges no record:"
                    " are enough replicas in sync, and its disks not full?"
                )
            )
        elif self._is_claimed:
            self._stats.report(None)


async def first_probe(producer: AIOKafkaProducer, config: KafkaConfig) -> None:
    """See that the topics are fit to be written; a broker that has just started gets a moment to learn of them.

    Raises
    ------
    KafkaUnavailable, TopicsMissing, KafkaRefuses
    """
    for _ in range(MISSING_PROBES - 1):
        try:
            return await probe_topics(producer, config)
        except TopicsMissing:
            await asyncio.sleep(_FIRST_PROBES_S)
    return await probe_topics(producer, config)


def probe_topics(producer: AIOKafkaProducer, config: KafkaConfig) -> Awaitable[None]:
    """See that the topics are as they should be."""
    partitions_of = {config.topic_of(table.name): config.partitions for table in TABLES}
    return probe(producer.client, config, partitions_of | {config.positions_topic: 1})
