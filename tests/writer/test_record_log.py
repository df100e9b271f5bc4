"""The contract of a record log, on the journal and on Kafka."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import pytest

from codec.records import Record
from codec.tables import CAPITAL_FLOW, TICKS
from sinks.journal import Journal
from sinks.journal_log import WRITER_READER_NAME, JournalRecordLog
from sinks.kafka_log import KafkaRecordLog
from sinks.positions import Position, StoredRecord
from sinks.record_log import EpochOver, LoggedRecord, Place, RecordLog, RecordLogMismatch, UnreadableRecord
from tests.support.batches import make_table_record
from tests.support.logs import KafkaTopics, ignore, nothing_stored

WAIT_S_MAX = 30.0


class Source(Protocol):
    """Something that records are put into, and that logs read."""

    async def put(self, records: list[Record]) -> None: ...

    def open_log(self) -> RecordLog: ...

    async def close(self) -> None: ...


class JournalSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal = Journal.open(path, readers=(WRITER_READER_NAME,))

    async def put(self, records: list[Record]) -> None:
        self._journal.append(records)

    def open_log(self) -> RecordLog:
        return JournalRecordLog(self._path)

    async def close(self) -> None:
        self._journal.close()


class KafkaSource(KafkaTopics):
    """Topics of its own, that logs read."""

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__(bootstrap_servers, partitions=3)

    async def send_aborted(self, record: Record) -> None:
        producer = await self.producer()
        await producer.begin_transaction()
        await self.send(record)
        await producer.abort_transaction()

    async def send_junk(self) -> None:
        producer = await self.producer()
        async with producer.transaction():
            await producer.send_and_wait(self.config.topic_of("ticks"), b"junk", partition=0)

    def open_log(self) -> RecordLog:
        return KafkaRecordLog(self.config)


@pytest.fixture(params=["journal", pytest.param("kafka", marks=pytest.mark.kafka)])
def make_source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Source]:
    if request.param == "journal":
        return lambda: JournalSource(tmp_path / "journal")
    bootstrap_servers: str = request.getfixturevalue("kafka_bootstrap")
    return lambda: KafkaSource(bootstrap_servers)


def positions(fetched: list[LoggedRecord]) -> dict[Place, Position]:
    """What to commit once all of `fetched` is stored."""
    return {each.place: Position(each.next_offset, StoredRecord(each.offset, each.crc32c)) for each in fetched}


async def fetch_all(log: RecordLog, count: int) -> list[LoggedRecord]:
    fetched: list[LoggedRecord] = []
    async with asyncio.timeout(WAIT_S_MAX):
        while len(fetched) < count:
            fetched += await log.fetch(0.2)
    return fetched


def some_records(count: int, first: int = 0) -> list[Record]:
    tables = (TICKS, CAPITAL_FLOW)
    return [
        make_table_record(tables[n % 2], 1 + n % 7, seed=n, partition=n // 2 % 3) for n in range(first, first + count)
    ]


def contents(fetched: list[LoggedRecord]) -> dict[Place, list[bytes]]:
    by_place: dict[Place, list[bytes]] = {}
    for logged in fetched:
        assert isinstance(logged.record, Record)
        by_place.setdefault(logged.place, []).append(logged.record.value)
    return by_place


async def test_every_record_comes_once_in_order_and_as_it_was(make_source: Callable[[], Source]) -> None:
    source = make_source()
    records = some_records(40)
    await source.put(records)
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 40)
    assert await log.fetch(0.05) == []
    await log.stop()
    await source.close()

    assert sorted(values for place in contents(fetched).values() for values in place) == sorted(
        record.value for record in records
    )
    for place in {logged.place for logged in fetched}:
        of_place = [logged for logged in fetched if logged.place == place]
        for before, after in itertools.pairwise(of_place):
            assert before.offset < before.next_offset <= after.offset
    for logged in fetched:
        assert isinstance(logged.record, Record)
        [original] = [record for record in records if record.value == logged.record.value]
        assert logged.record.rows == original.rows
        assert logged.record.crc32c == original.crc32c
        assert logged.record.table == original.table
        assert (logged.record.first_ts_ns, logged.record.last_ts_ns) == (original.first_ts_ns, original.last_ts_ns)


async def test_a_commit_names_the_next_record_to_read(make_source: Callable[[], Source]) -> None:
    source = make_source()
    await source.put(some_records(20))
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 20)
    await log.commit(positions(fetched), fetched[0].epoch)
    await log.stop()

    await source.put(some_records(10, first=20))
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    again = await fetch_all(log, 10)
    assert await log.fetch(0.05) == []
    await log.stop()
    await source.close()
    values = sorted(value for values in contents(again).values() for value in values)
    assert values == sorted(record.value for record in some_records(10, first=20))


async def test_what_was_not_committed_comes_again(make_source: Callable[[], Source]) -> None:
    """A commit of one place takes nothing from the others, however far it is."""
    source = make_source()
    await source.put(some_records(20))
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 20)
    committed = fetched[0].place
    await log.commit(positions([each for each in fetched if each.place == committed]), fetched[0].epoch)
    await log.stop()

    others = [logged for logged in fetched if logged.place != committed]
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    again = await fetch_all(log, len(others))
    await log.stop()
    await source.close()
    kept = {place: values for place, values in contents(again).items() if place != committed}
    assert kept == contents(others)


async def test_records_that_come_later_are_fetched(make_source: Callable[[], Source]) -> None:
    source = make_source()
    await source.put(some_records(2))
    log = source.open_log()
    await log.start(ignore, nothing_stored)
    await fetch_all(log, 2)
    fetching = asyncio.create_task(fetch_all(log, 3))
    await asyncio.sleep(0.1)
    await source.put(some_records(3, first=2))
    assert len(await fetching) == 3
    await log.stop()
    await source.close()


async def test_a_journal_knows_how_many_rows_are_stored(tmp_path: Path) -> None:
    source = JournalSource(tmp_path / "journal")
    records = some_records(9)
    await source.put(records)
    rows = [record.rows for record in records]
    log = JournalRecordLog(tmp_path / "journal")
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 9)
    assert log.committed_rows_total == 0
    await log.commit({fetched[0].place: Position(fetched[-1].next_offset)}, 0)  # the other table's first is at 1
    assert log.committed_rows_total == rows[0]
    await log.commit({fetched[1].place: Position(fetched[-1].next_offset)}, 0)
    assert log.committed_rows_total == sum(rows)
    await log.stop()
    await log.start(ignore, nothing_stored)
    assert log.committed_rows_total == sum(rows)
    await log.stop()
    await source.close()


@pytest.mark.kafka
async def test_aborted_records_never_come_and_junk_comes_as_unreadable(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap)
    [first, second] = [make_table_record(TICKS, 3, seed) for seed in range(2)]
    await source.put([first])
    await source.send_aborted(make_table_record(TICKS, 3, seed=9))
    await source.send_junk()
    await source.put([second])
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 3)
    assert [logged.record.value for logged in fetched] == [first.value, b"junk", second.value]
    assert isinstance(fetched[1].record, UnreadableRecord)
    assert fetched[1].record.table == "ticks"
    assert fetched[-1].next_offset == fetched[-1].offset + 2, "the end mark of its transaction has an offset too"
    await log.commit(positions(fetched), fetched[0].epoch)
    async with asyncio.timeout(WAIT_S_MAX):
        while log.lag_rows() > 0:
            await log.fetch(0.1)
    await log.stop()
    await source.close()


@pytest.mark.kafka
async def test_what_was_fetched_while_the_assignment_changed_comes_again_under_the_new_one(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = KafkaSource(kafka_bootstrap)
    records = some_records(6)
    await source.put(records)
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    consumer, member = log._started()
    getmany = consumer.getmany
    epochs: list[int] = []

    async def assigned_meanwhile(**options: Any) -> Any:
        received = await getmany(**options)
        if received and not epochs:
            epochs.append(member.epoch)
            member.revoked()
            member.assigned()
        return received

    monkeypatch.setattr(consumer, "getmany", assigned_meanwhile)
    fetched = await fetch_all(log, 6)
    assert [each.epoch for each in fetched] == [epochs[0] + 2] * 6
    assert sorted(each.record.value for each in fetched) == sorted(record.value for record in records)
    await log.stop()
    await source.close()


@pytest.mark.kafka
async def test_what_waits_is_known_while_nothing_is_fetched(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap)
    await source.put([make_table_record(TICKS, 5, seed) for seed in range(3)])
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    await fetch_all(log, 3)
    await source.put([make_table_record(TICKS, 5, seed) for seed in range(4)])
    async with asyncio.timeout(WAIT_S_MAX):
        while log.lag_rows() < 20:
            await log.measure_lag()
    await log.stop()
    await source.close()


@pytest.mark.kafka
async def test_partitions_that_go_to_another_reader_are_announced_first(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap)
    await source.put(some_records(6))
    revoked: list[Place] = []

    async def note(places: Collection[Place]) -> None:
        revoked.extend(places)

    first, second = KafkaRecordLog(source.config), KafkaRecordLog(source.config)
    await first.start(note, nothing_stored)
    fetched = await fetch_all(first, 6)
    await first.commit(positions(fetched), fetched[0].epoch)
    joining = asyncio.create_task(second.start(ignore, nothing_stored))
    async with asyncio.timeout(WAIT_S_MAX):
        while not joining.done():
            await first.fetch(0.1)
    assert {logged.place for logged in fetched} <= set(revoked)
    with pytest.raises(EpochOver):
        await first.commit({fetched[0].place: Position(0)}, fetched[0].epoch)
    await first.stop()
    await second.stop()
    await source.close()


@pytest.mark.kafka
async def test_a_topic_that_ends_below_what_was_stored_is_refused(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap)
    records = [make_table_record(TICKS, 1, seed) for seed in range(3)]
    await source.put(records)
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    fetched = await fetch_all(log, 3)
    await log.commit({fetched[0].place: Position(fetched[-1].next_offset + 1000)}, fetched[0].epoch)
    await log.stop()
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    with pytest.raises(RecordLogMismatch, match="was made anew"):
        await fetch_all(log, 1)
    await log.stop()
    await source.close()
