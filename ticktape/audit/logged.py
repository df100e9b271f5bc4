"""What the record log holds of a day: counted record by record, and compared with what is stored of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.clock import DAY_S
from sinks.record_log import Place
from sinks.record_scan import ScannedRecord
from ticktape.audit.model import AbsentRow, SymbolDay
from ticktape.audit.stored import Key, Store

_ASKED_AT_ONCE_MAX = 1_000
_EVENINGS_MAX = 10
"""A trading day begins at most so many days before its date: New York's after a long weekend, on the evening
before it."""
SUSPECT_ROWS_MAX = 200_000
"""Of records that are not whole, so many rows are looked for one by one."""


@dataclass(frozen=True, slots=True)
class LoggedRows:
    """The day's rows of one record: their indexes within it, whose they are, and their keys; each (n,)."""

    record: ScannedRecord
    rows: NDArray[np.int64]
    symbols: NDArray[np.int32]
    """Numbers into `keys`."""
    keys: tuple[Key, ...]
    sequences: NDArray[np.int64]
    ordinals: NDArray[np.uint32]


def rows_of_day(scanned: ScannedRecord, trade_day: int) -> LoggedRows | None:
    """The rows of a record that are of `trade_day`, days from the epoch; None when there are none."""
    record, day_ns = scanned.record, DAY_S * 1_000_000_000
    if record.last_ts_ns < (trade_day - _EVENINGS_MAX) * day_ns or record.first_ts_ns >= (trade_day + 2) * day_ns:
        return None
    batch = pa.ipc.open_stream(record.value).read_all().combine_chunks().to_batches()[0]
    days = batch.column("trade_date").view(pa.int32()).to_numpy()
    rows = np.flatnonzero(days == trade_day)
    if len(rows) == 0:
        return None
    source = str(batch.column("source")[0].as_py())
    symbol = batch.column("symbol")
    assert isinstance(symbol, pa.DictionaryArray)
    return LoggedRows(
        scanned,
        rows,
        symbol.indices.to_numpy()[rows],
        tuple((source, str(word)) for word in symbol.dictionary.to_pylist()),
        batch.column("sequence").to_numpy()[rows],
        batch.column("ordinal").to_numpy()[rows],
    )


class LogTally:
    """Counts the day's rows in the log; a record that was sent twice counts once.

    Parameters
    ----------
    held : the day's rows that are stored of each record, by place and offset, as asked before the log was read

    Attributes
    ----------
    rows, rows_by_journal : of each symbol, all together and by the journal they came through
    waiting : of them, those that the writer has not committed
    copies : records that are there again
    jumps : (place, offset, rows) where the worker's own count says that rows are missing before an offset
    not_looked_at : rows of records that are not whole, beyond `SUSPECT_ROWS_MAX`
    """

    def __init__(self, trade_day: int, held: Mapping[Place, Mapping[int, int]]) -> None:
        self.rows: Counter[Key] = Counter()
        self.rows_by_journal: Counter[tuple[str, Key]] = Counter()
        self.waiting: Counter[Key] = Counter()
        self.copies = 0
        self.jumps: list[tuple[Place, int, int]] = []
        self.first_offsets: dict[Place, int] = {}
        self.not_looked_at = 0
        self._trade_day = trade_day
        self._held = held
        self._stored: Counter[tuple[str, int]] = Counter()
        self._suspects: dict[tuple[str, int], LoggedRows] = {}
        self._suspect_rows = 0
        self._rows_total: dict[tuple[Place, str], int] = {}

    def add(self, scanned: ScannedRecord) -> None:
        """The next record of its place."""
        place, entry = (scanned.topic, scanned.partition), (scanned.journal, scanned.journal_offset)
        self._check_rows_total(place, scanned)
        self.first_offsets.setdefault(place, scanned.offset)
        logged = rows_of_day(scanned, self._trade_day)
        if logged is None:
            return
        is_copy = entry in self._stored
        self._stored[entry] += self._held.get(place, {}).get(scanned.offset, 0)
        if is_copy:
            self.copies += 1
            return
        counts = np.bincount(logged.symbols, minlength=len(logged.keys)).tolist()
        for key, count in zip(logged.keys, counts, strict=True):
            if count:
                self.rows[key] += count
                self.rows_by_journal[scanned.journal, key] += count
                if scanned.is_waiting:
                    self.waiting[key] += count
        if self._stored[entry] < len(logged.rows) and not scanned.is_waiting:
            self._suspect(entry, logged)

    def _suspect(self, entry: tuple[str, int], logged: LoggedRows) -> None:
        if self._suspect_rows + len(logged.rows) > SUSPECT_ROWS_MAX:
            self.not_looked_at += len(logged.rows)
            return
        self._suspect_rows += len(logged.rows)
        self._suspects[entry] = logged

    def _check_rows_total(self, place: Place, scanned: ScannedRecord) -> None:
        """The worker counts its rows in each place: a step that is more than a record's rows is a loss."""
        if scanned.rows_total is None or scanned.rows_total < 0:
            return
        key = place, scanned.journal
        before = self._rows_total.get(key)
        lacks = scanned.rows_total - scanned.record.rows - before if before is not None else 0
        if lacks > 0:
            self.jumps.append((place, scanned.offset, lacks))
        self._rows_total[key] = max(scanned.rows_total, before or 0)

    def suspects(self) -> list[LoggedRows]:
        """Committed records of which fewer rows are stored than they hold. Of copies one is enough."""
        return [logged for entry, logged in self._suspects.items() if self._stored[entry] < len(logged.rows)]


def find_absent(
    suspects: list[LoggedRows], store: Store, days: Mapping[Key, SymbolDay], set_aside: set[tuple[str, int, int, int]]
) -> None:
    """Which rows of these records are stored nowhere; adds them to their days.

    A row that another record replaced is stored under its key, and one that ClickHouse refused is a dead letter.
    """
    wanting: dict[Key, list[tuple[AbsentRow, int]]] = defaultdict(list)
    by_place: dict[Place, list[LoggedRows]] = defaultdict(list)
    for logged in suspects:
        by_place[logged.record.topic, logged.record.partition].append(logged)
    for (topic, partition), members in by_place.items():
        for begin in range(0, len(members), _ASKED_AT_ONCE_MAX):
            part = members[begin : begin + _ASKED_AT_ONCE_MAX]
            held = store.rows_of_records(topic, partition, [logged.record.offset for logged in part])
            for logged in part:
                there = held.get(logged.record.offset, set())
                for place, row in enumerate(logged.rows.tolist()):
                    key, at = logged.keys[logged.symbols[place]], (topic, partition, logged.record.offset, row)
                    if row in there:
                        continue
                    if at in set_aside:
                        days[key].set_aside += 1
                        continue
                    sequence, ordinal = int(logged.sequences[place]), int(logged.ordinals[place])
                    wanting[key].append((AbsentRow(*at, sequence), ordinal))
    for key, rows in wanting.items():
        kept = store.keys(*key, [row.sequence for row, _ in rows])
        gone = {(row.sequence, ordinal): row for row, ordinal in rows if (row.sequence, ordinal) not in kept}
        days[key].absent += gone.values()
