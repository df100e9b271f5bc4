"""Stores one block, whatever is wrong with it: a good row is never lost with a bad one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pyarrow as pa

from codec.tables import DEAD_LETTERS
from sinks import dead_letters, schema
from sinks.blocks import EncodedBlock, stream_of
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseRefusedData, ClickHouseTableError, ClickHouseUnavailable
from sinks.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """What became of a block: every row is in its table or among the dead letters."""

    rows: int
    dead_letters: tuple[DeadLetter, ...]


def store(clickhouse: ClickHouse, encoded: EncodedBlock) -> StoredBlock:
    """Insert a block under its token; blocks, for a worker thread.

    A block that ClickHouse refuses is halved until the refused rows are alone; parts add `/lo-hi` to
    the token, rows for dead_letters use `<token>/dead`. So all of it may be tried again at any time.

    Raises
    ------
    ClickHouseUnavailable
        Parts may be stored: the same block may be tried again.
    SchemaMismatch
        It is the table that does not fit, not the rows.
    """
    token = encoded.block.token
    letters = [dead_letters.of_record(offset, record) for offset, record in encoded.unreadable]
    refused: list[DeadLetter] = []
    try:
        if encoded.rows:
            try:
                clickhouse.insert(encoded.table.name, encoded.stream, token)
            except ClickHouseRefusedData:
                schema.require(clickhouse)
                refused = _store_good_rows(clickhouse, encoded, token)
        letters += refused
        if letters:
            stream = dead_letters.stream(encoded.block.place, letters)
            clickhouse.insert(DEAD_LETTERS.name, stream, f"{token}/dead")
    except (ClickHouseTableError, ClickHouseRefusedData) as error:
        schema.require(clickhouse)
        raise ClickHouseUnavailable(str(error), code=error.code) from error
    return StoredBlock(encoded.rows - len(refused), tuple(letters))


def _store_good_rows(clickhouse: ClickHouse, encoded: EncodedBlock, token: str) -> list[DeadLetter]:
    """Store all rows of a refused block that can be; returns the others in their order."""
    batch = encoded.batch()
    refused: list[tuple[int, str]] = []
    spans = deque(_halves(0, batch.num_rows)) if batch.num_rows > 1 else deque([(0, 1)])
    while spans:
        first, end = spans.popleft()
        part: pa.RecordBatch = batch.slice(first, end - first)
        try:
            clickhouse.insert(encoded.table.name, stream_of(part), f"{token}/{first}-{end}")
        except ClickHouseRefusedData as error:
            if end - first == 1:
                refused.append((first, str(error)))
            else:
                spans.extend(_halves(first, end))
    return [dead_letters.of_row(encoded.table, batch.slice(row, 1), detail) for row, detail in sorted(refused)]


def _halves(first: int, end: int) -> list[tuple[int, int]]:
    middle = (first + end) // 2
    return [(first, middle), (middle, end)]
