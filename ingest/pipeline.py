"""From decoded ticks to the journal: gather, drop repeats, encode, append, remember.

Each source has a lane: one symbol table, the windows of what was seen, and two buffers of each kind,
one being filled by the event loop while a worker thread stores the other.

Rule 1: keys are marked as seen only after the journal has their batch.
Rule 2: one thread stores; whatever it touches of a lane, the loop leaves alone meanwhile.
Rule 3: nothing here grows: a full buffer makes the gateways stop reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from codec.clock import MarketClock
from codec.encode import encode_rows
from codec.errors import TicktapeError
from codec.records import RECORD_BYTES_MAX, Record
from codec.row_diff import RowDiff
from codec.tables import (
    ARK_DYNAMIC,
    CAPITAL_DISTRIBUTION,
    CAPITAL_FLOW_SUMMARY,
    COVERAGE,
    GAPS,
    SYMBOLS,
    TABLE_BY_NAME,
)
from ingest.book_restart import end_replay
from ingest.coverage import COVERAGE_EVERY_S, CoverageKeeper
from ingest.lane import Lane, PipelineStats, Taken
from ingest.ledger import CAUSE_JOURNAL_FULL, FILLED, Gap
from ingest.seen import export_seen, replay_record, restore_seen

log = structlog.get_logger(__name__)

LINGER_S = 0.05
"""How long rows are gathered before they are stored: a record costs 4 kB beside its rows."""
FLUSH_ROWS = 1 << 14
"""Enough rows to store at once."""
RECORD_ROWS_MAX = 512
"""Rows of a small table in one record: a dead letter holds 4 KiB of payload, and some words."""
assert RECORD_ROWS_MAX * (8 << 10) < RECORD_BYTES_MAX
WAITING_ROWS_MAX = 1 << 13
"""Rows of small tables that may wait before reading stops."""
POLLED_TABLES = (CAPITAL_DISTRIBUTION, CAPITAL_FLOW_SUMMARY, ARK_DYNAMIC, SYMBOLS)
"""Tables with few rows for what was asked: only new and changed ones go on."""
SNAPSHOT_EVERY_S = 30.0
SNAPSHOT_REST = 50.0
"""A snapshot's own time as often before the next one: thousands of full windows take seconds to write."""
_RETRY_S = 0.2


class WindowStore(Protocol):
    """Where the windows survive a restart. Declared here, implemented over the journal."""

    def load(self) -> tuple[bytes | None, Iterable[Record]]:
        """The last snapshot, and every record that was appended after it."""
        ...

    def save(self, snapshot: bytes) -> None:
        """Keep `snapshot`, which knows every record appended so far."""
        ...


class TickPipeline:
    """Stores what the lanes gather.

    Parameters
    ----------
    append : makes records durable, or raises a retriable TicktapeError and keeps nothing
    partition_count : Kafka partitions of each topic
    windows : where the windows survive a restart
    clock : says when a market's day is over
    """

    def __init__(
        self,
        append: Callable[[Sequence[Record]], object],
        *,
        partition_count: int,
        windows: WindowStore,
        clock: MarketClock | None = None,
    ) -> None:
        self.stats = PipelineStats()
        self._append = append
        self._partition_count = partition_count
        self._windows = windows
        self._lanes: dict[str, Lane] = {}
        self._rows: list[tuple[str, Mapping[str, object]]] = []
        self._coverage = CoverageKeeper(self._lanes, clock or MarketClock())
        self._coverage_due_s = 0.0
        self._diffs = {table.name: RowDiff(table) for table in POLLED_TABLES}
        self._waiting: list[Callable[[], None]] = []
        self._pending = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopping = False
        self._abandoned = threading.Event()
        self._left_behind = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._task: asyncio.Task[None] | None = None
        self._snapshot_due_s = 0.0

    def lane(self, source: str) -> Lane:
        """The lane of a source, made at its first gateway."""
        if source not in self._lanes:
            self._lanes[source] = Lane(source, self._partition_count)
        return self._lanes[source]

    async def start(self) -> None:
        """Restore the windows and begin to store; call once every gateway has its lane."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._restore)
        self._snapshot_due_s = time.monotonic() + SNAPSHOT_EVERY_S
        self._coverage_due_s = time.monotonic() + COVERAGE_EVERY_S
        self._task = asyncio.create_task(self._run(), name="pipeline")

    async def wait(self) -> None:
        """Return once stopped; raises what made it impossible to go on storing."""
        assert self._task is not None, "started before it is waited for"
        await asyncio.shield(self._task)

    async def stop(self, drain_s: float) -> None:
        """Store what was gathered, within `drain_s`; what a full journal does not take is left to the
        next start's pulls."""
        self._stopping = True
        self.wake(urgent=True)
        timer = asyncio.get_running_loop().call_later(drain_s, self._abandoned.set)
        try:
            if self._task is not None:
                await self._task
        finally:
            timer.cancel()
            self._thread.shutdown()

    def gap_counts(self) -> Counter[str]:
        """How many holes the ledger has, by state: those of all sources, since the journal was made."""
        counts: Counter[str] = Counter()
        for lane in self._lanes.values():
            counts.update(lane.book.gaps)
        return counts

    def wake(self, *, urgent: bool = False) -> None:
        """Something was gathered; `urgent` does not wait for more."""
        self._pending.set()
        if urgent:
            self._urgent.set()

    def gathered(self, lane: Lane) -> None:
        """A gateway appended ticks to `lane`."""
        if lane.holds_anything:
            self.wake(urgent=lane.ticks.rows >= FLUSH_ROWS)

    @property
    def rows_full(self) -> bool:
        """Too many rows of small tables wait: read nothing more until `when_room` (rule 3)."""
        return len(self._rows) >= WAITING_ROWS_MAX

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, in the loop, as soon as the lanes have empty buffers."""
        self._waiting.append(callback)
        self.wake(urgent=True)

    def append_rows(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Rows of a small table: dead letters, the ledger."""
        before = len(self._rows)
        self._rows.extend((table, row) for row in rows)
        if len(self._rows) > before:
            self.wake()

    def knows(self, table: str, row: Mapping[str, object]) -> bool:
        """Whether a row of a polled table with this one's key is in the journal already."""
        return self._diffs[table].knows(row)

    async def _run(self) -> None:
        while not (self._stopping and not self._holds_anything()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COVERAGE_EVERY_S):
                    await self._pending.wait()
            if not self._stopping:
                try:
                    async with asyncio.timeout(LINGER_S):
                        await self._urgent.wait()
                except TimeoutError:
                    pass
            self._pending.clear()
            self._urgent.clear()
            await self._flush()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._save_windows)

    def _holds_anything(self) -> bool:
        return bool(self._rows) or any(lane.holds_anything for lane in self._lanes.values())

    async def _flush(self) -> None:
        """Store everything gathered so far."""
        taken = [lane.take() for lane in self._lanes.values()]
        rows, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._store, taken, rows)
        for each in taken:
            if each.entries.wanted:
                each.lane.want_pulls(each.entries.wanted)

    def _store(
        self,
        taken: list[Taken],
        rows: list[tuple[str, Mapping[str, object]]],
    ) -> None:
        """In the journal's thread: encode, append, remember. One append holds all of it."""
        now_ns = time.time_ns()
        records = [record for each in taken for record in each.encode(now_ns)]
        by_table: dict[str, list[Mapping[str, object]]] = {}
        if entries := [row for each in taken for row in each.entries.rows]:
            by_table[GAPS.name] = list(entries)
        for name, row in (*rows, *self._coverage_rows()):
            by_table.setdefault(name, []).append(row)
        fresh = {name: self._diffs[name].fresh(of) if name in self._diffs else of for name, of in by_table.items()}
        for name, members in fresh.items():
            for begin in range(0, len(members), RECORD_ROWS_MAX):
                part = members[begin : begin + RECORD_ROWS_MAX]
                records.extend(encode_rows(TABLE_BY_NAME[name], part, self._partition_count))
        if records and not self._appended(records):
            return
        self._coverage.journaled(by_table)
        now_ns = time.time_ns()
        for batch in taken:
            batch.stored(self.stats, now_ns)
        for name, diff in self._diffs.items():
            kept = fresh.get(name, [])
            diff.mark(kept)
            self.stats.received_rows[name] += len(by_table.get(name, []))
            self.stats.repeat_rows[name] += len(by_table.get(name, [])) - len(kept)
        if time.monotonic() >= self._snapshot_due_s:
            self._save_windows()

    def _coverage_rows(self) -> list[tuple[str, Mapping[str, object]]]:
        """What `coverage` has to be told now."""
        if time.monotonic() < self._coverage_due_s:
            return []
        self._coverage_due_s = time.monotonic() + COVERAGE_EVERY_S
        return [(COVERAGE.name, row) for row in self._coverage.due(time.time_ns())]

    def _appended(self, records: list[Record]) -> bool:
        """Append, for as long as it takes; False when stopping came first."""
        stats = self.stats
        while True:
            since_ns = stats.journal_full_since_ns
            batch = records if since_ns is None else [*records, *self._full_gaps(since_ns)]
            try:
                self._append(batch)
            except TicktapeError as error:
                if not error.retriable:
                    raise
                if since_ns is None:
                    stats.journal_full_since_ns = time.time_ns()
                    log.error("the journal takes nothing more: reading from the gateways stops", reason=str(error))
                if self._abandoned.wait(_RETRY_S):
                    log.error("stopped with a full journal: its ticks are left to the next start's pulls")
                    self._left_behind = True
                    return False
                continue
            if since_ns is not None:
                log.info("the journal has room again")
                stats.journal_full_since_ns = None
                for lane in self._lanes.values():
                    lane.book.ledger.counts[FILLED] += 1
            for record in batch:
                stats.journaled_rows[record.table] += record.rows
            return True

    def _full_gaps(self, since_ns: int) -> list[Record]:
        """The ledger's account of a full journal, one row a source: nothing was read meanwhile."""
        now_ns = time.time_ns()
        gaps = [
            Gap(lane.source, "", "", CAUSE_JOURNAL_FULL, None, None, since_ns, now_ns, state="filled", missing=0)
            for lane in self._lanes.values()
        ]
        return encode_rows(GAPS, [gap.row() for gap in gaps], self._partition_count)

    def _restore(self) -> None:
        snapshot, records = self._windows.load()
        if snapshot is not None:
            restore_seen(snapshot, self._lanes, self._diffs, self._coverage)
        for record in records:
            replay_record(record, self._lanes, self._diffs, self._coverage)
        for lane in self._lanes.values():
            end_replay(lane.book)

    def _save_windows(self) -> None:
        if self._left_behind:
            return  # the accounts know of rows that the journal does not have: the last snapshot stands
        began_s = time.monotonic()
        self._windows.save(export_seen(self._lanes, self._diffs, self._coverage))
        ended_s = time.monotonic()
        self._snapshot_due_s = ended_s + max(SNAPSHOT_EVERY_S, SNAPSHOT_REST * (ended_s - began_s))
