"""The relay's side of Kafka: one idempotent producer, and whether the topics are fit to be written."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest

from codec.errors import TicktapeError
from codec.records import RECORD_BYTES_MAX
from sinks.kafka import KafkaConfig, KafkaUnavailable
from sinks.topics import MESSAGE_BYTES_MAX

BATCH_BYTES_MAX = 1 << 20
"""A producer's batch of one partition; a longer record travels alone."""
IN_FLIGHT_BYTES_MAX = 64 << 20

_BROKER_REQUEST_BYTES_MAX = 100 << 20  # the broker's default for socket.request.max.bytes
# One request takes a batch of each partition: at most all that is in flight.
assert RECORD_BYTES_MAX + IN_FLIGHT_BYTES_MAX < _BROKER_REQUEST_BYTES_MAX

_CONNECT_S_MAX = 15.0
_CLOSE_S_MAX = 1.0
_PROBE_S_MAX = 5.0


class KafkaRefuses(TicktapeError):
    """Kafka is there and will not take our records as things are: somebody has to mend it."""

    retriable = True


class TopicsMissing(KafkaRefuses):
    """Some of our topics are not there; a broker that has just started says so too, for a moment."""

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__(f"topics are missing in Kafka: {', '.join(sorted(topics))}; run: ticktape schema apply")


@contextlib.asynccontextmanager
async def connected_producer(config: KafkaConfig, options: Mapping[str, Any]) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer; let go of within `_CLOSE_S_MAX`, whatever its state.

    Raises
    ------
    KafkaUnavailable
    """
    producer = AIOKafkaProducer(
        **options,
        acks="all",
        enable_idempotence=True,
        compression_type=None if config.compression == "none" else config.compression,
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=MESSAGE_BYTES_MAX,
    )
    # aiokafka fails batches of a partition that has no leader for request_timeout_ms, even of an
    # idempotent producer. Sent again by another one they could be there twice: they shall wait.
    producer._message_accumulator._batch_ttl = math.inf
    try:
        try:
            await asyncio.wait_for(producer.start(), _CONNECT_S_MAX)
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(config.bootstrap_servers, error) from error
        yield producer
    finally:
        # A flush that cannot succeed would never end: an idempotent producer gives nothing up.
        with contextlib.suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(producer.stop(), _CLOSE_S_MAX)
        await producer.client.close()


async def probe(client: AIOKafkaClient, config: KafkaConfig, topics: Collection[str]) -> None:
    """See that Kafka answers, and that `topics` are there with the configured partitions.

    Raises
    ------
    KafkaUnavailable, TopicsMissing, KafkaRefuses
    """
    try:
        counts = await asyncio.wait_for(_partition_counts(client, topics), _PROBE_S_MAX)
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(config.bootstrap_servers, error) from error
    if missing := set(topics) - set(counts):
        raise TopicsMissing(missing)
    for topic, count in counts.items():
        if count != config.partitions:
            raise KafkaRefuses(
                f"topic {topic} has {count} partitions, [kafka] partitions is {config.partitions};"
                " ticktape schema apply says what to do"
            )


async def _partition_counts(client: AIOKafkaClient, topics: Collection[str]) -> dict[str, int]:
    """Partitions of each of `topics` that exists. Asking makes none, whatever the brokers allow."""
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    try:
        response = await client.send(client.get_random_node(), request)
    except KafkaError:
        # The brokers may all have moved: the servers we were configured with may still know the way.
        await client.bootstrap()
        response = await client.send(client.get_random_node(), request)
    counts = {}
    for code, topic, _, partitions in response.topics:
        if code == TopicAuthorizationFailedError.errno:
            raise KafkaRefuses(f"Kafka gives us no right to topic {topic}: grant Describe and Write on it")
        if code == 0:
            counts[topic] = len(partitions)
    return counts
