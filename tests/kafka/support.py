"""Small steps that the Kafka tests share."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from codec.records import Record
from codec.tables import TABLES
from sinks import topics
from sinks.journal import Journal
from sinks.kafka import KafkaConfig, client_options
from sinks.relay import Relay
from tests.support.records import random_records

Received: TypeAlias = ConsumerRecord[Any, bytes]

SETTLE_S_MAX = 1.0
PREFIXES = (f"relay{number}" for number in itertools.count())
"""Topic prefixes that no other test uses."""


def make_topics(config: KafkaConfig) -> None:
    asyncio.run(topics.create(config, topics.wanted_topics(config)))


async def _read_topics(config: KafkaConfig, *, values: bool) -> dict[tuple[str, int], list[Received]]:
    consumer = AIOKafkaConsumer(
        **client_options(config, "test"), isolation_level="read_committed", max_partition_fetch_bytes=16 << 20
    )
    names = [config.topic_of(table.name) for table in TABLES]
    places = [TopicPartition(name, partition) for name in names for partition in range(config.partitions)]
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await _readable_ends(config, consumer, places)
        received: dict[tuple[str, int], list[Received]] = defaultdict(list)
        # The position, not the records: markers of transactions have offsets too.
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=1000)).items():
                kept = records if values else [dataclasses.replace(each, value=None) for each in records]
                received[place.topic, place.partition] += kept
        return dict(received)
    finally:
        await consumer.stop()


async def _readable_ends(
    config: KafkaConfig, consumer: AIOKafkaConsumer, places: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Up to where there are no open transactions: a commit is told some milliseconds before it can be seen."""
    uncommitted = AIOKafkaConsumer(**client_options(config, "test"))
    await uncommitted.start()
    try:
        deadline_s = time.monotonic() + SETTLE_S_MAX
        while (ends := await consumer.end_offsets(places)) != await uncommitted.end_offsets(places):
            if time.monotonic() > deadline_s:
                break
            await asyncio.sleep(0.02)
        return dict(ends)
    finally:
        await uncommitted.stop()


def read_topics(config: KafkaConfig, *, values: bool = True) -> dict[tuple[str, int], list[Received]]:
    """What is committed in the topics of all tables, by (topic, partition); without `values` but the headers."""
    return asyncio.run(_read_topics(config, values=values))


def of_worker(received: dict[tuple[str, int], list[Received]], worker: str) -> dict[tuple[str, int], list[Received]]:
    """Those records of each place that `worker` sent."""
    sent = {
        place: [each for each in records if dict(each.headers)["ticktape-worker"] == worker.encode()]
        for place, records in received.items()
    }
    return {place: records for place, records in sent.items() if records}


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


def drained(relay: Relay, journal: Journal) -> Callable[[], bool]:
    return lambda: relay.lag_rows(journal.rows_total) == 0


def mixed_records(count: int, seed: int) -> list[Record]:
    """Records received just now: a broker that restarts forgets producers whose records look a day old."""
    now_ns = time.time_ns()
    records = random_records(count, seed=seed, value_bytes=(0, 500, 5000, 40_000))
    return [dataclasses.replace(each, partition=each.partition % 3, recv_ns=now_ns) for each in records]


def append_all(journal: Journal, records: list[Record], size: int = 7) -> None:
    for start in range(0, len(records), size):
        journal.append(records[start : start + size])


def offsets_of_places(config: KafkaConfig, records: list[Record], times: int = 1) -> dict[tuple[str, int], list[int]]:
    """Where each of `records`, the journal's first ones, belongs; all of them so many times, one after the other."""
    places: dict[tuple[str, int], list[int]] = {}
    for offset, record in list(enumerate(records)) * times:
        places.setdefault((config.topic_of(record.table), record.partition), []).append(offset)
    return places
