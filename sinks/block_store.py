"""Stores one block, whatever is wrong with it: a good row is never lost with a bad one.

Rule 1: before each insert it is asked whether the place is still ours; nothing is awaited in between.
Rule 2: whatever a block's inserts hold, their tokens name the whole block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.tables import DEAD_LETTERS, GAPS
from sinks import dead_letters, look_up, losses, schema
from sinks.block_encoding import EncodedBlock, stream_of
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseRefusedData, ClickHouseTableError, ClickHouseUnavailable
from sinks.dead_letters import DeadLetter
from sinks.misfits import misfits

REFUSALS_MAX = 2_000
"""Refused parts of one block, a few seconds' worth. What is refused after them goes to dead_letters
undivided, good rows too, so that no block keeps its partition for long."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """What became of a block: every row is in its table or among the dead letters.

    Attributes
    ----------
    rows : that are in the table now
    held : those of them that it held already, and that were left out
    """

    rows: int
    held: int
    dead_letters: tuple[DeadLetter, ...]


def store(clickhouse: ClickHouse, encoded: EncodedBlock, allow: Callable[[], None]) -> StoredBlock:
    """Insert a block under its token; blocks, for a worker thread.

    A block that ClickHouse refuses loses the rows that no table can hold, and is then halved until the
    refused rows are alone, or `REFUSALS_MAX` parts were refused; parts add `/lo-hi` to
    the token, rows for dead_letters use `<token>/dead`, those of the loss ledger `<token>/lost`. So
    all of it may be tried again at any time. `allow` raises when the place may be another's.

    Raises
    ------
    ClickHouseUnavailable
        Parts may be stored: the same block may be tried again.
    EpochOver
        From `allow`; parts may be stored.
    SchemaMismatch
        It is the table that does not fit, not the rows.
    """
    try:
        return _Storing(clickhouse, encoded, allow).store()
    except (ClickHouseTableError, ClickHouseRefusedData) as error:
        schema.require(clickhouse)
        raise ClickHouseUnavailable(str(error), code=error.code) from error


class _Storing:
    """One attempt at one block."""

    def __init__(self, clickhouse: ClickHouse, encoded: EncodedBlock, allow: Callable[[], None]) -> None:
        self._clickhouse = clickhouse
        self._encoded = encoded
        self._allow = allow
        self._token = encoded.block.token
        self._new: NDArray[np.bool_] | None = None

    def store(self) -> StoredBlock:
        encoded = self._encoded
        for logged in encoded.block.records:
            if logged.lost_from is not None:
                self._insert(GAPS.name, losses.stream(self._clickhouse, encoded.table, logged), "/lost")
        letters = [dead_letters.of_record(offset, record) for offset, record in encoded.unreadable]
        held = self._leave_out_held_rows() if encoded.rows and encoded.block.is_doubtful else 0
        refused: list[DeadLetter] = []
        if encoded.rows > held:
            try:
                stream = encoded.stream if self._new is None else stream_of(self._part(0, encoded.rows))
                self._insert(encoded.table.name, stream)
            except ClickHouseRefusedData:
                schema.require(self._clickhouse)
                refused = self._store_good_rows()
        letters += refused
        if letters:
            self._insert(DEAD_LETTERS.name, dead_letters.stream(encoded.block.place, letters), "/dead")
        return StoredBlock(encoded.rows - len(refused), held, tuple(letters))

    def _insert(self, table: str, stream: pa.Buffer, part: str = "") -> None:
        self._allow()
        self._clickhouse.insert(table, stream, self._token + part)

    def _leave_out_held_rows(self) -> int:
        """How many rows the table holds; they are inserted no more."""
        stored = look_up.stored_rows(self._clickhouse, self._encoded.table, self._encoded.batch())
        if stored.any():
            self._new = ~stored
        return int(stored.sum())

    def _part(self, first: int, end: int) -> pa.RecordBatch:
        """The new ones among some of the block's rows."""
        part = self._encoded.batch().slice(first, end - first)
        return part if self._new is None else part.filter(pa.array(self._new[first:end]))

    def _store_good_rows(self) -> list[DeadLetter]:
        """Store all rows of a refused block that can be; returns the others in their order."""
        batch, rows = self._encoded.batch(), self._encoded.rows
        new = np.ones(rows, bool) if self._new is None else self._new
        refused = {row: why for row, why in misfits(self._encoded.table, batch).items() if new[row]}
        new[list(refused)] = False
        self._new = new
        spans = deque([(0, rows)] if refused or rows == 1 else _halves(0, rows))
        refusals = 0
        while spans:
            first, end = spans.popleft()
            part = self._part(first, end)
            if not part.num_rows:
                continue
            try:
                self._insert(self._encoded.table.name, stream_of(part), f"/{first}-{end}")
            except ClickHouseRefusedData as error:
                refusals += 1
                if end - first == 1 or refusals > REFUSALS_MAX:
                    refused |= {first + row: str(error) for row in np.flatnonzero(new[first:end]).tolist()}
                else:
                    spans.extend(_halves(first, end))
        return [
            dead_letters.of_row(self._encoded.table, batch.slice(row, 1), detail)
            for row, detail in sorted(refused.items())
        ]


def _halves(first: int, end: int) -> list[tuple[int, int]]:
    middle = (first + end) // 2
    return [(first, middle), (middle, end)]
