"""The relay's side of Kafka: its producers, and whether the topics are fit to be written."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    LeaderNotAvailableError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    TransactionCoordinatorFenced,
    UnknownError,
    UnknownProducerId,
)
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.protocol.metadata import MetadataRequest

from codec.records import RECORD_BYTES_MAX
from sinks.kafka import KafkaConfig, KafkaUnavailable
from sinks.relay_errors import KafkaRefuses, TopicsMissing, TransactionLost
from sinks.topics import MESSAGE_BYTES_MAX

BATCH_BYTES_MAX = 1 << 20
"""A producer's batch of one partition; a longer record travels alone."""
IN_FLIGHT_BYTES_MAX = 64 << 20
TRANSACTION_TIMEOUT_MS = 4000
"""A worker that died hides everybody's later records of its partitions from read_committed readers until the
broker ends its transaction. It looks for those every 10 s by default, so this makes at most 14 s."""

_BROKER_REQUEST_BYTES_MAX = 100 << 20  # the broker's default for socket.request.max.bytes
# One request takes a batch of each partition: at most all that is in flight.
assert RECORD_BYTES_MAX + IN_FLIGHT_BYTES_MAX < _BROKER_REQUEST_BYTES_MAX

_CONNECT_S_MAX = 15.0
_CLOSE_S_MAX = 1.0
_PROBE_S_MAX = 5.0

_LOST = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TransactionCoordinatorFenced,
    UnknownError,  # a coordinator's, when it was stopped for so long that its cluster went on without it
    UnknownProducerId,
)
"""With these a transaction is over, and nobody but its producers is to blame."""


def transactional_ids(config: KafkaConfig, worker: str) -> tuple[str, str]:
    """Of the two producers that take turns."""
    return f"{config.topic_prefix}.{worker}-0", f"{config.topic_prefix}.{worker}-1"


@contextlib.asynccontextmanager
async def connected_producers(
    config: KafkaConfig, options: Mapping[str, Any], ids: Sequence[str | None]
) -> AsyncIterator[list[AIOKafkaProducer]]:
    """A started producer for each transactional id, None making one without; let go of within `_CLOSE_S_MAX`.

    Whoever used the ids before is fenced, and what he left open is aborted, before this is entered.

    Raises
    ------
    KafkaUnavailable, KafkaRefuses
    """
    producers = [_make_producer(config, options, transactional_id) for transactional_id in ids]
    try:
        try:
            async with asyncio.timeout(_CONNECT_S_MAX):
                await asyncio.gather(*(producer.start() for producer in producers))
        except TransactionalIdAuthorizationFailed as error:
            raise KafkaRefuses(
                f"Kafka gives us no right to transactional id {error.args[0]}: grant Describe and Write on it"
            ) from error
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(config.bootstrap_servers, error) from error
        yield producers
    finally:
        await asyncio.gather(*map(_let_go, producers))


def _make_producer(config: KafkaConfig, options: Mapping[str, Any], transactional_id: str | None) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        **options,
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        compression_type=None if config.compression == "none" else config.compression,
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=MESSAGE_BYTES_MAX,
    )
    # aiokafka fails batches of a partition that has no leader for request_timeout_ms: they shall wait.
    producer._message_accumulator._batch_ttl = math.inf
    return producer


async def _let_go(producer: AIOKafkaProducer) -> None:
    manager = producer._txn_manager
    untold = [manager.wait_for_transaction_end()]  # an abort puts another in its place
    # A flush that cannot succeed would never end: an idempotent producer gives nothing up.
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(_CLOSE_S_MAX):
            if manager.is_in_transaction() or manager.state == TransactionState.ABORTABLE_ERROR:
                await producer.abort_transaction()  # or it would hide others' records until its time-out
            await producer.stop()
    untold.append(manager.wait_for_transaction_end())
    # A sender that fails tells each batch still queued twice: its future, which whoever sent it asks, and one for
    # who would queue another behind it, if anybody does.
    untold += [batch._drain_waiter for queue in producer._message_accumulator._batches.values() for batch in queue]
    for future in untold:
        if future is not None and future.done() and not future.cancelled():
            future.exception()  # the failure is known by then; else asyncio would complain that nobody asked
    await producer.client.close()


def failure(
    config: KafkaConfig, error: BaseException, producers: Sequence[AIOKafkaProducer], what: str
) -> BaseException:
    """What it means that aiokafka ended something with `error`; `what` was refused, if it was. Else `error` itself."""
    # What ends a producer's sender is in some places told as an unexpected error of no kind, or as a copy
    # without its cause.
    ends = [producer._sender.sender_task for producer in producers]
    causes = [error, *(end.exception() for end in ends if end is not None and end.done() and not end.cancelled())]
    causes += [cause.__cause__ for cause in causes if cause is not None]
    if lost := next((cause for cause in causes if isinstance(cause, _LOST)), None):
        return TransactionLost(lost)
    if isinstance(error, OSError) or (isinstance(error, KafkaError) and error.retriable):
        return KafkaUnavailable(config.bootstrap_servers, error)
    if not isinstance(error, KafkaError):
        return error
    why = str(error) or type(error).__name__
    return KafkaRefuses(f"Kafka refused {what}: {why}; see: ticktape schema diff")


async def probe(client: AIOKafkaClient, config: KafkaConfig, partitions_of: Mapping[str, int]) -> None:
    """See that Kafka answers, and that these topics are there, each with so many partitions, all of them led.

    Raises
    ------
    KafkaUnavailable, TopicsMissing, KafkaRefuses
    """
    try:
        async with asyncio.timeout(_PROBE_S_MAX):
            found = await _partitions(client, list(partitions_of))
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(config.bootstrap_servers, error) from error
    if missing := set(partitions_of) - set(found):
        raise TopicsMissing(missing)
    for topic, codes in found.items():
        if len(codes) != partitions_of[topic]:
            raise KafkaRefuses(
                f"topic {topic} has {len(codes)} partitions, [kafka] partitions is {partitions_of[topic]};"
                " ticktape schema apply says what to do"
            )
    for topic, codes in found.items():
        for partition, code in codes.items():
            if code == LeaderNotAvailableError.errno:
                raise KafkaUnavailable(config.bootstrap_servers, NoLeader(f"{topic}/{partition} has no leader"))


class NoLeader(Exception):
    """A partition that no broker leads: nothing can be written to it."""


async def _partitions(client: AIOKafkaClient, topics: list[str]) -> dict[str, dict[int, int]]:
    """The error code of each partition of each of `topics` that exists. Asking makes none, whatever brokers allow."""
    request = MetadataRequest(topics, allow_auto_topic_creation=False)
    try:
        response = await client.send(client.get_random_node(), request)
    except KafkaError:
        # The brokers may all have moved: the servers we were configured with may still know the way.
        await client.bootstrap()
        response = await client.send(client.get_random_node(), request)
    found = {}
    for code, topic, _, partitions in response.topics:
        if code == TopicAuthorizationFailedError.errno:
            raise KafkaRefuses(f"Kafka gives us no right to topic {topic}: grant Describe and Write on it")
        if code == 0:
            found[topic] = {number: partition_code for partition_code, number, *_ in partitions}
    return found
