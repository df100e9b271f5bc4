"""Kafka as a record log: one member of a consumer group, reading the topics of all tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from codec.tables import TABLES
from sinks import topics
from sinks.kafka import KafkaConfig, KafkaUnavailable, client_options, record_of
from sinks.record_log import (
    FETCH_BYTES_MAX,
    LoggedRecord,
    Place,
    RecordLogMismatch,
    RecordLogUnavailable,
    Revoked,
)

SESSION_TIMEOUT_MS = 20_000
"""Partitions of a writer that died go to another one after this; longer than a place takes to let go."""
_POLL_INTERVAL_MS_MAX = 7 * 24 * 3600 * 1000
"""While ClickHouse is down nothing is fetched, and the writer must still keep its partitions."""
_FETCH_WAIT_MS_MAX = 200

assert FETCH_BYTES_MAX >= topics.MESSAGE_BYTES_MAX

log = structlog.get_logger(__name__)


class KafkaRecordLog:
    """Records of committed transactions only; positions are the group's committed offsets.

    Attributes
    ----------
    missing_records : offsets that retention removed before they were read
    """

    def __init__(self, config: KafkaConfig) -> None:
        self.missing_records = 0
        self._config = config
        self._tables = {config.topic_of(table.name): table for table in TABLES}
        self._consumer: AIOKafkaConsumer | None = None
        self._rows_fetched = 0
        self._records_fetched = 0
        self._behind: dict[TopicPartition, int] = {}

    async def start(self, revoked: Revoked) -> None:
        await self._prepare_topics()
        self._consumer = AIOKafkaConsumer(
            **client_options(self._config, "ticktape-writer"),
            group_id=self._config.group_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            # Where to start without a committed offset, and what to do about lost records, is
            # decided in `_recover`: Kafka's own ways would skip records without a word.
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=_FETCH_WAIT_MS_MAX,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        )
        self._consumer.subscribe(list(self._tables), listener=_Rebalances(revoked))
        try:
            await self._consumer.start()
        except BaseException as error:
            await self.stop()
            if isinstance(error, (KafkaError, OSError)):
                raise KafkaUnavailable(self._config.bootstrap_servers, error) from error
            raise

    async def stop(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.stop()

    async def fetch(self, timeout_s: float) -> list[LoggedRecord]:
        consumer = self._started()
        try:
            fetched = await consumer.getmany(timeout_ms=int(timeout_s * 1000))
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            await self._recover(error)
            return []
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot read from Kafka: {error}") from error
        logged: list[LoggedRecord] = []
        for partition, received in fetched.items():
            # The position, not the last offset + 1: transactions leave holes. It is known: no wait here.
            position: int = await consumer.position(partition)
            next_offsets = [each.offset for each in received[1:]] + [position]
            table = self._tables[partition.topic]
            for each, next_offset in zip(received, next_offsets, strict=True):
                record = record_of(each, table)
                logged.append(LoggedRecord(partition.topic, partition.partition, each.offset, next_offset, record))
        self._records_fetched += len(logged)
        self._rows_fetched += sum(each.rows for each in logged)
        await self._measure_lag(consumer)
        return logged

    async def commit(self, positions: Mapping[Place, int]) -> None:
        consumer = self._started()
        assigned = consumer.assignment()
        offsets = {TopicPartition(*place): position for place, position in positions.items()}
        offsets = {partition: position for partition, position in offsets.items() if partition in assigned}
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # The group has given the partitions to another reader, which begins at its own position.
            log.warning("commit came too late", error=str(error), partitions=len(offsets))
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot commit to Kafka: {error}") from error

    def lag_rows(self) -> int:
        """Rows in Kafka that were not fetched: records times the mean rows of a record; 0 only at the end."""
        rows_a_record = self._rows_fetched / self._records_fetched if self._records_fetched else 1.0
        return round(sum(self._behind.values()) * max(rows_a_record, 1.0))

    async def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        self._behind = {}
        for partition in consumer.assignment():
            highwater = consumer.highwater(partition)
            if highwater is not None:  # something was fetched: the position is known without waiting
                self._behind[partition] = max(0, highwater - await consumer.position(partition))

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "not started"
        return self._consumer

    async def _prepare_topics(self) -> None:
        """Make missing topics: whoever is first does, the relay or we."""
        plan = topics.plan(self._config, await topics.describe(self._config))
        if plan.misfits:
            raise RecordLogMismatch("Kafka does not fit. " + "\n".join(str(misfit) for misfit in plan.misfits))
        try:
            await topics.create(self._config, plan.missing)
        except topics.TopicNotCreated as error:
            raise RecordLogUnavailable(str(error)) from error

    async def _recover(self, error: NoOffsetForPartitionError | OffsetOutOfRangeError) -> None:
        """Find a position for partitions that have none, or one where no record is any more."""
        consumer = self._started()
        lost: dict[TopicPartition, Any]
        lost = error.args[0] if isinstance(error, OffsetOutOfRangeError) else {error.args[0]: None}
        try:
            beginnings = await consumer.beginning_offsets(list(lost))
            ends = await consumer.end_offsets(list(lost))
            for partition, position in lost.items():
                first = beginnings[partition]
                if position is not None and position > ends[partition]:
                    raise RecordLogMismatch(
                        f"topic {partition.topic} partition {partition.partition} ends at offset {ends[partition]}, "
                        f"but everything before {position} was stored: it was made anew; give the writer another "
                        "[kafka] group_id to read it from its beginning"
                    )
                if position is not None:
                    self.missing_records += first - position
                    log.error(
                        "records are missing: Kafka's retention removed them before they were stored",
                        topic=partition.topic,
                        partition=partition.partition,
                        first=position,
                        next=first,
                    )
                consumer.seek(partition, first)
        except IllegalStateError:
            return  # another reader has the partition now
        except (KafkaError, OSError) as failed:
            raise RecordLogUnavailable(f"cannot find a position in Kafka: {failed}") from failed


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes on that partitions are taken away; Kafka waits for it."""

    def __init__(self, revoked: Revoked) -> None:
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._revoked([(partition.topic, partition.partition) for partition in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        log.info("reading", partitions=len(assigned))
