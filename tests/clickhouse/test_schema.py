"""What is in ClickHouse, held against the declarations."""

from __future__ import annotations

import dataclasses

import pytest

from codec.tables import CAPITAL_FLOW, TABLES, TICKS, VIEWS, Kind
from sinks import ddl, schema
from sinks.clickhouse import ClickHouse
from sinks.schema import Remedy, SchemaMismatch


def test_what_is_created_fits(clickhouse: ClickHouse) -> None:
    assert schema.diff(clickhouse) == []
    assert schema.plan(clickhouse) == [ddl.create_database(clickhouse.database)]


def test_every_statement_runs_and_runs_again(embedded: ClickHouse) -> None:
    for _ in range(2):
        for statement in ddl.statements(embedded.database, embedded.config.window_blocks):
            embedded.execute(statement)
    schema.require(embedded)


def test_an_empty_server_is_missing_everything_and_gets_it(embedded: ClickHouse) -> None:
    missing = {problem.table for problem in schema.diff(embedded)}
    assert missing == {table.name for table in TABLES} | {view.name for view in VIEWS}
    planned = schema.plan(embedded)
    assert schema.apply(embedded) == planned
    assert schema.diff(embedded) == []


def test_tables_of_a_store_that_shall_survive_power_cuts_are_made_so_and_become_so(embedded: ClickHouse) -> None:
    schema.prepare(embedded)
    embedded.execute(f"DROP TABLE {embedded.database}.ticks SYNC")
    embedded.config = dataclasses.replace(embedded.config, synced=True)
    schema.prepare(embedded)
    assert schema.diff(embedded) == []
    query = "SELECT name FROM system.tables WHERE database = {database:String} AND engine_full LIKE {pattern:String}"
    pattern = "%, fsync_after_insert = 1, fsync_part_directory = 1%"
    found = {row["name"] for row in embedded.rows(query, database=embedded.database, pattern=pattern)}
    assert found == {table.name for table in TABLES}


WINDOW = "ALTER TABLE ticktape.ticks MODIFY SETTING non_replicated_deduplication_window = {}"
TICKS_OTHERWISE = """
    DROP TABLE ticktape.ticks SYNC;
    CREATE TABLE ticktape.ticks AS ticktape.ticks_kept ENGINE = {} PARTITION BY {} ORDER BY {}
    SETTINGS non_replicated_deduplication_window = 43200"""
ORDER = "(symbol, trade_date, source, sequence, ordinal)"


@pytest.mark.parametrize(
    ("damage", "table", "what", "remedy"),
    [
        (WINDOW.format(0), "ticks", "remembers 0 inserts", Remedy.BY_APPLY),
        (WINDOW.format(100), "ticks", "remembers 100 inserts", Remedy.AT_START),
        ("ALTER TABLE ticktape.ticks DROP COLUMN ts_gateway", "ticks", "column ts_gateway is missing", Remedy.BY_APPLY),
        ("ALTER TABLE ticktape.ticks DROP COLUMN price", "ticks", "column price is missing", Remedy.BY_OWNER),
        ("ALTER TABLE ticktape.ticks DROP COLUMN _row", "ticks", "column _row is missing", Remedy.BY_OWNER),
        ("ALTER TABLE ticktape.ticks MODIFY COLUMN price Float32", "ticks", "price is Float32", Remedy.BY_OWNER),
        (
            "ALTER TABLE ticktape.ticks MODIFY COLUMN delivery Enum8('realtime' = 1, 'pull' = 4)",
            "ticks",
            "delivery is Enum8",
            Remedy.BY_OWNER,
        ),
        (TICKS_OTHERWISE.format("MergeTree", "toYYYYMM(trade_date)", ORDER), "ticks", "engine is", Remedy.BY_OWNER),
        (
            TICKS_OTHERWISE.format("ReplacingMergeTree", "toYYYYMM(trade_date)", "(symbol, sequence)"),
            "ticks",
            "sorting key is symbol, sequence",
            Remedy.BY_OWNER,
        ),
        (
            TICKS_OTHERWISE.format("ReplacingMergeTree", "trade_date", ORDER),
            "ticks",
            "partition key is",
            Remedy.BY_OWNER,
        ),
        ("DROP TABLE ticktape.gaps SYNC", "gaps", "does not exist", Remedy.AT_START),
        ("DROP VIEW ticktape.symbols_latest", "symbols_latest", "does not exist", Remedy.AT_START),
        (
            "CREATE OR REPLACE VIEW ticktape.capital_flow_1m AS SELECT 1 AS a",
            "capital_flow_1m",
            "other columns",
            Remedy.AT_START,
        ),
    ],
)
def test_each_kind_of_mismatch_is_found_and_its_statement_mends_it(
    embedded: ClickHouse, damage: str, table: str, what: str, remedy: Remedy
) -> None:
    schema.prepare(embedded)
    embedded.execute("CREATE TABLE ticktape.ticks_kept AS ticktape.ticks")
    for statement in damage.split(";"):
        embedded.execute(statement)

    [problem] = schema.diff(embedded)
    assert problem.table == table
    assert what in problem.what
    assert problem.remedy is remedy
    if remedy is Remedy.AT_START:
        schema.prepare(embedded)
    else:
        with pytest.raises(SchemaMismatch) as mismatch:
            schema.prepare(embedded)
        assert mismatch.value.problems == (problem,)
        assert problem.statement in str(mismatch.value)
        if remedy is Remedy.BY_OWNER:
            with pytest.raises(SchemaMismatch):
                schema.apply(embedded)
            for statement in problem.statement.split(";\n"):
                embedded.execute(statement)
        else:
            schema.apply(embedded)
    assert schema.diff(embedded) == []


def test_columns_that_the_owner_added_are_left_alone(clickhouse: ClickHouse) -> None:
    clickhouse.execute(f"ALTER TABLE {clickhouse.database}.ticks ADD COLUMN note String")
    assert schema.diff(clickhouse) == []


def test_the_window_covers_six_hours_of_inserts() -> None:
    assert ddl.deduplication_window_blocks(partitions=1, flush_interval_s=0.5) == 43_200
    assert ddl.deduplication_window_blocks(partitions=12, flush_interval_s=0.5) == 518_400


def test_each_kind_has_a_type_and_text_is_escaped() -> None:
    for kind in Kind:
        assert ddl.column_type(dataclasses.replace(TICKS["price"], kind=kind))
    assert ddl.quoted("it's a \\") == "'it\\'s a \\\\'"


def test_latest_and_per_minute_views_of_capital_flow(clickhouse: ClickHouse) -> None:
    """Cumulative lines, one of them revised: the newest version counts, and its difference."""
    database = clickhouse.database
    names = "source, symbol, trade_date, period, ts_event, ts_recv, net_inflow, small_net_inflow"
    lines = (
        "('futu','HK.1','2026-01-02','intraday','2026-01-02 01:30:00','2026-01-02 01:31:00', 5, 1)",
        "('futu','HK.1','2026-01-02','intraday','2026-01-02 01:31:00','2026-01-02 01:32:00', 9, NULL)",
        "('futu','HK.1','2026-01-02','intraday','2026-01-02 01:31:00','2026-01-02 01:33:00', 12, 4)",
        "('futu','HK.1','2026-01-05','intraday','2026-01-05 01:30:00','2026-01-05 01:31:00', -3, 1)",
        "('futu','HK.1','2026-01-05','day','2026-01-04 16:00:00','2026-01-05 01:31:00', 100, 1)",
        "('futu','HK.2','2026-01-05','intraday','2026-01-05 01:31:00','2026-01-05 01:31:00', 7, 7)",
    )
    for line in lines:
        clickhouse.execute(f"INSERT INTO {database}.{CAPITAL_FLOW.name} ({names}) VALUES {line}")

    latest = clickhouse.query("SELECT period, net_inflow FROM capital_flow_latest ORDER BY net_inflow FORMAT CSV")
    assert latest.decode().split() == ['"intraday",-3', '"intraday",5', '"intraday",7', '"intraday",12', '"day",100']
    minutes = clickhouse.query(
        "SELECT symbol, ts_event, net_inflow, small_net_inflow FROM capital_flow_1m ORDER BY 1, 2 FORMAT CSV"
    )
    assert minutes.decode().splitlines() == [
        '"HK.1","2026-01-02 01:30:00.000000",5,1',
        '"HK.1","2026-01-02 01:31:00.000000",7,3',
        '"HK.1","2026-01-05 01:30:00.000000",-3,1',
        '"HK.2","2026-01-05 01:31:00.000000",7,7',
    ]


def test_minutes_of_a_source_that_tells_only_the_sum_since_the_open(clickhouse: ClickHouse) -> None:
    """As LongPort does: no sizes, minutes in which nothing flowed, the newest one revised, a new day from 0."""
    names = "source, symbol, trade_date, period, ts_event, ts_recv, net_inflow"
    days = {  # of New York, whose hours touch two days in UTC where trading goes on at night
        "2026-01-05": (("01-05 20:58", "01-05 20:59", -10.5), ("01-05 20:59", "01-05 21:00", -10.5)),
        "2026-01-06": (
            ("01-06 00:59", "01-06 01:00", 3.0),
            ("01-06 01:00", "01-06 01:01", 8.0),
            ("01-06 01:00", "01-06 01:02", 5.25),
            ("01-06 01:01", "01-06 01:02", 4.0),
            ("01-06 01:02", "01-06 01:03", 4.0),
        ),
    }
    for trade_date, lines in days.items():
        for event, recv, inflow in lines:
            values = f"'longport','US.A','{trade_date}','intraday','2026-{event}:00','2026-{recv}:00', {inflow}"
            clickhouse.execute(f"INSERT INTO {clickhouse.database}.{CAPITAL_FLOW.name} ({names}) VALUES ({values})")
    minutes = clickhouse.query(
        "SELECT trade_date, formatDateTime(ts_event, '%H:%i'), net_inflow, large_net_inflow FROM capital_flow_1m"
        " WHERE source = 'longport' ORDER BY ts_event FORMAT CSV"
    )
    assert minutes.decode().replace('"', "").splitlines() == [
        "2026-01-05,20:58,-10.5,\\N",
        "2026-01-05,20:59,0,\\N",
        "2026-01-06,00:59,3,\\N",
        "2026-01-06,01:00,2.25,\\N",
        "2026-01-06,01:01,-1.25,\\N",
        "2026-01-06,01:02,0,\\N",
    ]
