"""One transaction: records of the journal and, behind them, the position that they reach. All of it or nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from codec.records import Record
from sinks.journal import Entry
from sinks.kafka import KafkaConfig, headers_of
from sinks.relay_errors import KafkaRefuses
from sinks.relay_positions import PARTITION, encode_position
from sinks.relay_progress import Position, RelayProgress

Ack: TypeAlias = "asyncio.Future[Any]"


@dataclass(slots=True)
class Batch:
    """Records of one partition that travel, and are acknowledged, together; offsets are the journal's."""

    topic: str
    partition: int
    builder: BatchBuilder
    offsets: list[int] = field(default_factory=list)
    value_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """Under which names records and positions go out."""

    worker: str
    journal_id: str
    holder: str


class Transaction:
    """Begun, filled, closed with a position, and then either committed or left to whoever takes the producer over.

    Parameters
    ----------
    settled : called with each batch when Kafka has answered, and with what went wrong

    Attributes
    ----------
    value_bytes, unacked_bytes : of the records sent, and of those that Kafka has not acknowledged yet
    began_s : when it was begun, on the monotonic clock
    end : the position behind it, once it is closed
    rows_of_table, recv_ns : its rows, and when its records were received: a time a record
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        config: KafkaConfig,
        names: Names,
        progress: RelayProgress,
        settled: Callable[[Batch, BaseException | None], None],
    ) -> None:
        self.value_bytes = self.unacked_bytes = 0
        self.began_s = time.monotonic()
        self.end: Position = progress.committed
        self.rows_of_table: Counter[str] = Counter()
        self.recv_ns: list[int] = []
        self._producer, self._config, self._names, self._progress = producer, config, names, progress
        self._settled = settled
        self._acks: list[Ack] = []
        self._acked = asyncio.Event()

    async def begin(self) -> None:
        await self._producer.begin_transaction()

    async def send(self, entries: list[Entry]) -> None:
        """Hand `entries` to the producer, those of one partition in their order."""
        open_batches: dict[tuple[str, int], Batch] = {}
        for entry in entries:
            record = entry.record
            key = (record.table, record.partition)
            batch = open_batches.get(key)
            if batch is None:
                batch = open_batches[key] = self._new_batch(*key)
            rows_total = self._progress.send(entry, f"{batch.topic}/{batch.partition}")
            headers = headers_of(record, self._names.worker, self._names.journal_id, entry.offset, rows_total)
            if not _append(batch, record, headers):
                await self._submit(batch)
                batch = open_batches[key] = self._new_batch(*key)
                _append(batch, record, headers)
            batch.offsets.append(entry.offset)
            batch.value_bytes += len(record.value)
            self.rows_of_table[record.table] += record.rows
            self.recv_ns.append(record.recv_ns)
        for batch in open_batches.values():
            await self._submit(batch)

    async def wait_for_acks(self, unacked_bytes_max: int) -> None:
        """Return when no more than this is on its way."""
        while self.unacked_bytes > unacked_bytes_max:
            self._acked.clear()
            await self._acked.wait()

    async def close(self) -> None:
        """Send the position behind all that was sent, and wait until Kafka has acknowledged everything."""
        self.end = self._progress.cut()
        key, value = encode_position(self._names.worker, self._names.journal_id, self._names.holder, self.end)
        batch = Batch(self._config.positions_topic, PARTITION, self._producer.create_batch())
        batch.builder.append(timestamp=time.time_ns() // 1_000_000, key=key, value=value)
        await self._submit(batch)
        for ack in self._acks:
            await ack

    async def commit(self) -> None:
        await self._producer.commit_transaction()

    def _new_batch(self, table: str, partition: int) -> Batch:
        if partition >= self._config.partitions:
            raise KafkaRefuses(
                f"the journal holds records for partition {partition}, [kafka] partitions is"
                f" {self._config.partitions}: set it back to what it was"
            )
        return Batch(self._config.topic_of(table), partition, self._producer.create_batch())

    async def _submit(self, batch: Batch) -> None:
        """Give a batch to the producer, which waits for the one before it to be on its way."""
        batch.builder.close()
        while True:
            try:
                ack: Ack = await self._producer.send_batch(batch.builder, batch.topic, partition=batch.partition)
                break
            except KafkaTimeoutError:
                continue  # Kafka is away for long: nothing was taken
            except KafkaError as error:
                self._settled(batch, error)
                raise
        self._acks.append(ack)
        self.value_bytes += batch.value_bytes
        self.unacked_bytes += batch.value_bytes
        ack.add_done_callback(lambda done: self._settle(batch, done))

    def _settle(self, batch: Batch, ack: Ack) -> None:
        self.unacked_bytes -= batch.value_bytes
        self._acked.set()
        if not ack.cancelled():
            self._settled(batch, ack.exception())


def _append(batch: Batch, record: Record, headers: list[tuple[str, bytes]]) -> bool:
    """Add `record`; False when it has no room there."""
    timestamp_ms = record.recv_ns // 1_000_000
    return batch.builder.append(timestamp=timestamp_ms, key=None, value=record.value, headers=headers) is not None
