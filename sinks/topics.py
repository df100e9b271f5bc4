"""Our topics: what they should be, what they are, and making those that are missing.

Only missing topics are made. What exists and differs is reported with the statement that mends it:
a partition count cannot change without moving symbols to other partitions, and settings are the
cluster operator's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from codec.errors import TicktapeError
from codec.records import RECORD_BYTES_MAX
from codec.tables import TABLES
from sinks.kafka import KafkaConfig, KafkaUnavailable, client_options

MESSAGE_BYTES_MAX = RECORD_BYTES_MAX + (128 << 10)
"""A topic's max.message.bytes: the longest record with its headers, of which gap ids may take 64 KiB."""

_POSITIONS_SEGMENT_BYTES = 16 << 20
"""A relay that starts reads all positions, and the segment being written is never compacted: of 1 GiB by default."""
_POSITIONS_MARKERS_MS = 600_000
"""How long compaction keeps the end of each transaction, 20 a second: far longer than anybody reads."""

_CONNECT_S_MAX = 15.0
_VISIBLE_S_MAX, _VISIBLE_POLL_S = 10.0, 0.05


class TopicNotCreated(TicktapeError):
    """Kafka refused to make a topic."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"Kafka refused to create topic {topic}: {reason}")
        self.topic = topic


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it should be."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is; `settings` holds those that are known to this module."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One thing about an existing topic that is not as configured.

    `fits` says whether records still get through as they should; `statement` is what mends it.
    """

    topic: str
    what: str
    wanted: str
    found: str
    fits: bool
    statement: str

    def __str__(self) -> str:
        return (
            f"topic {self.topic}: {self.what} is {self.found}, configured {self.wanted}; mend it with: {self.statement}"
        )


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What separates the topics from the configuration."""

    missing: tuple[WantedTopic, ...] = ()
    differences: tuple[TopicDifference, ...] = field(default=())

    @property
    def misfits(self) -> tuple[TopicDifference, ...]:
        """The differences that must be mended before anything works."""
        return tuple(each for each in self.differences if not each.fits)


def wanted_topics(config: KafkaConfig) -> tuple[WantedTopic, ...]:
    """One topic a table, and the compacted one of positions."""
    common = {"min.insync.replicas": str(config.min_insync_replicas)}
    records = common | {
        "cleanup.policy": "delete",
        "retention.ms": str(config.retention_ms),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
    }
    tables = [
        WantedTopic(config.topic_of(table.name), config.partitions, config.replication_factor, records)
        for table in TABLES
    ]
    positions = common | {
        "cleanup.policy": "compact",
        "segment.bytes": str(_POSITIONS_SEGMENT_BYTES),
        "delete.retention.ms": str(_POSITIONS_MARKERS_MS),
    }
    return (*tables, WantedTopic(config.positions_topic, 1, config.replication_factor, positions))


async def describe(config: KafkaConfig) -> dict[str, FoundTopic]:
    """Those of our topics that exist, by name.

    Raises
    ------
    KafkaUnavailable, KafkaMisconfigured
    """
    wanted = {topic.name: topic for topic in wanted_topics(config)}
    async with _admin(config) as admin:
        described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        names = [name for name in wanted if name in described]
        settings = await _settings(admin, names, wanted)
    return {
        name: FoundTopic(
            name=name,
            partitions=len(described[name]),
            replication_factor=min((len(each["replicas"]) for each in described[name]), default=0),
            settings=settings[name],
        )
        for name in names
    }


async def _settings(
    admin: AIOKafkaAdminClient, names: Iterable[str], wanted: Mapping[str, WantedTopic]
) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(wanted[name].settings)) for name in names]
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for response in await admin.describe_configs(resources) if resources else []:
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def plan(config: KafkaConfig, found: Mapping[str, FoundTopic]) -> TopicPlan:
    """What to make, and what to mend by hand."""
    wanted = wanted_topics(config)
    missing = tuple(topic for topic in wanted if topic.name not in found)
    existing = [topic for topic in wanted if topic.name in found]
    return TopicPlan(missing, tuple(d for topic in existing for d in _differences(config, topic, found[topic.name])))


def _differences(config: KafkaConfig, wanted: WantedTopic, found: FoundTopic) -> list[TopicDifference]:
    differences = []
    tool = f"--bootstrap-server {config.bootstrap_servers}"
    if found.partitions != wanted.partitions:
        remake = f"kafka-topics.sh {tool} --delete --topic {wanted.name} && ticktape schema apply"
        keep = f"[kafka] partitions = {found.partitions}"
        statement = remake if wanted.name == config.positions_topic else f"{keep} (or, losing its records: {remake})"
        differences.append(
            TopicDifference(wanted.name, "partitions", str(wanted.partitions), str(found.partitions), False, statement)
        )
    for key, value in wanted.settings.items():
        has = found.settings.get(key, value)
        if has != value:
            statement = f"kafka-configs.sh {tool} --alter --entity-type topics --entity-name {wanted.name}"
            differences.append(
                TopicDifference(
                    wanted.name, key, value, has, _fits(key, value, has), f"{statement} --add-config {key}={value}"
                )
            )
    return differences


def _fits(key: str, wanted: str, found: str) -> bool:
    """Whether records get through all the same."""
    if key == "max.message.bytes":
        return int(found) >= int(wanted)
    return key != "cleanup.policy"


async def create(config: KafkaConfig, missing: Iterable[WantedTopic]) -> None:
    """Make topics, and return when they are there; one that somebody else made meanwhile is fine.

    Raises
    ------
    KafkaUnavailable, KafkaMisconfigured, TopicNotCreated
    """
    topics = [
        NewTopic(each.name, each.partitions, each.replication_factor, topic_configs=dict(each.settings))
        for each in missing
    ]
    if not topics:
        return
    async with _admin(config) as admin:
        response = await admin.create_topics(topics)
        for name, code, *message in response.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise TopicNotCreated(name, (message and message[0]) or for_code(code).__name__)
        await _wait_until_visible(admin, {topic.name for topic in topics})


async def _wait_until_visible(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Brokers learn of new topics a moment after the controller has made them."""
    deadline_s = time.monotonic() + _VISIBLE_S_MAX
    while absent := names - set(await admin.list_topics()):
        if time.monotonic() > deadline_s:
            raise TopicNotCreated(min(absent), f"it was accepted, and is not there after {_VISIBLE_S_MAX:.0f} s")
        await asyncio.sleep(_VISIBLE_POLL_S)


@contextlib.asynccontextmanager
async def _admin(config: KafkaConfig) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(config, "ticktape-schema"))
    try:
        await asyncio.wait_for(admin.start(), _CONNECT_S_MAX)
        yield admin
    except (TimeoutError, KafkaError, OSError) as error:
        raise KafkaUnavailable(config.bootstrap_servers, error) from error
    finally:
        await admin.close()
