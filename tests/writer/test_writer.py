"""The writer over a journal: exact counts whatever ClickHouse does, commits only after inserts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from codec.arrow import ipc_stream
from codec.records import Record
from codec.tables import CAPITAL_FLOW, TICKS, Table
from sinks import block_store, blocks, commits
from sinks import writer as writer_module
from sinks.block_encoding import RecordSchemaUnknown
from sinks.blocks import PlaceQueue
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.clickhouse_errors import ClickHouseFolderLocked
from sinks.journal import Journal, JournalReader
from sinks.journal_log import WRITER_READER_NAME, JournalRecordLog
from sinks.positions import Position
from sinks.record_log import (
    LoggedRecord,
    RecordLogUnavailable,
    UnreadableRecord,
)
from sinks.schema import SchemaMismatch
from sinks.writer import Writer
from tests.support.batches import make_batch, make_table_record
from tests.support.clickhouse_http import ClickHouseHttp, Fault
from tests.support.records import make_record
from tests.support.scripted_log import ScriptedLog, scripted
from tests.support.waiting import PATIENCE_S, until
from tests.writer.conftest import counts


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal", readers=(WRITER_READER_NAME,))
    yield opened
    opened.close()


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    opened = ClickHouse(ClickHouseConfig(f"chdb://{tmp_path / 'clickhouse'}", flush_interval_s=0.05))
    yield opened
    opened.close()


def make_writer(tmp_path: Path, clickhouse: ClickHouse) -> Writer:
    return Writer(JournalRecordLog(tmp_path / "journal"), clickhouse)


async def until_stored(writer: Writer, rows: int) -> None:
    await until(lambda: sum(writer.stats.stored_rows.values()) >= rows)


async def ended(writer: Writer) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await writer.wait()


def is_ready(writer: Writer) -> bool:
    return writer.stats.ready


def committed(tmp_path: Path) -> int:
    reader = JournalReader(tmp_path / "journal", WRITER_READER_NAME)
    position = reader.position
    reader.close()
    return position


def ticks(count: int, rows: int = 10) -> list[Record]:
    return [make_table_record(TICKS, rows, seed=n, first=n * rows) for n in range(count)]


async def test_everything_in_the_journal_gets_to_clickhouse(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    tables: tuple[Table, ...] = (TICKS, CAPITAL_FLOW)
    for n in range(60):
        journal.append([make_table_record(table, 10, seed=n, first=n * 10) for table in tables])
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until_stored(writer, 1200)
    journal.append(ticks(1))
    await until_stored(writer, 1210)
    stats = writer.stats
    assert stats.stored_rows == Counter(ticks=610, capital_flow=600)
    assert (stats.held_rows, stats.held_bytes, stats.ready) == (0, 0, True)
    assert writer.lag_s(time.time_ns()) == 0.0
    await writer.stop(5.0)
    await ended(writer)
    assert committed(tmp_path) == journal.next_offset
    assert int(stats.latency.counts.sum()) == 1210
    assert counts(clickhouse) == (610, 610)
    [row] = clickhouse.rows("SELECT DISTINCT _topic AS topic FROM ticktape.ticks")
    assert row["topic"] == f"journal-{journal.id}/ticks"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.ERROR_BEFORE, 252),  # too many parts
        (Fault.ERROR_BEFORE, 0),  # a proxy in between
        (Fault.ERROR_AFTER, 159),  # stored, and a time-out all the same
        (Fault.CUT_BEFORE, 0),
        (Fault.CUT_AFTER, 0),
        (Fault.ERROR_AFTER, 99999),  # whatever that is
    ],
)
async def test_a_failing_clickhouse_loses_and_repeats_nothing(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse, fault: Fault, code: int
) -> None:
    writer = make_writer(tmp_path, remote)
    writer.start()
    journal.append(ticks(3))
    await until_stored(writer, 30)
    await until(lambda: committed(tmp_path) == 3)

    server.fail_inserts(fault, count=3, code=code)
    journal.append([make_table_record(TICKS, 10, seed=n, first=n * 10) for n in range(3, 9)])
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    assert not is_ready(writer)
    assert committed(tmp_path) == 3, "committed before it was stored"
    assert writer.lag_s(time.time_ns()) > 0
    await until_stored(writer, 90)
    assert is_ready(writer)
    await writer.stop(5.0)
    assert committed(tmp_path) == 9
    tokens = Counter(server.tokens())
    assert max(tokens.values()) == 4, "the same block under the same token"
    assert counts(remote) == (90, 90)


async def test_a_clickhouse_that_is_down_is_waited_for(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse
) -> None:
    server.stop()
    journal.append(ticks(5))
    writer = make_writer(tmp_path, remote)
    writer.start()
    await until(lambda: "Connection refused" in (writer.stats.clickhouse.trouble or ""))
    assert not is_ready(writer)
    server.start()
    await until_stored(writer, 50)

    server.stop()
    journal.append([make_table_record(TICKS, 10, seed=n, first=n * 10) for n in range(5, 9)])
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    assert committed(tmp_path) <= 5
    server.start()
    await until_stored(writer, 90)
    await writer.stop(5.0)
    assert counts(remote) == (90, 90)


async def test_stopping_while_clickhouse_is_down_commits_nothing_and_is_quick(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse
) -> None:
    writer = make_writer(tmp_path, remote)
    writer.start()
    await until(lambda: writer.stats.ready)
    server.fail_inserts(Fault.ERROR_BEFORE, count=1000, code=243)
    journal.append(ticks(5))
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    before_s = time.monotonic()
    await writer.stop(0.5)
    assert time.monotonic() - before_s < 2.0
    await ended(writer)
    assert committed(tmp_path) == 0
    assert counts(remote) == (0, 0)


async def test_stopping_before_clickhouse_ever_answered_is_immediate(tmp_path: Path, journal: Journal) -> None:
    down = ClickHouse(ClickHouseConfig("http://127.0.0.1:1"))
    writer = make_writer(tmp_path, down)
    writer.start()
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    before_s = time.monotonic()
    await writer.stop(10.0)
    assert time.monotonic() - before_s < 1.0


async def test_stop_stores_what_is_held(tmp_path: Path, journal: Journal) -> None:
    patient = ClickHouse(ClickHouseConfig(f"chdb://{tmp_path / 'clickhouse'}", flush_interval_s=60.0))
    writer = make_writer(tmp_path, patient)
    writer.start()
    journal.append(ticks(5))
    await until(lambda: writer.stats.held_rows == 50)
    await asyncio.sleep(0.1)
    assert writer.stats.inserts == 0
    await writer.stop(5.0)
    assert counts(patient) == (50, 50)
    assert committed(tmp_path) == 5
    patient.close()


def with_bad_rows(batch: pa.RecordBatch, bad: set[int]) -> pa.RecordBatch:
    """`batch` with a direction that no table lists in some rows."""
    place = batch.schema.get_field_index("direction")
    words = ["martian" if row in bad else "buy" for row in range(batch.num_rows)]
    martian = pa.array(words).dictionary_encode().cast(batch.schema.field(place).type)
    return batch.set_column(place, batch.schema.field(place), martian)


async def test_rows_that_clickhouse_refuses_become_dead_letters_and_the_others_are_stored(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    bad = {0, 7, 8, 29}
    batch = with_bad_rows(make_batch(TICKS, 30, seed=5, first=1000), bad)
    journal.append([*ticks(2), make_record(ipc_stream(batch), rows=30), make_table_record(TICKS, 5, 9, first=5000)])
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until_stored(writer, 51)
    await writer.stop(5.0)
    assert writer.stats.stored_rows["ticks"] == 51
    assert writer.stats.dead_letters == Counter({("ticks", "refused_by_clickhouse"): 4})
    assert counts(clickhouse) == (51, 51)
    letters = clickhouse.rows("SELECT * FROM ticktape.dead_letters ORDER BY _offset, _row")
    assert [(letter["_offset"], letter["_row"]) for letter in letters] == [(2, row) for row in sorted(bad)]
    for letter in letters:
        assert letter["feed"] == "ticks"
        assert "martian" in letter["detail"]
        assert '"direction": "martian"' in letter["payload"]
        assert letter["payload_bytes"] == len(letter["payload"].encode())
        assert letter["_topic"] == f"journal-{journal.id}/ticks"
    assert committed(tmp_path) == 4


async def test_a_null_where_the_record_itself_allows_none_blocks_nothing(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    batch = make_batch(TICKS, 9, seed=5)
    place = batch.schema.get_field_index("price")
    prices = pa.array([None if row == 4 else 1.5 for row in range(9)])
    with_null = batch.set_column(place, batch.schema.field(place), prices)
    assert not with_null.schema.field(place).nullable
    journal.append([*ticks(1), make_record(ipc_stream(with_null), rows=9)])
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until(lambda: committed(tmp_path) == 2)
    await writer.stop(5.0)
    assert counts(clickhouse) == (18, 18)
    [letter] = clickhouse.rows("SELECT _offset, _row, detail FROM ticktape.dead_letters")
    assert letter == {"_offset": 1, "_row": 4, "detail": "price: is null, and must not be"}


async def test_a_fault_that_all_rows_share_takes_no_insert_for_each(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse
) -> None:
    batch = with_bad_rows(make_batch(TICKS, 3000, seed=5), set(range(2990)))
    journal.append([make_record(ipc_stream(batch), rows=3000)])
    writer = make_writer(tmp_path, remote)
    writer.start()
    await until_stored(writer, 10)
    await writer.stop(5.0)
    assert len(server.tokens()) == 3, "the whole, the good rows, the dead letters"
    assert counts(remote) == (10, 10)
    assert counts(remote, "dead_letters") == (2990, 2990)


async def test_rows_that_an_owner_refuses_cost_a_bounded_number_of_inserts(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody here can know a constraint that somebody added: only trying tells, and not for ever."""
    monkeypatch.setattr(block_store, "REFUSALS_MAX", 20)
    writer = make_writer(tmp_path, remote)
    writer.start()
    await until(lambda: is_ready(writer))
    remote.execute("ALTER TABLE ticktape.ticks ADD CONSTRAINT odd CHECK ordinal % 40 != 7")
    journal.append([make_record(ipc_stream(make_batch(TICKS, 2000, seed=5)), rows=2000)])
    await until(lambda: committed(tmp_path) == 1)
    await writer.stop(5.0)
    assert len(server.tokens()) < 100
    stored, dead = counts(remote)[0], counts(remote, "dead_letters")[0]
    assert stored + dead == 2000
    assert dead >= 50


async def test_a_refused_block_may_fail_anywhere_and_is_still_stored_once(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse
) -> None:
    batch = with_bad_rows(make_batch(TICKS, 20, seed=5), {3, 11})
    journal.append([make_record(ipc_stream(batch), rows=20)])
    writer = make_writer(tmp_path, remote)
    for fault in (Fault.ERROR_AFTER, Fault.CUT_BEFORE, Fault.CUT_AFTER):
        server.fail_inserts(Fault.DELAY)
        server.fail_inserts(fault, code=0 if fault is not Fault.ERROR_AFTER else 241)
    writer.start()
    await until_stored(writer, 18)
    await writer.stop(5.0)
    assert counts(remote) == (18, 18)
    assert counts(remote, "dead_letters") == (2, 2)


async def test_a_record_that_is_no_arrow_stream_becomes_a_dead_letter(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    journal.append([*ticks(1), make_record(b"\x00junk" * 2000, rows=3), make_table_record(TICKS, 10, 7, first=500)])
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until_stored(writer, 20)
    await until(lambda: committed(tmp_path) == 3)
    await writer.stop(5.0)
    [letter] = clickhouse.rows("SELECT * FROM ticktape.dead_letters")
    assert (letter["reason"], letter["feed"], letter["payload_bytes"], letter["_offset"]) == (
        "undecodable",
        "ticks",
        10_000,
        1,
    )
    [row] = clickhouse.rows("SELECT length(payload) AS payload FROM ticktape.dead_letters")
    assert row["payload"] == 4096


async def test_a_writer_that_is_killed_in_an_insert_leaves_the_same_block_to_the_next_one(
    tmp_path: Path, journal: Journal, server: ClickHouseHttp, remote: ClickHouse
) -> None:
    """The journal keeps the names of blocks as Kafka does, those of all its tables in one change."""
    log = JournalRecordLog(tmp_path / "journal")
    killed = Writer(log, remote)
    server.fail_inserts(Fault.ERROR_AFTER, count=1000, code=159)
    killed.start()
    await until(lambda: is_ready(killed))
    journal.append([*ticks(3), make_table_record(CAPITAL_FLOW, 10, seed=1)])
    await until(lambda: counts(remote)[0] == 30 and counts(remote, "capital_flow")[0] == 10)
    assert killed._task is not None
    killed._task.cancel()
    await asyncio.wait([killed._task])
    with pytest.raises(RecordLogUnavailable, match="another process"):
        await JournalRecordLog(tmp_path / "journal").start(killed._let_go, killed._stored_until)
    await log.stop()
    first = set(server.tokens())
    assert committed(tmp_path) == 0

    journal.append(ticks(2))
    server.stop()
    server.start()  # it forgets the faults, and its tokens
    again = make_writer(tmp_path, remote)
    again.start()
    await until(lambda: committed(tmp_path) == 6)
    assert first & set(server.tokens()) == set(), "what the table holds whole needs no insert"
    await again.stop(5.0)
    assert counts(remote) == (50, 50)
    assert counts(remote, "capital_flow") == (10, 10)


async def test_a_journal_whose_state_was_lost_is_read_anew_and_nothing_stored_twice(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    journal.append(ticks(5))
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until(lambda: committed(tmp_path) == 5)
    await writer.stop(5.0)
    reader = JournalReader(tmp_path / "journal", "other")
    with reader.control._transaction() as control:
        control.execute("DELETE FROM readers")
        control.execute("DELETE FROM blobs")
    reader.close()
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until(lambda: committed(tmp_path) == 5)
    await writer.stop(5.0)
    assert counts(clickhouse) == (50, 50)


async def test_a_place_whose_epoch_may_be_over_gets_no_insert(server: ClickHouseHttp) -> None:
    remote = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog(scripted(0, 2))
    log.epoch_over = True
    writer = Writer(log, remote)
    writer.start()
    await until(lambda: "no heartbeat" in (writer.stats.record_log.trouble or ""))
    assert server.tokens() == []
    log.epoch_over = False
    await until_stored(writer, 20)
    await writer.stop(5.0)
    remote.close()


async def test_named_blocks_that_need_more_than_the_bound_are_fetched_all_the_same(
    server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = scripted(0, 20)
    monkeypatch.setattr(writer_module, "HELD_BYTES_MAX", 5 * len(records[0].record.value))
    queue = PlaceQueue(("t", 0))
    for record in records:
        queue.append(record, 0)
    remote = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog(records)
    log.beginnings["t", 0] = Position(0, intents=(queue.cut().name,))
    writer = Writer(log, remote)
    writer.start()
    await until_stored(writer, 200)
    await writer.stop(5.0)
    assert len(server.tokens()) == 1
    remote.close()


async def test_a_table_that_does_not_fit_ends_the_writer(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    clickhouse.execute("CREATE DATABASE ticktape")
    clickhouse.execute("CREATE TABLE ticktape.ticks (symbol String) ENGINE = MergeTree ORDER BY symbol")
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    with pytest.raises(SchemaMismatch, match=r"RENAME TABLE `ticktape`.`ticks`"):
        await ended(writer)
    await writer.stop(1.0)


async def test_a_table_that_changes_under_the_writer_costs_no_row(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    """The rows are fine: they must not end among the dead letters."""
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until(lambda: writer.stats.ready)
    clickhouse.execute("ALTER TABLE ticktape.ticks MODIFY COLUMN delivery Enum8('realtime' = 1)")
    journal.append(ticks(5))
    with pytest.raises(SchemaMismatch, match="delivery"):
        await ended(writer)
    await writer.stop(1.0)
    assert committed(tmp_path) == 0
    assert counts(clickhouse, "dead_letters") == (0, 0)


async def test_a_dropped_table_ends_the_writer(tmp_path: Path, journal: Journal, clickhouse: ClickHouse) -> None:
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    await until(lambda: writer.stats.ready)
    clickhouse.execute("DROP TABLE ticktape.ticks SYNC")
    journal.append(ticks(1))
    with pytest.raises(SchemaMismatch, match="does not exist"):
        await ended(writer)
    await writer.stop(1.0)


async def test_records_of_a_newer_version_end_the_writer(
    tmp_path: Path, journal: Journal, clickhouse: ClickHouse
) -> None:
    batch = make_batch(TICKS, 3, 1)
    newer = batch.append_column("yield", batch.column("price"))
    journal.append([make_record(ipc_stream(newer), rows=3)])
    writer = make_writer(tmp_path, clickhouse)
    writer.start()
    with pytest.raises(RecordSchemaUnknown, match="yield"):
        await ended(writer)
    await writer.stop(1.0)
    assert committed(tmp_path) == 0


async def test_a_held_folder_ends_the_writer(tmp_path: Path, journal: Journal, clickhouse: ClickHouse) -> None:
    clickhouse.rows("SELECT 1")
    second = ClickHouse(clickhouse.config)
    writer = make_writer(tmp_path, second)
    writer.start()
    with pytest.raises(ClickHouseFolderLocked):
        await ended(writer)
    await writer.stop(1.0)


async def test_a_place_that_is_taken_away_is_finished_or_forgotten(server: ClickHouseHttp) -> None:
    """What is being inserted is committed; what only waits is left to the next reader."""
    slow = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog(scripted(0, 1))
    writer = Writer(log, slow)
    writer.start()
    await until(lambda: writer.stats.ready)
    server.fail_inserts(Fault.DELAY, count=1)
    await until(lambda: len(server.tokens()) == 1)
    log.waiting = [LoggedRecord("t", 0, 2, 4, make_table_record(TICKS, 10, seed=1, first=10))]
    await until(lambda: log.fetched == 2)
    await log.revoke([("t", 0), ("t", 5)])
    assert log.stored == {("t", 0): 2}
    assert (writer.stats.held_rows, writer.stats.held_bytes) == (0, 0)
    await asyncio.sleep(0.2)
    assert len(server.tokens()) == 1
    await writer.stop(5.0)
    assert log.stored == {("t", 0): 2}
    slow.close()


async def test_a_place_that_cannot_finish_is_let_go_uncommitted(
    server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LET_GO_S", 0.3)
    broken = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog(scripted(0, 1))
    writer = Writer(log, broken)
    server.fail_inserts(Fault.ERROR_BEFORE, count=1000, code=252)
    writer.start()
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    await log.revoke([("t", 0)])
    assert log.stored == {("t", 0): 0}
    assert writer.stats.held_rows == 0
    assert is_ready(writer)
    await writer.stop(5.0)
    broken.close()


async def test_a_commit_that_fails_is_made_again_with_the_newest_positions(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_RETRY_S", 0.01)
    log = ScriptedLog([*scripted(0, 5), *scripted(1, 3)])
    log.commits_to_fail = 3
    writer = Writer(log, clickhouse)
    writer.start()
    await until(lambda: writer.stats.record_log.trouble is not None)
    await until_stored(writer, 80)
    await until(lambda: writer.stats.ready)
    await writer.stop(5.0)
    assert log.stored == {("t", 0): 10, ("t", 1): 6}


async def test_no_block_is_inserted_before_a_commit_names_it(server: ClickHouseHttp, remote: ClickHouse) -> None:
    """Whoever came next would cut other blocks while the insert is on its way."""
    log = ScriptedLog([])
    writer = Writer(log, remote)
    writer.start()
    await until(lambda: writer.stats.started)
    log.commits_to_fail = 1_000_000
    log.waiting = scripted(0, 3)
    await until(lambda: writer.stats.record_log.trouble is not None)
    await asyncio.sleep(0.3)
    assert server.tokens() == []
    log.commits_to_fail = 0
    await until_stored(writer, 30)
    await writer.stop(5.0)
    assert counts(remote) == (30, 30)


async def test_a_block_keeps_its_name_while_the_one_before_it_is_committed(
    server: ClickHouseHttp, remote: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS_MAX", 10)
    log = ScriptedLog([])
    writer = Writer(log, remote)
    writer.start()
    await until(lambda: writer.stats.started)
    server.fail_inserts(Fault.DELAY)
    server.fail_inserts(Fault.HOLD)
    log.waiting = scripted(0, 2)
    await until(lambda: log.stored.get(("t", 0)) == 2)
    await until(lambda: len(server.tokens()) == 2)
    assert [[name.first for name in each["t", 0].intents] for each in log.commits if each["t", 0].next_offset == 2] == [
        [2]
    ]
    server.release()
    await until_stored(writer, 20)
    await writer.stop(5.0)
    assert log.commits[-1]["t", 0].intents == ()
    assert counts(remote) == (20, 20)


async def test_what_is_held_stays_within_its_bound(server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    records = scripted(0, 200)
    size_bytes = len(records[0].record.value)
    monkeypatch.setattr(writer_module, "HELD_BYTES_MAX", 20 * size_bytes)
    remote = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog(records)
    writer = Writer(log, remote)
    server.fail_inserts(Fault.ERROR_BEFORE, count=3, code=241)
    writer.start()
    most = 0
    while sum(writer.stats.stored_rows.values()) < 2000:
        most = max(most, writer.stats.held_bytes)
        await asyncio.sleep(0.005)
    assert 19 * size_bytes < most < 22 * size_bytes
    await writer.stop(5.0)
    assert counts(remote) == (2000, 2000)
    remote.close()


async def test_while_clickhouse_fails_little_is_held(server: ClickHouseHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    records = scripted(0, 200)
    size_bytes = len(records[0].record.value)
    monkeypatch.setattr(writer_module, "HELD_AWAY_BYTES_MAX", 20 * size_bytes)
    remote = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    log = ScriptedLog([])
    writer = Writer(log, remote)
    writer.start()
    await until(lambda: writer.stats.started)
    server.fail_inserts(Fault.ERROR_BEFORE, count=1000, code=241)
    log.waiting = records[:1]
    await until(lambda: writer.stats.clickhouse.trouble is not None)
    log.waiting = records[1:]
    await until(lambda: log.fetched >= 20)
    await until(lambda: log.measured > 0)
    assert log.fetched <= 21
    server.faults_left(forget=True)
    await until_stored(writer, 2000)
    await writer.stop(5.0)
    assert counts(remote) == (2000, 2000)
    remote.close()


async def test_unreadable_records_of_kafka_are_set_aside_in_their_place(clickhouse: ClickHouse) -> None:
    records = scripted(0, 3)
    junk = UnreadableRecord("ticks", "bad_crc32c", "does not match", b"junk", 1_760_000_000_000_000_000)
    records[1] = LoggedRecord("t", 0, 2, 4, junk)
    log = ScriptedLog(records)
    writer = Writer(log, clickhouse)
    writer.start()
    await until_stored(writer, 20)
    await until(lambda: log.stored == {("t", 0): 6})
    await writer.stop(5.0)
    assert writer.stats.dead_letters == Counter({("ticks", "bad_crc32c"): 1})
    [letter] = clickhouse.rows("SELECT reason, payload, _offset FROM ticktape.dead_letters")
    assert letter == {"reason": "bad_crc32c", "payload": "junk", "_offset": 2}
