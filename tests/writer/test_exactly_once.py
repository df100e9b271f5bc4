"""Each guard of the way into ClickHouse, with the one failure that only it closes; see `tests.support.guards`."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aiokafka import TopicPartition

from codec.arrow import ipc_stream
from codec.records import Record, RecordKind
from codec.tables import TICKS
from sinks import blocks, kafka_beginning, kafka_log, kafka_member, look_up, positions
from sinks import writer as writer_module
from sinks.block_encoding import stream_of
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.kafka_beginning import PartitionFacts
from sinks.kafka_log import KafkaRecordLog
from sinks.positions import Position, StoredRecord
from sinks.record_log import EpochOver, LoggedRecord, Place, RecordLogMismatch
from sinks.writer import Writer
from tests.support.batches import make_batch
from tests.support.clickhouse_http import ClickHouseHttp, Fault
from tests.support.counting import rows_and_keys
from tests.support.guards import with_and_without
from tests.support.logs import FreezableLoop, KafkaTopics, ignore, nothing_stored
from tests.support.records import make_record
from tests.support.waiting import until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
async def source(kafka_bootstrap: str) -> AsyncIterator[KafkaTopics]:
    topics = KafkaTopics(kafka_bootstrap)
    await topics.producer()
    yield topics
    await topics.close()


class Sink:
    """A sink over the topics of `source`, in a database of its own there."""

    def __init__(self, source: KafkaTopics, server: ClickHouseHttp, flush_interval_s: float = 0.05) -> None:
        database = source.config.topic_prefix
        self.clickhouse = ClickHouse(ClickHouseConfig(server.url, database, flush_interval_s=flush_interval_s))
        self.log = KafkaRecordLog(source.config)
        self.writer = Writer(self.log, self.clickhouse)

    async def start(self) -> None:
        self.writer.start()
        await until(lambda: self.writer.stats.started)
        # A merge would replace rows that are there twice before anybody counts them.
        self.clickhouse.execute(f"SYSTEM STOP MERGES {self.clickhouse.database}.ticks")

    async def stop(self) -> None:
        await self.writer.stop(5.0)
        self.clickhouse.close()

    async def die(self) -> None:
        """End as a process that is killed, but that the group is told: it need not wait for the session to end."""
        task = self.writer._task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        await self.log.stop()

    async def until_stored(self, rows: int) -> None:
        await until(lambda: self.counts()[0] >= rows)

    def counts(self, table: str = "ticks") -> tuple[int, int]:
        """Rows, and rows with different keys."""
        key = {"ticks": "source, symbol, sequence, ordinal", "dead_letters": "_offset, _row"}[table]
        return rows_and_keys(self.clickhouse, key, table)

    def forget_tokens(self) -> None:
        """Let the table forget what was inserted: two rows of other places are more than its window now."""
        self.clickhouse.execute(
            f"ALTER TABLE {self.clickhouse.database}.ticks MODIFY SETTING non_replicated_deduplication_window = 1"
        )
        for number in (900, 901):
            row = stream_of(make_batch(TICKS, 1, 1, first=number))
            self.clickhouse.insert("ticks", row, f"of another place {number}")


def ticks(count: int, first: int = 0, rows: int = 10) -> list[Record]:
    """Records of `rows` ticks each, from row 10 x `first` of one day on."""
    day = make_batch(TICKS, 200, seed=1)
    parts = [day.slice(10 * first + n * rows, rows) for n in range(count)]
    return [make_record(ipc_stream(part), rows=rows) for part in parts]


def over_two_months() -> Record:
    batch = make_batch(TICKS, 40, seed=1)
    days = pa.array(np.where(np.arange(40) % 2, 20_370, 20_400).astype(np.int32)).cast(pa.date32())
    column = batch.schema.get_field_index("trade_date")
    return make_record(ipc_stream(batch.set_column(column, batch.schema.field(column), days)), rows=40)


def name_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each insert a token of its own. Without any, ClickHouse compares contents, and does as well here."""
    insert, numbers = ClickHouse.insert, itertools.count()

    def insert_as_another(self: ClickHouse, table: str, stream: pa.Buffer, token: str) -> None:
        insert(self, table, stream, f"{token}/{next(numbers)}")

    monkeypatch.setattr(ClickHouse, "insert", insert_as_another)


@with_and_without
@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.CUT_AFTER, Fault.SILENT_AFTER, Fault.KILLED_INSIDE])
async def test_token_an_insert_is_applied_and_its_answer_lost(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, fault: Fault, guarded: bool
) -> None:
    monkeypatch.setattr("sinks.clickhouse.ANSWER_TIMEOUT_S", 1)
    if not guarded:
        name_anew(monkeypatch)
    await source.put([over_two_months()])
    server.fail_inserts(fault, code=241 if fault is Fault.ERROR_AFTER else 0)
    sink = Sink(source, server)
    await sink.start()
    await until(lambda: sink.writer.stats.inserts == 1)
    rows, keys = sink.counts()
    await sink.stop()
    assert keys == 40
    assert (rows == 40) is guarded


@with_and_without
async def test_intent_blocks_are_cut_anew_while_an_insert_is_on_its_way(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        note = Position.note
        monkeypatch.setattr(Position, "note", lambda self: note(dataclasses.replace(self, intents=())))
    await source.put(ticks(5))
    server.fail_inserts(Fault.HOLD)
    before = Sink(source, server, flush_interval_s=0.5)
    await before.start()
    await until(lambda: any("ticks/0/" in token for token in server.tokens() if source.config.topic_prefix in token))
    await before.die()
    await source.put(ticks(5, first=5))
    after = Sink(source, server, flush_interval_s=0.5)
    await after.start()
    await after.until_stored(100)
    server.release()
    await until(lambda: after.counts()[0] > 100, must=not guarded, patience_s=0.5 if guarded else 10.0)
    rows, keys = after.counts()
    assert keys == 100
    assert (rows == keys) is guarded
    await after.stop()


@with_and_without
async def test_look_up_a_second_worker_sends_what_the_first_one_sent(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """It takes the symbols over, and pulls their last ticks without knowing which are in Kafka."""
    if not guarded:
        monkeypatch.setattr(blocks, "may_repeat", lambda *_: False)
    await source.put(ticks(5))
    sink = Sink(source, server)
    await sink.start()
    await sink.until_stored(50)
    [pulled] = [dataclasses.replace(each, kind=RecordKind.BACKFILL) for each in ticks(1, first=3, rows=40)]
    await source.put([pulled], worker="w-2", journal="another")
    await until(lambda: sink.counts()[1] == 70)
    assert sink.counts() == ((70, 70) if guarded else (90, 70))
    await sink.stop()


@with_and_without
async def test_look_up_a_crash_between_insert_and_commit_and_the_token_is_forgotten(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(look_up, "stored_rows", lambda _, __, batch: np.zeros(batch.num_rows, bool))
    await source.put(ticks(1, rows=50))
    before = Sink(source, server)
    server.fail_inserts(Fault.ERROR_AFTER, code=241)
    with monkeypatch.context() as patient:
        patient.setattr("sinks.writer.Backoff.delays_s", lambda *_: iter([60.0]))
        await before.start()
        await before.until_stored(50)
        await until(lambda: before.writer.stats.clickhouse.trouble is not None)
        await before.die()
    before.forget_tokens()
    after = Sink(source, server)
    await after.start()
    await until(lambda: after.writer.stats.inserts == 1)
    assert after.counts()[0] == (52 if guarded else 102)
    await after.stop()


@with_and_without
async def test_epoch_a_commit_meant_under_an_earlier_assignment(
    source: KafkaTopics, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """A writer that was stopped wakes up, is given the partition again, and commits what it was about to."""
    if not guarded:

        async def commit_whatever_happened(self: Any, epoch: int, offsets: Any) -> None:
            await self._consumer.commit(offsets)

        monkeypatch.setattr(kafka_member.GroupMember, "commit", commit_whatever_happened)
    await source.put(ticks(5))
    place = (source.config.topic_of("ticks"), 0)
    zombie, other = KafkaRecordLog(source.config), KafkaRecordLog(source.config)
    await zombie.start(ignore, nothing_stored)
    fetched: list[LoggedRecord] = []
    while not fetched:
        fetched = await zombie.fetch(0.5)
    reading = [asyncio.create_task(fetch_for_ever(zombie))]
    await other.start(ignore, nothing_stored)
    reading.append(asyncio.create_task(fetch_for_ever(other)))
    await until(lambda: has_begun(zombie, place) or has_begun(other, place))
    owner = other if has_begun(other, place) else zombie
    await owner.commit({place: Position(10)}, owner._started()[1].epoch)
    await stop_reading(reading.pop())
    await other.stop()
    await until(lambda: has_begun(zombie, place) and not zombie._started()[0]._subscription.reassignment_in_progress)
    if guarded:
        with pytest.raises(EpochOver):
            await zombie.commit({place: Position(2)}, fetched[0].epoch)
    else:
        await zombie.commit({place: Position(2)}, fetched[0].epoch)
    assert (await source.committed())[place][0] == (10 if guarded else 2)
    await stop_reading(reading.pop())
    await zombie.stop()


async def fetch_for_ever(log: KafkaRecordLog) -> None:
    while True:
        await log.fetch(0.1)


async def stop_reading(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def has_begun(log: KafkaRecordLog, place: Place) -> bool:
    """Whether `log` has the place, by the newest assignment."""
    consumer, member = log._started()
    assigned = member.is_assigned and TopicPartition(*place) in consumer.assignment()
    return assigned and log._begun_epoch == member.epoch


@with_and_without
@pytest.mark.parametrize("wakes", ["insert first", "rejoins first"])
async def test_heartbeat_a_stopped_writer_inserts_what_another_has_stored_long_ago(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, wakes: str, guarded: bool
) -> None:
    """By then the table remembers the token no more.

    Its heartbeats tell when it wakes in the middle of the insert, its epoch when it was in the group
    again before.
    """
    for module in (kafka_member, kafka_log):
        monkeypatch.setattr(module, "SESSION_TIMEOUT_MS", 6000)
    monkeypatch.setattr(writer_module, "LET_GO_S", 0.1)
    if not guarded:
        require = kafka_member.GroupMember.require
        left: dict[str, Any] = {
            "insert first": lambda *_: None,
            "rejoins first": lambda self, _: require(self, self.epoch),  # by its heartbeats alone
        }
        monkeypatch.setattr(kafka_member.GroupMember, "require", left[wakes])
    loop, zombie, other = FreezableLoop(), Sink(source, server), Sink(source, server)
    about_to_insert = threading.Event()
    await source.put(ticks(1))
    await loop.run(zombie.start())
    await zombie.until_stored(10)
    for _ in range(zombie.clickhouse.inserts_max):
        zombie.writer._inserting._calls.put(about_to_insert.wait)  # type: ignore[arg-type]
    await source.put(ticks(4, first=1))
    await until_named(source, (source.config.topic_of("ticks"), 0))
    loop.freeze()

    await other.start()
    await other.until_stored(50)
    other.forget_tokens()
    if wakes == "rejoins first":
        member = zombie.log._started()[1]
        epoch, heard_ns = member.epoch, member._heard_ns
        loop.thaw()
        await until(lambda: member.is_assigned and member.epoch > epoch and member._heard_ns > heard_ns)
    about_to_insert.set()
    await until(lambda: other.counts()[0] > 52, must=not guarded, patience_s=0.7 if guarded else 10.0)
    rows, keys = other.counts()
    assert keys == 52
    assert (rows == keys) is guarded
    loop.thaw()
    await loop.run(zombie.stop())
    await other.stop()
    loop.close()


async def test_records_that_retention_removed_are_in_the_ledger(source: KafkaTopics, server: ClickHouseHttp) -> None:
    await source.put(ticks(5))
    before = Sink(source, server)
    await before.start()
    await before.until_stored(50)
    await before.stop()
    await source.put(ticks(5, first=5))
    place = (source.config.topic_of("ticks"), 0)
    await source.remove_before(place, 16)
    after = Sink(source, server)
    server.fail_inserts(Fault.CUT_AFTER, count=2)
    await after.start()
    await after.until_stored(70)
    database = after.clickhouse.database
    gaps = after.clickhouse.rows(f"SELECT * FROM {database}.gaps")
    symbols = after.clickhouse.rows(f"SELECT DISTINCT source, symbol FROM {database}.ticks WHERE _offset < 10")
    assert {(gap["source"], gap["symbol"]) for gap in gaps} == {(row["source"], row["symbol"]) for row in symbols}
    assert len({gap["gap_id"] for gap in gaps}) == len(gaps) == len(symbols)
    for gap in gaps:
        assert (gap["feed"], gap["cause"], gap["state"], gap["missing"]) == ("ticks", "kafka_retention", "lost", None)
        assert None not in (gap["from_ts"], gap["to_ts"], gap["from_sequence"])
    assert after.log.missing_records == 6
    assert after.counts() == (70, 70)
    await after.stop()


async def test_records_that_retention_removed_before_the_first_commit_are_in_the_ledger(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that starts late, and ends between the name of its first block and its insert."""
    await source.put(ticks(10))
    place = (source.config.topic_of("ticks"), 0)
    await source.remove_before(place, 16)
    before = Sink(source, server)
    with monkeypatch.context() as patient:
        patient.setattr("sinks.writer.Backoff.delays_s", lambda *_: iter([60.0]))
        server.fail_inserts(Fault.CUT_BEFORE)
        await before.start()
        await until_named(source, place)
        await until(lambda: before.writer.stats.clickhouse.trouble is not None)
        await before.die()
    after = Sink(source, server)
    await after.start()
    await after.until_stored(20)
    [gap] = after.clickhouse.rows(f"SELECT * FROM {after.clickhouse.database}.gaps")
    assert (gap["feed"], gap["cause"], gap["state"], gap["symbol"]) == ("ticks", "kafka_retention", "lost", "")
    assert (gap["from_ts"], gap["to_ts"] is None) == (None, False)
    assert after.counts() == (20, 20)
    await after.stop()


async def test_retention_that_goes_on_before_the_first_fetch_loses_nothing_of_what_it_removed_before(
    source: KafkaTopics,
) -> None:
    await source.put(ticks(5))
    place = (source.config.topic_of("ticks"), 0)
    await source.remove_before(place, 4)
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    consumer, member = log._started()
    await until(lambda: member.is_assigned)
    consumer.pause(TopicPartition(*place))  # until retention was faster again
    await log._begin(consumer.assignment())
    assert log.missing_records == 4
    await source.remove_before(place, 8)
    consumer.resume(TopicPartition(*place))
    fetched: list[LoggedRecord] = []
    async with asyncio.timeout(30.0):
        while not fetched:
            fetched = await log.fetch(0.2)
    assert [(logged.offset, logged.lost_from) for logged in fetched] == [(8, 0)]
    assert log.missing_records == 8
    await log.stop()


@with_and_without
async def test_look_up_a_sink_whose_positions_are_gone_is_stopped_before_it_has_caught_up(
    source: KafkaTopics, server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """What it has stored before stays doubtful for whoever goes on."""
    if not guarded:
        note = Position.note
        monkeypatch.setattr(Position, "note", lambda self: note(dataclasses.replace(self, doubtful_before=0)))
    await source.put(ticks(10))
    sink = Sink(source, server)
    await sink.start()
    await sink.until_stored(100)
    await sink.stop()
    place = (source.config.topic_of("ticks"), 0)
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    while not log._plans:
        await log.fetch(0.5)
    epoch = log._started()[1].epoch
    # As after `kafka-consumer-groups --reset-offsets --to-earliest`, and one block later.
    first = kafka_beginning.plan(place, PartitionFacts(0, 20, (0, "")), None).beginning
    queue = blocks.PlaceQueue(place, first)
    for number, record in enumerate(ticks(3)):
        queue.append(LoggedRecord(*place, 2 * number, 2 * number + 2, record), 0)
    await log.commit({place: queue.cut().position}, epoch)
    await log.stop()
    after = Sink(source, server)
    await after.start()
    await until(lambda: after.writer.stats.inserts > 0)
    assert after.counts() == ((100, 100) if guarded else (170, 100))
    await after.stop()


async def test_a_topic_with_other_records_where_the_last_one_was_stored_is_refused(
    source: KafkaTopics, server: ClickHouseHttp
) -> None:
    await source.put(ticks(5))
    log = KafkaRecordLog(source.config)
    await log.start(ignore, nothing_stored)
    fetched: list[LoggedRecord] = []
    while len(fetched) < 5:
        fetched += await log.fetch(0.5)
    await log.commit({fetched[0].place: Position(8, StoredRecord(6, fetched[3].crc32c ^ 1))}, fetched[0].epoch)
    await log.stop()
    sink = Sink(source, server)
    sink.writer.start()
    with pytest.raises(RecordLogMismatch, match="another record at offset 6"):
        await sink.writer.wait()
    await sink.stop()


async def until_named(source: KafkaTopics, place: tuple[str, int]) -> None:
    async with asyncio.timeout(30):
        while True:
            offset, note = (await source.committed()).get(place, (0, ""))
            position = positions.position_of(offset, note)
            if position is not None and position.intents:
                return
            await asyncio.sleep(0.05)
