"""One client for both kinds of ClickHouse: what it stores, what it answers, what it refuses."""

from __future__ import annotations

import datetime
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from codec.tables import SYMBOLS, TABLES, TICKS, EnumKind, Kind, Table
from sinks import schema
from sinks.block_encoding import EncodedBlock, stream_of
from sinks.blocks import PlaceQueue
from sinks.clickhouse import OPEN_FILES, ClickHouse, ClickHouseConfig
from sinks.clickhouse_errors import (
    ClickHouseFolderLocked,
    ClickHouseRefusedData,
    ClickHouseTableError,
    ClickHouseUnavailable,
    ClickHouseUrlInvalid,
    QueryRefused,
)
from sinks.ddl import all_columns
from sinks.record_log import LoggedRecord
from tests.support.batches import make_batch, make_table_record
from tests.support.clickhouse_http import ClickHouseHttp, Fault


def make_block(table: Table, rows: int = 50, records: int = 3) -> EncodedBlock:
    topic = f"ticktape.{table.name.replace('_', '-')}"
    queue = PlaceQueue((topic, 7))
    for index in range(records):
        record = make_table_record(table, rows, seed=index, partition=7, first=index * rows)
        queue.append(LoggedRecord(topic, 7, 100 + 2 * index, 102 + 2 * index, record), 0)
    return EncodedBlock(queue.cut())


def count(clickhouse: ClickHouse, table: str = "ticks") -> int:
    return int(clickhouse.query(f"SELECT count() FROM {table} FORMAT TabSeparated"))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_of_every_table_comes_back_as_it_was(clickhouse: ClickHouse, table: Table) -> None:
    encoded = make_block(table)
    clickhouse.insert(table.name, encoded.stream, encoded.block.token)

    names = [f"toString({c.name}) AS {c.name}" if isinstance(c.kind, EnumKind) else c.name for c in all_columns(table)]
    answer = clickhouse.query(f"SELECT {', '.join(names)} FROM {table.name} ORDER BY _offset, _row", "ArrowStream")
    stored = pa.ipc.open_stream(answer).read_all()

    sent = encoded.batch()
    assert sent.num_rows == stored.num_rows == 150
    for column in all_columns(table):
        before = comparable(sent.column(column.name))
        after = comparable(stored.column(column.name).combine_chunks())
        if column.kind is Kind.DATE:
            after = after.cast(pa.date32())  # ClickHouse says Date as uint16
        after = after.cast(before.type)
        if column.kind is Kind.FLOAT64:
            before, after = before.view(pa.int64()), after.view(pa.int64())  # the very double, -0.0 too
        assert after.equals(before), column.name


def test_a_symbol_listed_before_1970_is_stored(clickhouse: ClickHouse) -> None:
    """ClickHouse's Date begins in 1970; Disney was listed in 1957."""
    batch = make_block(SYMBOLS, rows=3, records=1).batch()
    days = ["1900-01-01", "1962-01-02", "2004-06-16"]
    listed_on = pa.array([datetime.date.fromisoformat(day) for day in days], pa.date32())
    old = batch.set_column(batch.schema.get_field_index("listed_on"), batch.schema.field("listed_on"), listed_on)
    clickhouse.insert("symbols", stream_of(old), "old")
    rows = clickhouse.rows(f"SELECT toString(listed_on) AS day FROM {clickhouse.database}.symbols ORDER BY listed_on")
    assert [row["day"] for row in rows] == days


def comparable(values: pa.Array) -> pa.Array:  # type: ignore[type-arg]
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def test_the_same_token_stores_once(clickhouse: ClickHouse) -> None:
    encoded = make_block(TICKS)
    for _ in range(3):
        clickhouse.insert("ticks", encoded.stream, encoded.block.token)
    assert count(clickhouse) == 150


def test_repeats_within_a_block_stay_visible(clickhouse: ClickHouse) -> None:
    """Otherwise a test that compares counts could not see them."""
    batch = make_block(TICKS, records=1).batch()
    twice = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()[0]
    clickhouse.execute(f"SYSTEM STOP MERGES {clickhouse.database}.ticks")
    clickhouse.insert("ticks", stream_of(twice), "twice")
    assert count(clickhouse) == 100


def test_a_compiled_expression_never_gets_near_the_rows(clickhouse: ClickHouse) -> None:
    """chdb 26.9 stored colliding values from the fourth run of one INSERT … SELECT on."""
    database = clickhouse.database
    clickhouse.execute(f"CREATE TABLE {database}.source (s String, n Int64, p Float64) ENGINE = MergeTree ORDER BY n")
    clickhouse.execute(
        f"INSERT INTO {database}.source SELECT concat('HK.', toString(number % 97)), number * 7 - 3, number / 8 "
        "FROM numbers(50000)"
    )
    checksums = set()
    for run in range(10):
        clickhouse.execute(
            f"CREATE TABLE {database}.copy_{run} (k UInt64, t DateTime64(6, 'UTC'), v Float64) "
            "ENGINE = MergeTree ORDER BY k"
        )
        clickhouse.execute(
            f"INSERT INTO {database}.copy_{run} SELECT cityHash64(s, n) + n * 31, "
            f"fromUnixTimestamp64Micro(1700000000000000 + n * 1000 + (n % 13)), p * 3 + n % 5 FROM {database}.source"
        )
        [row] = clickhouse.rows(
            f"SELECT sum(cityHash64(*)) AS checksum, uniqExact(k) AS keys FROM {database}.copy_{run}"
        )
        checksums.add((row["checksum"], row["keys"]))
    assert len(checksums) == 1
    [row] = clickhouse.rows("SELECT getSetting('compile_expressions') AS compiles")
    assert not row["compiles"]
    assert clickhouse.query("SELECT getSetting('compile_expressions') FORMAT TabSeparated") in (b"false\n", b"0\n")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("direction", pa.array(["buy", "martian"]).dictionary_encode()),
        ("price", pa.array([1.0, None])),
        ("trade_date", pa.array([20_000, -5], pa.date32())),
    ],
)
def test_rows_that_do_not_fit_are_refused_as_data(clickhouse: ClickHouse, column: str, values: pa.Array) -> None:  # type: ignore[type-arg]
    batch = make_block(TICKS, rows=2, records=1).batch()
    bad = batch.set_column(batch.schema.get_field_index(column), column, values)
    with pytest.raises(ClickHouseRefusedData) as refused:
        clickhouse.insert("ticks", stream_of(bad), "bad")
    assert refused.value.code is not None
    assert not refused.value.retriable
    assert "/tmp" not in str(refused.value)
    assert count(clickhouse) == 0


def test_a_missing_table_is_not_the_rows_fault(clickhouse: ClickHouse) -> None:
    clickhouse.execute(f"DROP TABLE {clickhouse.database}.ticks SYNC")
    with pytest.raises(ClickHouseTableError):
        clickhouse.insert("ticks", make_block(TICKS).stream, "token")


def test_rows_take_parameters(clickhouse: ClickHouse) -> None:
    assert clickhouse.rows("SELECT {a:String} AS a, {b:Int64} AS b", a="it's", b=-3) == [{"a": "it's", "b": -3}]


def test_a_query_answers_in_the_format_asked_for(clickhouse: ClickHouse) -> None:
    assert clickhouse.query("SELECT 1 AS a, 'x' AS b") == b"a\tb\n1\tx\n"
    assert clickhouse.query("SELECT 1 AS a;", "JSONEachRow") == b'{"a":1}\n'
    assert clickhouse.query("SELECT 1 AS a -- a comment", "CSVWithNames") == b'"a"\n1\n'
    assert clickhouse.query("SELECT 1 AS a FORMAT CSV", "JSON") == b"1\n"
    assert clickhouse.query("(SELECT currentDatabase()) FORMAT TSV").decode().strip() == clickhouse.database


async def test_queries_run_beside_the_event_loop(clickhouse: ClickHouse) -> None:
    assert await clickhouse.query_async("SELECT 2", "TSV") == b"2\n"


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE ticks",
        "INSERT INTO ticks (symbol) VALUES ('x')",
        "INSERT INTO ticks SELECT * FROM ticks",
        "SET readonly = 0",
        "SET max_threads = 1",
        "SELECT 1; DROP TABLE ticks",
        "SELECT 1; INSERT INTO ticks (symbol) SELECT 'x'",
        "SELECT 1; SET readonly = 0; DROP TABLE ticks",
        "SELECT 1 SETTINGS readonly = 0",
        "/* SELECT */ TRUNCATE TABLE ticks",
        "-- SELECT\nALTER TABLE ticks DELETE WHERE 1",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (a Int8)",
        "OPTIMIZE TABLE ticks",
        "SYSTEM STOP MERGES",
        "KILL QUERY WHERE 1",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM executable('ls', 'TSV', 'a String')",
        "WITH 1 AS x INSERT INTO ticks (symbol) SELECT 'x'",
        "EXPLAIN SELECT 1; DROP TABLE ticks",
    ],
)
def test_a_query_cannot_change_anything(clickhouse: ClickHouse, sql: str) -> None:
    encoded = make_block(TICKS)
    clickhouse.insert("ticks", encoded.stream, "kept")
    with pytest.raises(QueryRefused):
        clickhouse.query(sql)
    assert count(clickhouse) == 150


def test_a_query_writes_no_file(clickhouse: ClickHouse, tmp_path: Path) -> None:
    for spelled in ("INTO OUTFILE", "into/**/outfile", "Into\nOutFile"):
        with pytest.raises(QueryRefused):
            clickhouse.query(f"SELECT 1 {spelled} '{tmp_path / 'out'}'")
    assert not (tmp_path / "out").exists()


def test_a_query_leaves_nothing_behind_in_the_session(clickhouse: ClickHouse) -> None:
    try:
        clickhouse.query("SELECT 1; USE system -- FORMAT CSV")
    except QueryRefused:
        assert clickhouse.config.folder is None  # a server takes one statement at a time
    assert clickhouse.query("SELECT currentDatabase() FORMAT TSV").decode().strip() == clickhouse.database


def test_a_wrong_query_gets_clickhouses_own_words(clickhouse: ClickHouse) -> None:
    with pytest.raises(QueryRefused, match="Unknown table expression identifier 'nope'") as refused:
        clickhouse.query("SELECT * FROM nope")
    assert refused.value.code == 60
    with pytest.raises(QueryRefused, match="not the name of a ClickHouse format"):
        clickhouse.query("SELECT 1", "CSV; DROP TABLE ticks")


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_failed_insert_is_sent_once_and_may_be_sent_again(clickhouse_server: ClickHouseHttp, fault: Fault) -> None:
    clickhouse = ClickHouse(ClickHouseConfig(clickhouse_server.url, database=f"once_{fault.name}"))
    schema.prepare(clickhouse)
    encoded = make_block(TICKS)
    token = f"{fault.name}/{encoded.block.token}"
    clickhouse_server.fail_inserts(fault, code=0 if fault.name.startswith("CUT") else 252)
    with pytest.raises(ClickHouseUnavailable):
        clickhouse.insert("ticks", encoded.stream, token)
    assert clickhouse_server.tokens().count(token) == 1, "sent again behind our back"
    clickhouse.insert("ticks", encoded.stream, token)
    assert count(clickhouse) == 150
    clickhouse.close()


def test_a_server_that_is_down_is_unavailable() -> None:
    clickhouse = ClickHouse(ClickHouseConfig("http://127.0.0.1:1"))
    with pytest.raises(ClickHouseUnavailable, match="Connection refused"):
        clickhouse.rows("SELECT 1")
    with pytest.raises(ClickHouseUnavailable, match="Connection refused"):
        clickhouse.query("SELECT 1")


def test_a_second_process_is_told_who_holds_the_folder(embedded: ClickHouse) -> None:
    embedded.rows("SELECT 1")
    program = (
        "import sys; from sinks.clickhouse import *\n"
        "try: ClickHouse(ClickHouseConfig(sys.argv[1])).rows('SELECT 1')\n"
        "except ClickHouseError as error: print(type(error).__name__, error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, embedded.config.url], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("ClickHouseFolderLocked the ClickHouse folder")
    assert "is held by process" in found.stdout


def test_the_folder_is_free_after_close(embedded: ClickHouse) -> None:
    embedded.rows("SELECT 1")
    with pytest.raises(ClickHouseFolderLocked):
        ClickHouse(embedded.config).rows("SELECT 1")
    embedded.close()
    again = ClickHouse(embedded.config)
    assert again.rows("SELECT 1 AS a") == [{"a": 1}]
    again.close()


@pytest.mark.parametrize("url", ["", "var/clickhouse", "chdb://", "http://", "ftp://h", "http://me:secret@h:8123"])
def test_a_wrong_url_is_told_at_once(url: str) -> None:
    with pytest.raises(ClickHouseUrlInvalid) as invalid:
        ClickHouseConfig(url)
    assert "secret" not in str(invalid.value)


def test_urls_name_folders_and_servers() -> None:
    assert ClickHouseConfig("chdb://var/clickhouse").folder == Path("var/clickhouse")
    assert ClickHouseConfig("chdb:///srv/clickhouse").folder == Path("/srv/clickhouse")
    assert ClickHouseConfig("https://me@h").folder is None
    assert "secret" not in repr(ClickHouseConfig("http://h", password="secret"))
    with pytest.raises(ClickHouseUrlInvalid):
        ClickHouseConfig(database="a; DROP")


def test_batches_for_tests_hold_nulls_and_several_dictionaries() -> None:
    first, second = make_batch(TICKS, 50, 1), make_batch(TICKS, 50, 2)
    assert first.column("ts_gateway").null_count > 0
    assert first.column("symbol").dictionary != second.column("symbol").dictionary  # type: ignore[attr-defined]


def test_the_embedded_engine_may_open_more_than_the_usual_thousand_files(tmp_path: Path) -> None:
    """In a process of its own, which starts with the limits that a service usually gets."""
    script = (
        "import resource, sys; from sinks.clickhouse import ClickHouse, ClickHouseConfig\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "store = ClickHouse(ClickHouseConfig(url='chdb://' + sys.argv[1])); store.execute('SELECT 1')\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0]); store.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(done.stdout) == min(hard, OPEN_FILES)
