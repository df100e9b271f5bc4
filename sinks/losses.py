"""Rows of the loss ledger that are born in the writer: records that Kafka removed before anybody stored them."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from codec.arrow import batch_of_rows
from codec.records import Record
from codec.tables import GAPS, Kind, Table
from sinks.block_encoding import origin_columns, stream_of, with_origin
from sinks.clickhouse import ClickHouse
from sinks.ddl import qualified
from sinks.record_log import LoggedRecord

CAUSE = "kafka_retention"


def stream(clickhouse: ClickHouse, table: Table, after: LoggedRecord) -> pa.Buffer:
    """Rows for the table `gaps`: what was lost before `after` began, for each symbol that its place had.

    One row without a symbol when the table holds nothing of the place, or knows no symbols. Each row
    is the same whenever it is made: a hole has one name.

    Raises
    ------
    ClickHouseError
    """
    known = _newest_rows(clickhouse, table, after) or [{"source": "", "symbol": ""}]
    to_ts_us = after.record.first_ts_ns // 1000 if isinstance(after.record, Record) else None
    rows = [
        {
            "gap_id": _gap_id(after, str(of["source"]), str(of["symbol"])),
            "source": of["source"],
            "symbol": of["symbol"],
            "gateway": "",
            "feed": table.name,
            "cause": CAUSE,
            "from_ts": of.get("from_ts"),
            "to_ts": to_ts_us,
            "from_sequence": of.get("from_sequence"),
            "filled": 0,
            "certainty": "suspected",
            "state": "lost",
            "opened_at": after.record.recv_ns,
            "updated_at": after.record.recv_ns,
        }
        for of in known
    ]
    batch = batch_of_rows(GAPS, rows)
    origin = origin_columns(
        after.place, np.full(len(rows), after.offset, np.uint64), np.arange(len(rows), dtype=np.uint32)
    )
    return stream_of(pa.RecordBatch.from_arrays([*batch.columns, *origin], schema=with_origin(batch.schema)))


def _newest_rows(clickhouse: ClickHouse, table: Table, after: LoggedRecord) -> list[dict[str, object]]:
    """The newest stored row of each symbol of the place from before the loss."""
    names = {column.name: column.kind for column in table}
    if not {"source", "symbol"} <= names.keys():
        return []
    known = ["toString(source) AS source", "toString(symbol) AS symbol"]
    if names.get("ts_event") is Kind.TIME_US:
        known.append("toUnixTimestamp64Micro(max(ts_event)) AS from_ts")
        if "sequence" in names:
            known.append("argMax(sequence, (ts_event, sequence)) AS from_sequence")
    return clickhouse.rows(
        f"SELECT {', '.join(known)} FROM {qualified(clickhouse.database, table.name)}"
        " WHERE _topic = {topic:String} AND _partition = {partition:UInt16} AND _offset < {offset:UInt64}"
        " GROUP BY source, symbol ORDER BY source, symbol",
        topic=after.topic,
        partition=after.partition,
        offset=after.lost_from,
    )


def _gap_id(after: LoggedRecord, source: str, symbol: str) -> str:
    name = f"{after.topic}/{after.partition}/{after.lost_from}-{after.offset}/{source}/{symbol}"
    return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()
