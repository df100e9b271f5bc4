"""Kafka topics with records of ours, and a writer over them that can die or freeze like a process."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from codec.records import Record
from sinks import topics
from sinks.kafka import KafkaConfig, headers_of
from sinks.record_log import Place


class KafkaTopics:
    """Topics of its own. Each record is a transaction, so that offsets have holes: 0, 2, 4, …"""

    def __init__(self, bootstrap_servers: str, partitions: int = 1) -> None:
        prefix = f"t{uuid.uuid4().hex[:8]}"
        self.config = KafkaConfig(
            bootstrap_servers,
            topic_prefix=prefix,
            group_id=f"{prefix}-sink",
            partitions=partitions,
            retention_ms=-1,  # the tests' records are older than any
        )
        self._producer: AIOKafkaProducer | None = None
        self._offset = 0

    async def put(self, records: list[Record], worker: str = "w", journal: str = "j") -> None:
        """Append records as the relay of a worker does."""
        producer = await self.producer()
        for record in records:
            async with producer.transaction():
                await self.send(record, worker, journal)

    async def producer(self) -> AIOKafkaProducer:
        """The producer of these topics, which are made at the first call."""
        if self._producer is None:
            await topics.create(self.config, topics.wanted_topics(self.config))
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.config.bootstrap_servers, transactional_id=self.config.topic_prefix
            )
            await self._producer.start()
        return self._producer

    async def send(self, record: Record, worker: str = "w", journal: str = "j") -> None:
        """Append one record in the transaction that is open."""
        producer = await self.producer()
        self._offset += 1
        topic, headers = self.config.topic_of(record.table), headers_of(record, worker, journal, self._offset, 0)
        timestamp_ms = record.recv_ns // 1_000_000
        await producer.send_and_wait(
            topic, record.value, partition=record.partition, headers=headers, timestamp_ms=timestamp_ms
        )

    async def committed(self) -> dict[Place, tuple[int, str]]:
        """Offset and metadata that the group has committed for each place."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.config.bootstrap_servers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.config.group_id)
        finally:
            await admin.close()
        return {(of.topic, of.partition): (at.offset, at.metadata) for of, at in offsets.items()}

    async def remove_before(self, place: Place, offset: int) -> None:
        """Remove records as retention does."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.config.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(*place): RecordsToDelete(offset)})
        finally:
            await admin.close()

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()


async def ignore(places: Collection[Place]) -> None:
    """Nothing is held."""


async def nothing_stored(places: Mapping[Place, str]) -> Mapping[Place, int]:
    """An empty ClickHouse."""
    return {}


class FreezableLoop:
    """An event loop in a thread of its own, which stops as a process does at SIGSTOP: what runs in other
    threads goes on, which is more than a process in that state can do."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._thawed = threading.Event()

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of `coroutine`, run in that loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def freeze(self) -> None:
        self._thawed.clear()
        self._loop.call_soon_threadsafe(self._thawed.wait)

    def thaw(self) -> None:
        self._thawed.set()

    def close(self) -> None:
        self.thaw()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
