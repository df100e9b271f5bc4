"""Small steps that the Kafka tests share."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from codec.tables import TABLES
from sinks import topics
from sinks.kafka import KafkaConfig, client_options

Received: TypeAlias = ConsumerRecord[Any, bytes]


def make_topics(config: KafkaConfig) -> None:
    asyncio.run(topics.create(config, topics.wanted_topics(config)))


async def _read_topics(config: KafkaConfig) -> dict[tuple[str, int], list[Received]]:
    consumer = AIOKafkaConsumer(**client_options(config, "test"), max_partition_fetch_bytes=16 << 20)
    await consumer.start()
    try:
        names = [config.topic_of(table.name) for table in TABLES]
        places = [TopicPartition(name, partition) for name in names for partition in range(config.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        received: dict[tuple[str, int], list[Received]] = defaultdict(list)
        left = sum(ends.values())
        while left:
            for place, records in (await consumer.getmany(timeout_ms=1000)).items():
                received[place.topic, place.partition] += records
                left -= len(records)
        return dict(received)
    finally:
        await consumer.stop()


def read_topics(config: KafkaConfig) -> dict[tuple[str, int], list[Received]]:
    """Every record of every topic, by (topic, partition)."""
    return asyncio.run(_read_topics(config))


def journal_offsets(received: dict[tuple[str, int], list[Received]]) -> dict[tuple[str, int], list[int]]:
    """The journal offsets that the records of each place name, in their order."""
    return {
        place: [int(dict(each.headers)["ticktape-journal-offset"]) for each in records]
        for place, records in received.items()
    }


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0, what: str = "the condition") -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come within {timeout_s} s"
        time.sleep(0.01)


def prefixes() -> Iterator[str]:
    """Topic prefixes that no other test uses."""
    number = 0
    while True:
        yield f"relay{number}"
        number += 1
