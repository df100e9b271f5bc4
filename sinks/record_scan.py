"""Reading the records of a table once, from the journal or from Kafka, without taking part in what writes
them on: for `ticktape audit`.

What was committed is asked before anything is read, so a record before that position has been stored by the
time it is handed out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from codec.records import Record
from codec.tables import Table
from sinks import topics
from sinks.journal.observer import entries_of, journal_facts, kept_segments
from sinks.journal_log import WRITER_READER_NAME
from sinks.kafka import KafkaConfig, KafkaUnavailable, client_options, committed_positions, record_of
from sinks.record_log import FETCH_BYTES_MAX, Place

Progress = Callable[[int, int], None]
"""(done, of how many), in records."""


@dataclass(frozen=True, slots=True)
class ScannedRecord:
    """A record where it lies.

    Attributes
    ----------
    journal, journal_offset : where the worker journaled it: two records of one such place are copies
    rows_total : rows of its worker in this topic and partition so far, as its header says; None in a journal
    is_waiting : nobody has committed it yet: it may not be stored
    """

    topic: str
    partition: int
    offset: int
    journal: str
    journal_offset: int
    rows_total: int | None
    is_waiting: bool
    record: Record


@dataclass(slots=True)
class Scan:
    """What a scan learns besides its records.

    Attributes
    ----------
    is_whole : nothing that was written since the asked time is gone again
    unreadable : records that are none of ours, or damaged
    """

    is_whole: bool = True
    unreadable: list[tuple[Place, int, str]] = field(default_factory=list)


def scan_journal(path: Path, table: Table, since_s: float, scan: Scan, progress: Progress) -> Iterator[ScannedRecord]:
    """The records of `table` that were journaled after `since_s`, as the writer names their places.

    Raises
    ------
    JournalNotFound, ControlStateError
    """
    facts = journal_facts(path, WRITER_READER_NAME)
    committed = facts.positions.get(WRITER_READER_NAME, 0)
    segments, scan.is_whole = kept_segments(path, since_s)
    topic = f"journal-{facts.id}/{table.name}"
    first = segments[0][0] if segments else 0
    for entry in entries_of(segments):
        progress(entry.offset - first, max(committed - first, 1))
        if entry.record.table == table.name:
            waits = entry.offset >= committed
            yield ScannedRecord(topic, 0, entry.offset, facts.id, entry.offset, None, waits, entry.record)


async def scan_kafka(
    config: KafkaConfig, table: Table, since_s: float, scan: Scan, progress: Progress
) -> AsyncIterator[ScannedRecord]:
    """The records of `table` that were received after `since_s`, up to where its topic ends now.

    Raises
    ------
    KafkaUnavailable
    """
    topic = config.topic_of(table.name)
    options = client_options(config, "ticktape-audit")
    try:
        stored = await committed_positions(config, "ticktape-audit")
        committed = {partition: offset for partition, (offset, _) in stored.items()}
        found = (await topics.describe(config)).get(topic)
        partitions = [TopicPartition(topic, number) for number in range(found.partitions if found else 0)]
        if not partitions:
            return
        consumer = AIOKafkaConsumer(
            **options,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        await consumer.start()
        try:
            ends = await _seek(consumer, partitions, since_s, scan)
            begins = {partition: await consumer.position(partition) for partition in ends}
            total = sum(ends[partition] - begins[partition] for partition in ends)
            left = set(ends)
            while True:
                positions = {partition: await consumer.position(partition) for partition in left}
                left = {partition for partition in left if positions[partition] < ends[partition]}
                consumer.pause(*(set(ends) - left))
                if not left:
                    return
                for partition, received in (await consumer.getmany(*left, timeout_ms=1000)).items():
                    for each in received:
                        record = record_of(each, table)
                        place = (topic, partition.partition)
                        if not isinstance(record, Record):
                            scan.unreadable.append((place, each.offset, record.reason))
                            continue
                        headers = dict(each.headers)
                        yield ScannedRecord(
                            *place,
                            each.offset,
                            headers.get("ticktape-journal", b"").decode(),
                            int(headers.get("ticktape-journal-offset", b"-1")),
                            int(headers.get("ticktape-rows-total", b"-1")),
                            each.offset >= committed.get(partition, 0),
                            record,
                        )
                progress(total - sum(ends[partition] - positions[partition] for partition in left), max(total, 1))
        finally:
            await consumer.stop()
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(config.bootstrap_servers, error) from error


async def _seek(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since_s: float, scan: Scan
) -> dict[TopicPartition, int]:
    """Go to the first records since `since_s`; where each partition ends now."""
    consumer.assign(partitions)
    beginnings = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(since_s * 1000)))
    for partition in partitions:
        at = found.get(partition)
        first = at.offset if at is not None else ends[partition]
        consumer.seek(partition, first)
        if beginnings[partition] > 0 and first == beginnings[partition]:
            scan.is_whole = False
    return ends
