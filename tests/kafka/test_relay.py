"""The relay against a real Kafka, there and not there."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import threading
import time
from collections import Counter

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.typing import EventDict

from sinks import topics
from sinks.journal import Journal
from sinks.kafka import KafkaConfig, headers_of
from tests.kafka.conftest import MakeRelay
from tests.kafka.support import (
    PREFIXES,
    append_all,
    drained,
    journal_offsets,
    make_topics,
    mixed_records,
    offsets_of_places,
    read_topics,
    wait_until,
)
from tests.support.kafka import KafkaServer
from tests.support.records import make_record

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_every_record_arrives_once_in_order_with_its_headers(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, compression: str
) -> None:
    config = KafkaConfig(config.bootstrap_servers, config.topic_prefix, compression=compression, partitions=3)  # type: ignore[arg-type]
    records = [*mixed_records(400, seed=21), make_record(bytes(8 << 20), partition=2)]
    append_all(journal, records[:200])
    relay = make_relay(config)
    append_all(journal, records[200:])
    wait_until(drained(relay, journal))
    received = read_topics(config)
    assert journal_offsets(received) == offsets_of_places(config, records)
    rows_of_place: Counter[tuple[str, int]] = Counter()
    for place, offsets in journal_offsets(received).items():
        for offset, kafka_record in zip(offsets, received[place], strict=True):
            record = records[offset]
            rows_of_place[place] += record.rows
            headers = headers_of(record, "w-0", journal.id, offset, rows_of_place[place])
            assert (kafka_record.value, list(kafka_record.headers)) == (record.value, headers)
            assert (kafka_record.key, kafka_record.timestamp) == (None, record.recv_ns // 1_000_000)
    published = Counter[str]()
    for record in records:
        published[record.table] += record.rows
    relay.stop(5)
    assert relay.stats.published_rows == published
    assert int(relay.stats.latency.counts.sum()) == len(records)


def test_it_goes_on_where_it_stopped_and_repeats_nothing(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig
) -> None:
    records = mixed_records(300, seed=22)
    append_all(journal, records[:150])
    first = make_relay(config)
    wait_until(lambda: first.stats.ready)
    first.stop(drain_s=10)
    assert first.lag_rows(journal.rows_total) == 0, "stopping drains"
    append_all(journal, records[150:])
    second = make_relay(config)
    wait_until(drained(second, journal))
    received = read_topics(config)
    assert journal_offsets(received) == offsets_of_places(config, records)
    for place, kafka_records in received.items():
        rows = sum(records[offset].rows for offset in offsets_of_places(config, records)[place])
        assert dict(kafka_records[-1].headers)["ticktape-rows-total"] == b"%d" % rows


def test_missing_topics_make_it_unready_until_they_are_there(
    journal: Journal, make_relay: MakeRelay, kafka_bootstrap: str, log_lines: list[EventDict]
) -> None:
    config = KafkaConfig(kafka_bootstrap, topic_prefix=next(PREFIXES), partitions=3)
    journal.append(mixed_records(5, seed=23))
    relay = make_relay(config)
    wait_until(lambda: "ticktape schema apply" in (relay.stats.trouble or ""))
    time.sleep(1)
    assert len(log_lines) == 1, "said once, however often it is tried"
    make_topics(config)
    wait_until(drained(relay, journal))
    assert relay.stats.ready
    assert [line["event"] for line in log_lines] == ["not relaying to Kafka, trying again", "relaying to Kafka"]
    assert sum(map(len, read_topics(config).values())) == 5


def test_another_partition_count_makes_it_unready(journal: Journal, make_relay: MakeRelay, config: KafkaConfig) -> None:
    journal.append([make_record()])
    relay = make_relay(KafkaConfig(config.bootstrap_servers, config.topic_prefix, partitions=12))
    wait_until(lambda: "has 3 partitions, [kafka] partitions is 12" in (relay.stats.trouble or ""))
    assert not relay.stats.ready
    started_s = time.monotonic()
    relay.stop(drain_s=10)
    assert time.monotonic() - started_s < 3, "nothing can be drained"
    assert read_topics(config) == {}


def test_a_record_for_a_partition_that_is_no_more_is_held_back(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig
) -> None:
    journal.append([make_record(partition=3)])
    relay = make_relay(config)
    wait_until(lambda: "partition 3" in (relay.stats.trouble or ""))
    assert relay.lag_rows(journal.rows_total) == 1


def test_a_record_that_kafka_refuses_holds_the_position_and_repeats_nothing(
    journal: Journal, make_relay: MakeRelay, kafka_bootstrap: str, log_lines: list[EventDict]
) -> None:
    """A topic without room for the record: what Kafka took behind it is not sent again with it."""
    config = KafkaConfig(kafka_bootstrap, topic_prefix=next(PREFIXES), partitions=3)
    wanted = topics.wanted_topics(config)
    small = [dataclasses.replace(each, settings={"max.message.bytes": "2000"}) for each in wanted]
    gaps = config.topic_of("gaps")
    asyncio.run(topics.create(config, [s if s.name == gaps else w for s, w in zip(small, wanted, strict=True)]))
    now_ns = time.time_ns()
    ticks = [make_record(b"tick", partition=i % 3, recv_ns=now_ns) for i in range(20)]
    large = make_record(random.Random(27).randbytes(5000), table="gaps", recv_ns=now_ns)
    records = [*ticks[:10], large, *ticks[10:]]
    append_all(journal, records)
    relay = make_relay(config)
    wait_until(lambda: f"refused records for {gaps}/0" in (relay.stats.trouble or ""))
    time.sleep(2)
    assert relay.lag_rows(journal.rows_total) == 11
    assert [line["event"] for line in log_lines].count("not relaying to Kafka, trying again") < 20
    asyncio.run(allow_large_records(config, gaps))
    wait_until(drained(relay, journal))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


@pytest.mark.usefixtures("real_brokers")
@pytest.mark.parametrize(
    ("topic", "replicas", "trouble"),
    [
        ("leader.ticks", {0: [1], 1: [2], 2: [1]}, "leader.ticks/1 has no leader"),
        ("__transaction_state", {0: [2]}, "acknowledges no record"),
    ],
    ids=["of records", "of transactions"],
)
def test_a_partition_without_a_leader_is_waited_for(
    journal: Journal, make_relay: MakeRelay, topic: str, replicas: dict[int, list[int]], trouble: str
) -> None:
    """One of two brokers is gone, and with it every copy of one partition."""
    with KafkaServer() as first, KafkaServer(joins=first) as second:
        config = KafkaConfig(first.bootstrap_servers, topic_prefix="leader", partitions=3)
        asyncio.run(make_topics_on(config, {topic: replicas}))
        records = mixed_records(300, seed=45)
        append_all(journal, records[:100])
        relay = make_relay(config)
        wait_until(drained(relay, journal))
        second.kill()
        append_all(journal, records[100:200])
        wait_until(lambda: trouble in (relay.stats.trouble or ""))
        time.sleep(2)
        assert relay.lag_rows(journal.rows_total) > 0
        second.start()
        append_all(journal, records[200:])
        wait_until(drained(relay, journal))
        wait_until(lambda: relay.stats.ready)
        assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


async def make_topics_on(config: KafkaConfig, replicas: dict[str, dict[int, list[int]]]) -> None:
    """The topics of a configuration, and Kafka's own one of transactions, on broker 1 but for these partitions."""
    partitions = {each.name: each.partitions for each in topics.wanted_topics(config)} | {"__transaction_state": 1}
    async with topics._admin(config) as admin:
        for name, count in partitions.items():
            on_first = {partition: [1] for partition in range(count)}
            await admin.create_topics([NewTopic(name, -1, -1, replicas.get(name, on_first))])


async def allow_large_records(config: KafkaConfig, topic: str) -> None:
    async with topics._admin(config) as admin:
        settings = {"max.message.bytes": str(topics.MESSAGE_BYTES_MAX)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])


def test_no_kafka_at_the_start_then_one(
    journal: Journal,
    make_relay: MakeRelay,
    own_server: KafkaServer,
    own_config: KafkaConfig,
    log_lines: list[EventDict],
) -> None:
    records = mixed_records(50, seed=24)
    append_all(journal, records)
    own_server.stop()
    relay = make_relay(own_config)
    wait_until(lambda: "cannot be used" in (relay.stats.trouble or ""))
    time.sleep(1.5)
    assert len(log_lines) == 1, "said once, however often it is tried"
    own_server.start()
    wait_until(drained(relay, journal))
    assert journal_offsets(read_topics(own_config)) == offsets_of_places(own_config, records)


@pytest.mark.parametrize("outage", ["stop", "kill", "freeze"])
def test_an_outage_loses_and_repeats_nothing(
    journal: Journal,
    make_relay: MakeRelay,
    own_server: KafkaServer,
    own_config: KafkaConfig,
    log_lines: list[EventDict],
    outage: str,
) -> None:
    records = mixed_records(900, seed=25)
    relay = make_relay(own_config)

    def append_slowly() -> None:
        for start in range(0, 900, 3):
            journal.append(records[start : start + 3])
            time.sleep(0.01)

    appending = threading.Thread(target=append_slowly)
    appending.start()
    wait_until(lambda: relay.stats.published_rows.total() > 50_000)
    if outage == "freeze":
        own_server.freeze(frozen=True)
    else:
        getattr(own_server, outage)()
    wait_until(lambda: not relay.stats.ready)
    appending.join()
    assert relay.lag_rows(journal.rows_total) > 0
    if outage == "freeze":
        own_server.freeze(frozen=False)
    else:
        own_server.start()
    wait_until(drained(relay, journal))
    wait_until(lambda: relay.stats.ready)
    assert journal_offsets(read_topics(own_config)) == offsets_of_places(own_config, records)
    events = [line["event"] for line in log_lines]
    assert events == ["relaying to Kafka", "not relaying to Kafka, trying again", "relaying to Kafka"]
