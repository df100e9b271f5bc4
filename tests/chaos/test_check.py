"""What the check sees: rows that hands took, doubled or changed, in ClickHouse and in Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from codec.arrow import ipc_stream
from codec.tables import GAPS, TICKS
from sinks import schema
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.clickhouse_errors import ClickHouseUnavailable
from tests.chaos.check import check, keep_repeats, merge, read_stored
from tests.chaos.kafka_view import KafkaView, mixed
from tests.chaos.opend import Truth
from tests.support.batches import make_batch
from tests.support.clickhouse_http import ClickHouseHttp, Fault

HK, US = "HK.00700", "US.AAPL"
RECORDS, ROWS = 5, 8
MONTHS = (20_453, 20_454)
"""The last of 2025 and the first of 2026, in days."""


def ticks(first: int) -> pa.RecordBatch:
    """`ROWS` ticks of both symbols, those of the one on the last day of a month, of the other on the next."""
    batch = make_batch(TICKS, ROWS, seed=first, first=first)
    us = np.arange(ROWS) % 2
    return with_columns(
        batch,
        source=pa.array(["futu"] * ROWS).dictionary_encode(),
        symbol=pa.DictionaryArray.from_arrays(us.astype(np.int32), pa.array([HK, US])),
        trade_date=pa.array(np.take(MONTHS, us).astype(np.int32)).cast(pa.date32()),
        ordinal=pa.array(np.zeros(ROWS, np.uint32)),
    )


def with_columns(batch: pa.RecordBatch, **columns: Any) -> pa.RecordBatch:
    for name, column in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column)
    return batch


@dataclass
class Message:
    """A record of a worker's journal, as Kafka gives it."""

    batch: pa.RecordBatch
    offset: int

    def topic(self) -> str:
        return "chaos.ticks"

    def partition(self) -> int:
        return 0

    def headers(self) -> list[tuple[str, bytes]]:
        return [
            ("ticktape-worker", b"ingest-0"),
            ("ticktape-journal", b"abc"),
            ("ticktape-journal-offset", b"%d" % self.offset),
            ("ticktape-schema", TICKS.schema_name.encode()),
        ]

    def value(self) -> bytes:
        return ipc_stream(self.batch)


BATCHES = [ticks(first) for first in range(0, RECORDS * ROWS, ROWS)]
MESSAGES = [Message(batch, offset) for offset, batch in enumerate(BATCHES)]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    made = pa.Table.from_batches(BATCHES)
    symbols = made.column("symbol").combine_chunks()
    checksums = np.concatenate([mixed(batch) for batch in BATCHES])
    path = tmp_path_factory.mktemp("truth") / "truth.parquet"
    columns = {"symbol": symbols, "sequence": made.column("sequence"), "checksum": pa.array(checksums)}
    parquet.write_table(pa.table(columns), path)
    return Truth(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path_factory.mktemp("chaos-clickhouse")) as server:
        yield server


@pytest.fixture
def store(server: ClickHouseHttp) -> Iterator[ClickHouse]:
    """All ticks, each record inserted once."""
    clickhouse = ClickHouse(ClickHouseConfig(server.url))
    clickhouse.execute("DROP DATABASE IF EXISTS ticktape")
    schema.prepare(clickhouse)
    keep_repeats(server.url)
    for number, batch in enumerate(BATCHES):
        clickhouse.insert("ticks", pa.py_buffer(ipc_stream(batch)), f"{number}")
    yield clickhouse
    clickhouse.close()


def differences(truth: Truth, server: ClickHouseHttp, messages: Sequence[Message] = MESSAGES) -> list[str]:
    kafka = KafkaView()
    for message in messages:
        kafka.take(message)
    return check(truth, read_stored(server.url), kafka).differences


def assert_found(found: list[str], *expected: str) -> None:
    for text in expected:
        assert any(text in line for line in found), (text, found)


def test_nothing_differs(truth: Truth, server: ClickHouseHttp, store: ClickHouse) -> None:
    assert differences(truth, server) == []


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (
            ["ALTER TABLE ticktape.ticks DELETE WHERE sequence = 9 SETTINGS mutations_sync = 2"],
            ["1 of 1 missing ticks lie in no lost row", f"{US}: 1 ticks are in Kafka and not in ClickHouse, first 9"],
        ),
        (
            ["INSERT INTO ticktape.ticks SELECT * FROM ticktape.ticks WHERE sequence = 8"],
            ["1 rows are stored again", f"{HK}: 21 rows, with FINAL 20", f"{HK}: its rows do not hold"],
        ),
        (
            ["ALTER TABLE ticktape.ticks UPDATE volume = volume + 1 WHERE sequence = 8 SETTINGS mutations_sync = 2"],
            [f"{HK}: its rows do not hold what the market made", "Kafka's ticks do not hold what ClickHouse's do"],
        ),
        (
            [
                "ALTER TABLE ticktape.ticks DELETE WHERE sequence = 9 SETTINGS mutations_sync = 2",
                "INSERT INTO ticktape.ticks SELECT * FROM ticktape.ticks WHERE sequence = 7",
            ],
            ["1 rows are stored again", "lie in no lost row", f"{US}: 20 rows, with FINAL 19"],
        ),
        (
            ["INSERT INTO ticktape.ticks SELECT * REPLACE (1 AS ordinal) FROM ticktape.ticks WHERE sequence = 8"],
            [f"{HK}: 1 rows beside another of their sequence"],
        ),
        (
            ["INSERT INTO ticktape.dead_letters (reason, detail) VALUES ('refused_by_clickhouse', 'why')"],
            ["1 dead letters: refused_by_clickhouse: why"],
        ),
    ],
)
def test_what_hands_did_in_clickhouse_is_found(
    truth: Truth, server: ClickHouseHttp, store: ClickHouse, statements: list[str], expected: list[str]
) -> None:
    for statement in statements:
        store.execute(statement)
    assert_found(differences(truth, server), *expected)


def test_repeats_are_there_until_all_is_merged(truth: Truth, server: ClickHouseHttp, store: ClickHouse) -> None:
    store.execute("INSERT INTO ticktape.ticks SELECT * FROM ticktape.ticks")
    assert_found(differences(truth, server), f"{RECORDS * ROWS} rows are stored again")
    merge(server.url)
    assert differences(truth, server) == []


def test_what_is_lost_and_written_down_is_no_difference(
    truth: Truth, server: ClickHouseHttp, store: ClickHouse
) -> None:
    """Of the US's ticks between those that the row names; the rest still has to be right."""
    store.execute("ALTER TABLE ticktape.ticks DELETE WHERE sequence = 9 SETTINGS mutations_sync = 2")
    columns = "symbol, feed, cause, state, from_sequence, to_sequence, gap_id"
    store.execute(f"INSERT INTO ticktape.gaps ({columns}) VALUES ('{US}', 'ticks', 'down', 'lost', 7, 11, 'id')")
    assert GAPS.key == ("gap_id",)
    without = with_columns(BATCHES[1], sequence=pa.array([8, 99, 10, 11, 12, 13, 14, 15])).filter(
        pa.array([True, False] + [True] * 6)
    )
    assert differences(truth, server, [MESSAGES[0], Message(without, 1), *MESSAGES[2:]]) == []
    store.execute("ALTER TABLE ticktape.ticks DELETE WHERE sequence = 13 SETTINGS mutations_sync = 2")
    assert_found(differences(truth, server), f"{US}: 1 of 2 missing ticks lie in no lost row")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([*MESSAGES, MESSAGES[-1]], ["1 entries of ingest-0's journal come again", f"4 ticks of {HK} come again"]),
        (
            [*MESSAGES[:2], *MESSAGES[3:]],
            ["1 entries of ingest-0's journal abc are not there, first 2", "in ClickHouse and not in Kafka"],
        ),
        ([MESSAGES[1], MESSAGES[0], *MESSAGES[2:]], ["chaos.ticks/0: ingest-0's entry 0 comes after 1"]),
        ([*MESSAGES, Message(BATCHES[0], RECORDS)], [f"Kafka: 4 ticks of {HK} come again"]),
        (
            [*MESSAGES[:-1], Message(with_columns(BATCHES[-1], volume=pa.array(np.ones(ROWS))), RECORDS - 1)],
            [f"{US}: Kafka's ticks do not hold what ClickHouse's do"],
        ),
    ],
)
def test_what_hands_did_in_kafka_is_found(
    truth: Truth, server: ClickHouseHttp, store: ClickHouse, messages: list[Message], expected: list[str]
) -> None:
    assert_found(differences(truth, server, messages), *expected)


def test_a_server_killed_inside_an_insert_has_part_of_it_and_its_token_completes_it(
    truth: Truth, tmp_path: Path
) -> None:
    with ClickHouseHttp(tmp_path / "clickhouse") as server:
        clickhouse = ClickHouse(ClickHouseConfig(server.url))
        schema.prepare(clickhouse)
        keep_repeats(server.url)
        streams = [pa.py_buffer(ipc_stream(batch)) for batch in BATCHES]
        server.fail_inserts(Fault.DIES_INSIDE)
        with pytest.raises(ClickHouseUnavailable):
            clickhouse.insert("ticks", streams[0], "0")
        while server.ended() is None:
            time.sleep(0.01)
        server.kill()
        server.start()
        assert {symbol: rows for symbol, (rows, _) in read_stored(server.url).sums.items()} == {HK: ROWS // 2}
        for number, stream in enumerate(streams):
            clickhouse.insert("ticks", stream, f"{number}")
        clickhouse.close()
        assert differences(truth, server) == []
