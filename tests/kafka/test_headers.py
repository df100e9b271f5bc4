"""Headers of records: what is written is read back, and what is wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from codec.records import Record, RecordKind
from codec.tables import CAPITAL_FLOW, TABLES, TICKS
from sinks.kafka import KafkaConfig, KafkaMisconfigured, client_options, headers_of, record_of
from sinks.record_log import UnreadableRecord
from tests.support.records import START_NS, make_record

RECORD = make_record(b"arrow", partition=3, rows=17, kind=RecordKind.BACKFILL, gap_ids=("gap-1", "gap-2"))
CONFIG = KafkaConfig("127.0.0.1:9092")


def delivered(record: Record, **changes: Any) -> ConsumerRecord[Any, bytes]:
    """`record` as a consumer receives it; `changes` by header name with `_` for `-`, None removes one."""
    headers = dict(headers_of(record, "w-0", "0" * 32, 41, 1000))
    value = changes.pop("value", record.value)
    for name, content in changes.items():
        headers["content-type" if name == "content_type" else f"ticktape-{name.replace('_', '-')}"] = content
    kept = [(name, content) for name, content in headers.items() if content is not None]
    timestamp_ms = record.recv_ns // 1_000_000
    return ConsumerRecord(
        "ticktape.ticks", record.partition, 5, timestamp_ms, 0, None, value, None, -1, len(value), kept
    )


def test_the_headers_are_those_of_the_contract() -> None:
    assert headers_of(RECORD, "w-0", "ab" * 16, 41, 1000) == [
        ("content-type", b"application/vnd.apache.arrow.stream"),
        ("ticktape-schema", b"ticks.v1"),
        ("ticktape-kind", b"backfill"),
        ("ticktape-rows", b"17"),
        ("ticktape-first-ts", b"%d" % (START_NS - 2_000_000)),
        ("ticktape-last-ts", b"%d" % (START_NS - 1_000_000)),
        ("ticktape-worker", b"w-0"),
        ("ticktape-journal", b"ab" * 16),
        ("ticktape-journal-offset", b"41"),
        ("ticktape-crc32c", b"%08x" % RECORD.crc32c),
        ("ticktape-rows-total", b"1000"),
        ("ticktape-gap", b"gap-1,gap-2"),
    ]


@pytest.mark.parametrize("record", [RECORD, make_record(b"")], ids=["all headers", "no gaps, no value"])
def test_a_record_comes_back_as_it_was_sent(record: Record) -> None:
    assert record_of(delivered(record), TICKS) == record


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content_type": b"application/json"}, "bad_content_type"),
        ({"content_type": None}, "bad_content_type"),
        ({"schema": b"ticks.v2"}, "bad_schema"),
        ({"schema": b"gaps.v1"}, "bad_schema"),
        ({"rows": None}, "bad_headers"),
        ({"rows": b"many"}, "bad_headers"),
        ({"kind": b"other"}, "bad_headers"),
        ({"crc32c": b"xyz"}, "bad_headers"),
        ({"gap": b"\xff"}, "bad_headers"),
        ({"value": b"arroW"}, "bad_crc32c"),
        ({"value": None}, "bad_crc32c"),
    ],
)
def test_what_is_not_ours_is_handed_out_as_unreadable(changes: dict[str, Any], reason: str) -> None:
    received = delivered(RECORD, **{k: v for k, v in changes.items() if k != "value"})
    if "value" in changes:
        received = dataclasses.replace(received, value=changes["value"])
    unreadable = record_of(received, TICKS)
    assert isinstance(unreadable, UnreadableRecord)
    assert (unreadable.table, unreadable.reason) == ("ticks", reason)
    assert unreadable.value == (received.value or b"")
    assert unreadable.detail


def test_topics_and_tables_name_each_other() -> None:
    assert CONFIG.topic_of("capital_flow") == "ticktape.capital-flow"
    assert CONFIG.table_of("ticktape.capital-flow") is CAPITAL_FLOW
    assert [CONFIG.table_of(CONFIG.topic_of(table.name)) for table in TABLES] == list(TABLES)
    with pytest.raises(KeyError):
        CONFIG.table_of("ticktape.positions")


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(KafkaConfig("k:9092", password="hunter2"))


def test_files_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    config = KafkaConfig("k:9092", security_protocol="SASL_SSL", ca_file=tmp_path / "absent.pem")
    with pytest.raises(KafkaMisconfigured, match=r"absent\.pem"):
        client_options(config, "test")
    (tmp_path / "absent.pem").write_text("no certificate")
    with pytest.raises(KafkaMisconfigured, match="check ca_file"):
        client_options(config, "test")
    assert client_options(KafkaConfig("k:9092", security_protocol="SSL"), "test")["ssl_context"] is not None
