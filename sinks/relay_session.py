"""One producer's life: from a connected client until it fails or the relay is told to stop.

Rule 1: the position moves only over records that Kafka acknowledged (acks=all).
Rule 2: while Kafka is away, the producer itself tries again, under its own id and sequence
    numbers: that makes no repeats. A session ends only for what the producer cannot mend.
Rule 3: nothing is awaited record by record. What one read of the journal gave is cut into a batch
    for each partition, and what is on its way is bounded by its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from codec.tables import TABLES
from sinks.journal import ControlStateError, Entry, JournalReader
from sinks.kafka import KafkaConfig, KafkaUnavailable, headers_of
from sinks.relay_kafka import IN_FLIGHT_BYTES_MAX, KafkaRefuses, TopicsMissing, probe
from sinks.relay_progress import RelayProgress, Sent
from sinks.relay_stats import RelayStats

READ_BYTES = 4 << 20
"""Read from the journal and cut into batches at a time: some milliseconds in which nothing is sent."""
assert READ_BYTES < IN_FLIGHT_BYTES_MAX

POLL_S = 0.02
"""How often the journal is looked at when nobody says that it grew."""
COMMIT_S = 0.2
PROBE_S = 1.0
MISSING_PROBES = 3
"""Topics count as missing when so many probes in a row found them so: a broker that starts knows none at first."""
_FIRST_PROBES_S = 0.3
STALL_S = 10.0
"""No acknowledgement for so long is trouble, even when the connection stands."""

Ack: TypeAlias = "asyncio.Future[Any]"
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """Records of one partition that travel, and are acknowledged, together."""

    table: str
    topic: str
    partition: int
    builder: BatchBuilder
    sent: list[Sent] = field(default_factory=list)
    recv_ns: list[int] = field(default_factory=list)


class RelaySession:
    """Sends what is in the journal through one producer.

    Parameters
    ----------
    stopping : set when the journal should be read to its end, and then no more
    appended : set by whoever knows that the journal grew
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        reader: JournalReader,
        progress: RelayProgress,
        stats: RelayStats,
        config: KafkaConfig,
        worker: str,
        stopping: asyncio.Event,
        appended: asyncio.Event,
    ) -> None:
        self._producer, self._reader, self._progress, self._stats = producer, reader, progress, stats
        self._config, self._worker = config, worker
        self._stopping, self._appended = stopping, appended
        self._topics = {table.name: config.topic_of(table.name) for table in TABLES}
        self._room = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._latencies_ns: list[int] = []
        self._committed = progress.position
        self._heard_s = time.monotonic()

    async def run(self) -> None:
        """Relay until the end of the journal is acknowledged after `stopping` was set.

        Raises
        ------
        KafkaUnavailable, KafkaRefuses
            What is not acknowledged must be sent again, by a new session.
        """
        self._progress.restart()
        self._reader.seek(self._progress.position)
        await self._first_probe()
        self._stats.report(None)
        sending = asyncio.create_task(self._send_all())
        others = [asyncio.create_task(work) for work in (self._keep_committing(), self._keep_probing())]
        try:
            done, _ = await asyncio.wait([sending, *others, self._failed], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in (sending, *others, self._failed):
                task.cancel()
            await asyncio.gather(sending, *others, self._failed, return_exceptions=True)
            self._commit()

    async def _send_all(self) -> None:
        progress = self._progress
        while True:
            while progress.in_flight_bytes > IN_FLIGHT_BYTES_MAX - READ_BYTES:
                await self._wait_for_ack()
            self._appended.clear()
            entries = self._reader.read(READ_BYTES)
            for missing in self._reader.take_missing():
                self._stats.missing_records += len(missing)
                log.error("journal entries are missing", first=missing.start, next=missing.stop)
            if entries:
                await self._send(entries)
            elif self._stopping.is_set():
                break
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._appended.wait(), POLL_S)
        while progress.oldest is not None:
            await self._wait_for_ack()

    async def _send(self, entries: list[Entry]) -> None:
        """Hand `entries` to the producer, those of one partition in their order."""
        open_batches: dict[tuple[str, int], _Batch] = {}
        for entry in entries:
            record = entry.record
            key = (record.table, record.partition)
            batch = open_batches.get(key)
            if batch is None:
                batch = open_batches[key] = self._new_batch(*key)
            noted = self._progress.send(entry, f"{batch.topic}/{batch.partition}")
            if noted is None:
                continue
            sent, rows_total = noted
            headers = headers_of(record, self._worker, self._reader.journal_id, entry.offset, rows_total)
            timestamp_ms = record.recv_ns // 1_000_000
            if not batch.builder.append(timestamp=timestamp_ms, key=None, value=record.value, headers=headers):
                await self._submit(batch)
                batch = open_batches[key] = self._new_batch(*key)
                batch.builder.append(timestamp=timestamp_ms, key=None, value=record.value, headers=headers)
            batch.sent.append(sent)
            batch.recv_ns.append(record.recv_ns)
        for batch in open_batches.values():
            if batch.sent:
                await self._submit(batch)

    def _new_batch(self, table: str, partition: int) -> _Batch:
        if partition >= self._config.partitions:
            raise KafkaRefuses(
                f"the journal holds records for partition {partition}, [kafka] partitions is"
                f" {self._config.partitions}: set it back to what it was"
            )
        return _Batch(table, self._topics[table], partition, self._producer.create_batch())

    async def _submit(self, batch: _Batch) -> None:
        """Give a batch to the producer, which waits for the one before it to be on its way."""
        batch.builder.close()
        while True:
            try:
                ack: Ack = await self._producer.send_batch(batch.builder, batch.topic, partition=batch.partition)
                break
            except KafkaTimeoutError:
                continue  # Kafka is away for long: nothing was taken
            except KafkaError as error:
                raise self._failure(batch, error) from error
        ack.add_done_callback(partial(self._settle, batch))

    def _settle(self, batch: _Batch, ack: Ack) -> None:
        if ack.cancelled():
            return
        if error := ack.exception():
            if not self._failed.done():
                self._failed.set_exception(self._failure(batch, error))
            return
        now_ns = time.time_ns()
        for sent, recv_ns in zip(batch.sent, batch.recv_ns, strict=True):
            self._progress.ack(sent)
            self._stats.published_rows[batch.table] += sent.rows
            self._latencies_ns.append(now_ns - recv_ns)
        self._heard_s = time.monotonic()
        self._room.set()

    async def _wait_for_ack(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def _keep_committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            self._commit()

    def _commit(self) -> None:
        """Keep the position and the rows counted up to it; what fails now is tried again by the next one."""
        if self._latencies_ns:
            self._stats.latency.observe_ns(np.array(self._latencies_ns, np.int64))
            self._latencies_ns.clear()
        position = self._progress.position
        if position == self._committed:
            return
        try:
            self._reader.control.put_snapshot(self._reader.name, position, self._progress.encode())
        except ControlStateError as error:
            log.warning("the relay's position could not be kept", error=str(error))
        else:
            self._committed = position

    async def _first_probe(self) -> None:
        for _ in range(MISSING_PROBES - 1):
            try:
                return await self._probe()
            except TopicsMissing:
                await asyncio.sleep(_FIRST_PROBES_S)
        return await self._probe()

    async def _probe(self) -> None:
        await probe(self._producer.client, self._config, self._topics.values())

    async def _keep_probing(self) -> None:
        """Report how Kafka is. Raises only for what would send records to wrong places."""
        missing_probes = 0
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                await self._probe()
            except KafkaUnavailable as error:
                self._stats.report(error)
                self._heard_s = time.monotonic()  # silence counts from when it answers again
            except TopicsMissing as error:
                missing_probes += 1
                if missing_probes >= MISSING_PROBES:
                    self._stats.report(error)
            else:
                missing_probes = 0
                self._stats.report(self._stall())

    def _stall(self) -> KafkaRefuses | None:
        """Kafka answers: does it also take records?"""
        if self._progress.oldest is None:
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > STALL_S:
            return KafkaRefuses(
                f"Kafka at {self._config.bootstrap_servers} answers, and acknowledges no record:"
                " are enough replicas in sync, and its disks not full?"
            )
        return None

    def _failure(self, batch: _Batch, error: BaseException) -> KafkaUnavailable | KafkaRefuses:
        if isinstance(error, KafkaError) and error.retriable:
            return KafkaUnavailable(self._config.bootstrap_servers, error)
        why = str(error) or type(error).__name__
        return KafkaRefuses(
            f"Kafka refused records for {batch.topic}/{batch.partition}: {why}; see: ticktape schema diff"
        )
