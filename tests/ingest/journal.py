"""A journal in memory, and what it holds as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from codec.errors import TicktapeError
from codec.records import RECORD_BYTES_MAX, Record
from codec.tables import DIRECTION, TICKS
from ticktape.simulate.checksum import mix_ticks


class Full(TicktapeError):
    """As a journal without room."""

    retriable = True


class Broken(TicktapeError):
    """As a journal that nothing can mend."""


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Return once `condition` holds: for what another thread or process brings about."""
    async with asyncio.timeout(timeout_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


class MemoryJournal:
    """Appends from one thread at a time, as the real one; a `WindowStore` beside it.

    Attributes
    ----------
    records : what was appended
    appends : how many records each append brought
    refusals : appends that were refused
    full : while true, appends are refused; `breaks` makes the next one fail for good, after it was
        kept with `breaks_after` true: as a process that dies before it can remember
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.appends: list[int] = []
        self.refusals = 0
        self.full = False
        self.breaks = False
        self.breaks_after = False
        self.snapshot: tuple[int, bytes] | None = None

    def append(self, records: Sequence[Record]) -> None:
        assert records
        assert all(len(record.value) <= RECORD_BYTES_MAX for record in records), "the real one refuses these"
        if self.full:
            self.refusals += 1
            raise Full("no room")
        if self.breaks:
            raise Broken("the disk is gone")
        self.records.extend(records)
        self.appends.append(len(records))
        if self.breaks_after:
            raise Broken("the process died here")

    def load(self) -> tuple[bytes | None, Iterable[Record]]:
        position, snapshot = self.snapshot or (0, None)
        return snapshot, self.records[position:]

    def save(self, snapshot: bytes) -> None:
        self.snapshot = (len(self.records), snapshot)

    def of(self, table: str) -> list[Record]:
        return [record for record in self.records if record.table == table]

    def rows(self, table: str = TICKS.name) -> list[dict[str, Any]]:
        """Every row, times as integers in the unit of their column."""
        return [row for record in self.of(table) for row in rows_of(record)]

    def sequences(self) -> list[int]:
        """Of the journaled ticks."""
        tables = [pa.ipc.open_stream(record.value).read_all() for record in self.of(TICKS.name)]
        return [int(sequence) for table in tables for sequence in table.column("sequence").to_numpy()]

    def truth(self) -> dict[str, dict[str, Any]]:
        """What the simulator says of its ticks, said of ours: rows and checksum of each symbol."""
        columns: dict[str, list[Any]] = {}
        tables = [_with_plain_times(record) for record in self.of(TICKS.name)]
        if not tables:
            return {}
        table = pa.concat_tables([part.unify_dictionaries() for part in tables]).combine_chunks()
        for name in ("symbol", "direction"):
            columns[name] = table.column(name).to_pylist()
        mixed = mix_ticks(
            table.column("sequence").to_numpy(),
            table.column("price").to_numpy(),
            table.column("volume").to_numpy(),
            table.column("turnover").to_numpy(),
            np.array([DIRECTION.code(word) for word in columns["direction"]], np.uint8),
            table.column("ts_event").to_numpy(),
        )
        symbols = np.array(columns["symbol"])
        return {
            str(symbol): {
                "rows": int(np.count_nonzero(symbols == symbol)),
                "checksum": str(int(mixed[symbols == symbol].sum(dtype=np.uint64))),
            }
            for symbol in np.unique(symbols)
        }


def rows_of(record: Record) -> list[dict[str, Any]]:
    """The rows of one record, in order."""
    rows: list[dict[str, Any]] = _with_plain_times(record).to_pylist()
    assert len(rows) == record.rows
    return rows


def _with_plain_times(record: Record) -> pa.Table:
    table = pa.ipc.open_stream(record.value).read_all()
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            table = table.set_column(place, column.name, table.column(place).cast(pa.int64()))
    return table
