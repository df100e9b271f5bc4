"""Kafka as a record log: one member of a consumer group, reading the topics of all tables."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from codec.tables import TABLES
from sinks import kafka_beginning, topics
from sinks.kafka import KafkaConfig, KafkaUnavailable, client_options, committed_positions, record_of
from sinks.kafka_beginning import PartitionFacts, ReadingPlan
from sinks.kafka_member import SESSION_TIMEOUT_MS, GroupMember
from sinks.positions import Position, StoredRecord, origin_name
from sinks.record_log import (
    FETCH_BYTES_MAX,
    LoggedRecord,
    Place,
    RecordLogMismatch,
    RecordLogUnavailable,
    Revoked,
    StoredUntil,
)

_POLL_INTERVAL_MS_MAX = 7 * 24 * 3600 * 1000
"""While ClickHouse is down nothing is fetched, and the writer must still keep its partitions."""
_FETCH_WAIT_MS_MAX = 200
_LAG_S_MAX = 1.0

assert FETCH_BYTES_MAX >= topics.MESSAGE_BYTES_MAX

log = structlog.get_logger(__name__)


class KafkaRecordLog:
    """Records of committed transactions only; positions are the group's committed offsets and their metadata.

    Attributes
    ----------
    missing_records : offsets that retention removed before they were read
    """

    def __init__(self, config: KafkaConfig) -> None:
        self.missing_records = 0
        self._config = config
        self._tables = {config.topic_of(table.name): table for table in TABLES}
        self._consumer: AIOKafkaConsumer | None = None
        self._member: GroupMember | None = None
        self._stored_until: StoredUntil
        self._begun_epoch = -1
        self._plans: dict[TopicPartition, ReadingPlan] = {}
        self._unread: dict[TopicPartition, ReadingPlan] = {}
        self._origins: dict[tuple[bytes, bytes], str] = {}
        self._rows_fetched = 0
        self._records_fetched = 0
        self._behind: dict[TopicPartition, int] = {}

    async def start(self, revoked: Revoked, stored_until: StoredUntil) -> None:
        await self._prepare_topics()
        self._stored_until = stored_until
        self._begun_epoch = -1
        self._consumer = AIOKafkaConsumer(
            **client_options(self._config, "ticktape-writer"),
            group_id=self._config.group_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            # Where to start, and what to do about lost records, is decided in `_begin`: Kafka's own
            # ways would skip records without a word.
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=_FETCH_WAIT_MS_MAX,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        )
        self._member = GroupMember(self._consumer)
        self._consumer.subscribe(list(self._tables), listener=_Rebalances(revoked, self._member))
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
        consumer, member = self._started()
        member.require_routine()
        if member.is_assigned and self._begun_epoch != member.epoch:
            await self._begin(consumer.assignment())
        epoch = member.epoch
        try:
            fetched = await consumer.getmany(timeout_ms=int(timeout_s * 1000))
        except OffsetOutOfRangeError as error:
            if self._begun_epoch == member.epoch:
                await self._pass_over_lost(error.args[0])
            return []
        except NoOffsetForPartitionError:
            return []  # aiokafka looked for a position before `_begin` gave it one
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot read from Kafka: {error}") from error
        if epoch != member.epoch or self._begun_epoch != epoch:
            return []  # assigned anew meanwhile: `_begin` goes back to where reading must begin
        logged: list[LoggedRecord] = []
        for partition, received in fetched.items():
            # The position, not the last offset + 1: transactions leave holes. It is known: no wait here.
            logged += self._logged(partition, received, await consumer.position(partition), epoch)
        self._records_fetched += len(logged)
        self._rows_fetched += sum(each.rows for each in logged)
        ends = {partition: consumer.highwater(partition) for partition in consumer.assignment()}
        await self._compare(consumer, {partition: end for partition, end in ends.items() if end is not None})
        return logged

    async def measure_lag(self) -> None:
        consumer, member = self._started()
        member.require_routine()
        with contextlib.suppress(TimeoutError, KafkaError, OSError):  # `fetch` will tell
            async with asyncio.timeout(_LAG_S_MAX):
                await self._compare(consumer, await consumer.end_offsets(list(self._behind)))

    def beginning(self, place: Place) -> Position:
        return self._plans[TopicPartition(*place)].beginning

    async def commit(self, positions: Mapping[Place, Position], epoch: int) -> None:
        _, member = self._started()
        offsets = {
            TopicPartition(*place): (position.next_offset, position.note()) for place, position in positions.items()
        }
        await member.commit(epoch, offsets)

    def require(self, epoch: int) -> None:
        self._started()[1].require(epoch)

    def lag_rows(self) -> int:
        """Rows in Kafka that were not fetched: records times the mean rows of a record; 0 only at the end."""
        rows_a_record = self._rows_fetched / self._records_fetched if self._records_fetched else 1.0
        return round(sum(self._behind.values()) * max(rows_a_record, 1.0))

    def _logged(
        self, partition: TopicPartition, received: list[ConsumerRecord[Any, bytes]], position: int, epoch: int
    ) -> list[LoggedRecord]:
        table = self._tables[partition.topic]
        next_offsets = [each.offset for each in received[1:]] + [position]
        plan = self._unread.pop(partition, None)
        logged: list[LoggedRecord] = []
        for each, next_offset in zip(received, next_offsets, strict=True):
            logged.append(
                LoggedRecord(
                    partition.topic,
                    partition.partition,
                    each.offset,
                    next_offset,
                    record_of(each, table),
                    epoch,
                    self._origin_of(each),
                    plan.lost_from if plan is not None and not logged else None,
                )
            )
        if plan is None or plan.expected is None:
            return logged
        if StoredRecord(logged[0].offset, logged[0].crc32c) != plan.expected:
            raise kafka_beginning.holds_others(logged[0].place, plan.expected)
        return logged[1:]

    def _origin_of(self, received: ConsumerRecord[Any, bytes]) -> str:
        headers = dict(received.headers)
        names = headers.get("ticktape-worker", b""), headers.get("ticktape-journal", b"")
        origin = self._origins.get(names)
        if origin is None:
            worker, journal_id = (name.decode("utf-8", "replace") for name in names)
            origin = self._origins[names] = origin_name(worker, journal_id)
        return origin

    async def _compare(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        """Note how far we are from the ends of partitions of which something was fetched: no wait for a position."""
        positions = {partition: await consumer.position(partition) for partition in ends}
        self._behind = {partition: max(0, end - positions[partition]) for partition, end in ends.items()}

    def _started(self) -> tuple[AIOKafkaConsumer, GroupMember]:
        assert self._consumer is not None, "not started"
        assert self._member is not None
        return self._consumer, self._member

    async def _prepare_topics(self) -> None:
        """Make missing topics: whoever is first does, the relay or we."""
        plan = topics.plan(self._config, await topics.describe(self._config))
        if plan.misfits:
            raise RecordLogMismatch("Kafka does not fit. " + "\n".join(str(misfit) for misfit in plan.misfits))
        try:
            await topics.create(self._config, plan.missing)
        except topics.TopicNotCreated as error:
            raise RecordLogUnavailable(str(error)) from error

    async def _begin(self, partitions: Iterable[TopicPartition]) -> None:
        """Find out where each partition of a new assignment goes on, and go there."""
        consumer, member = self._started()
        epoch = member.epoch
        try:
            await member.greet()
            facts = await self._facts(partitions, await committed_positions(self._config, "ticktape-writer"))
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot find the positions in Kafka: {error}") from error
        unknown = {
            tuple(partition): self._tables[partition.topic].name
            for partition, of in facts.items()
            if of.committed is None
        }
        stored_until = await self._stored_until(unknown) if unknown else {}
        plans = {
            partition: kafka_beginning.plan(tuple(partition), of, stored_until.get(tuple(partition)))
            for partition, of in facts.items()
        }
        if member.epoch != epoch:
            return  # it was taken back meanwhile
        self._plans, self._unread, self._begun_epoch = plans, dict(plans), epoch
        for partition, plan in plans.items():
            if plan.lost_from is not None:
                self._note_lost(partition, plan.lost_from, facts[partition].first)
            consumer.seek(partition, plan.read_from)

    async def _pass_over_lost(self, positions: Mapping[TopicPartition, int]) -> None:
        """Go on in partitions in which retention was faster than we are."""
        consumer, _ = self._started()
        try:
            facts = await self._facts(positions, {})
            for partition, position in positions.items():
                if position != await consumer.position(partition):
                    continue  # asked for before `_begin` went elsewhere
                if position > facts[partition].end:
                    raise kafka_beginning.made_anew(tuple(partition), facts[partition].end, position)
                first = facts[partition].first
                plan = kafka_beginning.passed_over(self._unread.get(partition), position, first)
                self._unread[partition] = plan
                if plan.lost_from is not None:
                    self._note_lost(partition, max(position, plan.lost_from), first)
                consumer.seek(partition, first)
        except IllegalStateError:
            return  # another reader has the partition now
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot find a position in Kafka: {error}") from error

    def _note_lost(self, partition: TopicPartition, position: int, first: int) -> None:
        self.missing_records += first - position
        log.error(
            "records are missing: Kafka's retention removed them before they were stored",
            topic=partition.topic,
            partition=partition.partition,
            first=position,
            next=first,
        )

    async def _facts(
        self, partitions: Iterable[TopicPartition], committed: Mapping[TopicPartition, tuple[int, str]]
    ) -> dict[TopicPartition, PartitionFacts]:
        consumer, _ = self._started()
        partitions = list(partitions)
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return {each: PartitionFacts(firsts[each], ends[each], committed.get(each)) for each in partitions}


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes on that partitions are taken away or given; Kafka waits for it."""

    def __init__(self, revoked: Revoked, member: GroupMember) -> None:
        self._revoked = revoked
        self._member = member

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        try:
            await self._revoked([(partition.topic, partition.partition) for partition in revoked])
        finally:
            self._member.revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._member.assigned()
        log.info("reading", partitions=len(assigned))
