"""From decoded ticks to the journal: gather, drop repeats, encode, append, remember.

Each source has a lane: one symbol table, one window of keys, and two tick buffers, one being filled
by the event loop while a worker thread stores the other.

Rule 1: keys are marked as seen only after the journal has their batch.
Rule 2: one thread stores; whatever it touches of a lane, the loop leaves alone meanwhile.
Rule 3: nothing here grows: a full buffer makes the gateways stop reading.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from codec.columns import SEQUENCE, SYMBOL_ID, TS_EVENT_US, TS_RECV_NS, TickBuffer
from codec.encode import TickEncoder, encode_rows
from codec.errors import TicktapeError
from codec.histogram import LatencyHistogram
from codec.records import RECORD_BYTES_MAX, Record
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.tables import GAPS, TABLE_BY_NAME, TICKS
from codec.window import SequenceWindow, Verdict
from ingest.ledger import CAUSE_JOURNAL_FULL, Gap, PullOutcome
from ingest.window_state import export_windows, replay_record, restore_windows

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
SNAPSHOT_EVERY_S = 30.0
_RETRY_S = 0.2


class WindowStore(Protocol):
    """Where the windows survive a restart. Declared here, implemented over the journal."""

    def load(self) -> tuple[bytes | None, Iterable[Record]]:
        """The last snapshot, and every record that was appended after it."""
        ...

    def save(self, snapshot: bytes) -> None:
        """Keep `snapshot`, which knows every record appended so far."""
        ...


@dataclass(slots=True)
class PipelineStats:
    """What went through; read by the exporter."""

    received_rows: int = 0
    repeat_rows: int = 0
    conflicts: int = 0
    journaled_rows: Counter[str] = field(default_factory=Counter)
    journal_latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    journal_full_since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _PullMark:
    """Rows of the buffer that one GetTicker reply brought, and who wants to know what became of them."""

    symbol: str
    first_row: int
    rows: int
    settled: Callable[[PullOutcome], None]


class Lane:
    """The ticks of one source on their way to the journal."""

    def __init__(self, source: str, partition_count: int) -> None:
        self.source = source
        self.symbols = SymbolTable(partition_count)
        self.window = SequenceWindow(self.symbols)
        self.gateways: list[str] = []
        self.ticks = TickBuffer()
        self.latest_ts_us: NDArray[np.int64] = np.zeros(SYMBOLS_MAX, np.int64)
        """(SYMBOLS_MAX,) greatest ts_event journaled of each symbol, 0 for none."""
        self._encoder = TickEncoder(source, self.symbols, self.gateways)
        self._spare = TickBuffer()
        self._pulls: list[_PullMark] = []
        self._conflicts_logged: set[int] = set()

    def add_gateway(self, name: str) -> int:
        """The id that rows from the gateway `name` carry."""
        self.gateways.append(name)
        return len(self.gateways) - 1

    def mark_pull(self, symbol: str, first_row: int, rows: int, settled: Callable[[PullOutcome], None]) -> None:
        """Rows of `ticks` came from a pull: call `settled`, in the loop, once they are journaled."""
        self._pulls.append(_PullMark(symbol, first_row, rows, settled))

    def swap(self) -> tuple[TickBuffer, list[_PullMark]]:
        """Hand over what was gathered and go on with the empty buffer."""
        full, pulls = self.ticks, self._pulls
        self._spare.rows = 0
        self.ticks, self._spare, self._pulls = self._spare, full, []
        return full, pulls

    @property
    def holds_anything(self) -> bool:
        return self.ticks.rows > 0 or bool(self._pulls)

    def encode(self, ticks: TickBuffer) -> tuple[Verdict, list[Record]]:
        """The verdict on `ticks` and the records of its fresh rows; changes nothing of the window."""
        self.symbols.canonicalize(ticks.narrow[SYMBOL_ID, : ticks.rows])
        verdict = self.window.test(ticks)
        if verdict.conflicts:
            self._log_conflicts(ticks, verdict)
        return verdict, self._encoder.encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)

    def stored(self, ticks: TickBuffer, verdict: Verdict) -> None:
        """The fresh rows of `ticks` are durable: remember their keys."""
        self.window.mark(ticks, verdict)
        fresh = np.flatnonzero(verdict.fresh)
        self.journaled(ticks.narrow[SYMBOL_ID].take(fresh), ticks.wide[TS_EVENT_US].take(fresh))

    def journaled(self, symbol_ids: NDArray[np.int32], ts_event_us: NDArray[np.int64]) -> None:
        """Rows of these symbols and times, (n,) each, are durable. A pull brings older ones after newer ones."""
        np.maximum.at(self.latest_ts_us, symbol_ids, ts_event_us)

    def _log_conflicts(self, ticks: TickBuffer, verdict: Verdict) -> None:
        conflicting = ticks.narrow[SYMBOL_ID, : ticks.rows][verdict.fresh & (verdict.ordinals > 0)]
        for symbol_id in set(np.unique(conflicting).tolist()) - self._conflicts_logged:
            self._conflicts_logged.add(symbol_id)
            log.warning(
                "one sequence, two ticks: both are kept, the later one under the next ordinal",
                source=self.source,
                symbol=self.symbols.names[symbol_id],
            )


class TickPipeline:
    """Stores what the lanes gather.

    Parameters
    ----------
    append : makes records durable, or raises a retriable TicktapeError and keeps nothing
    partition_count : Kafka partitions of each topic
    windows : where the windows survive a restart
    """

    def __init__(
        self, append: Callable[[Sequence[Record]], object], *, partition_count: int, windows: WindowStore
    ) -> None:
        self.stats = PipelineStats()
        self._append = append
        self._partition_count = partition_count
        self._windows = windows
        self._lanes: dict[str, Lane] = {}
        self._rows: list[tuple[str, Mapping[str, object]]] = []
        self._waiting: list[Callable[[], None]] = []
        self._pending = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopping = False
        self._abandoned = threading.Event()
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

    async def _run(self) -> None:
        while not (self._stopping and not self._holds_anything()):
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
        taken = [(lane, *lane.swap()) for lane in self._lanes.values()]
        rows, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()
        loop = asyncio.get_running_loop()
        settled = await loop.run_in_executor(self._thread, self._store, taken, rows)
        for tell, outcome in settled:
            tell(outcome)

    def _store(
        self,
        taken: list[tuple[Lane, TickBuffer, list[_PullMark]]],
        rows: list[tuple[str, Mapping[str, object]]],
    ) -> list[tuple[Callable[[PullOutcome], None], PullOutcome]]:
        """In the journal's thread: encode, append, remember. One append holds all of it."""
        encoded = [(lane, ticks, pulls, *lane.encode(ticks)) for lane, ticks, pulls in taken if ticks.rows or pulls]
        records = [record for *_, lane_records in encoded for record in lane_records]
        for name in dict.fromkeys(name for name, _ in rows):
            members = [row for of, row in rows if of == name]
            for begin in range(0, len(members), RECORD_ROWS_MAX):
                part = members[begin : begin + RECORD_ROWS_MAX]
                records.extend(encode_rows(TABLE_BY_NAME[name], part, self._partition_count))
        if records and not self._appended(records):
            return []
        now_ns = time.time_ns()
        settled: list[tuple[Callable[[PullOutcome], None], PullOutcome]] = []
        for lane, ticks, pulls, verdict, _ in encoded:
            lane.stored(ticks, verdict)
            self.stats.received_rows += ticks.rows
            self.stats.repeat_rows += ticks.rows - verdict.fresh_rows
            self.stats.conflicts += verdict.conflicts
            self.stats.journal_latency.observe_ns(now_ns - ticks.wide[TS_RECV_NS, : ticks.rows])
            settled.extend((mark.settled, _outcome(mark, ticks, verdict)) for mark in pulls)
        if time.monotonic() >= self._snapshot_due_s:
            self._save_windows()
        return settled

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
                    return False
                continue
            if since_ns is not None:
                log.info("the journal has room again")
                stats.journal_full_since_ns = None
            for record in batch:
                stats.journaled_rows[record.table] += record.rows
            return True

    def _full_gaps(self, since_ns: int) -> list[Record]:
        """The ledger's account of a full journal, one row a source: nothing was read meanwhile."""
        now_ns = time.time_ns()
        gaps = [
            Gap(lane.source, "", "", CAUSE_JOURNAL_FULL, None, None, since_ns, now_ns, state="filled", missing=None)
            for lane in self._lanes.values()
        ]
        return encode_rows(GAPS, [gap.row() for gap in gaps], self._partition_count)

    def _restore(self) -> None:
        snapshot, records = self._windows.load()
        windows = {source: lane.window for source, lane in self._lanes.items()}
        if snapshot is not None:
            restore_windows(snapshot, windows)
        for record in records:
            if record.table == TICKS.name:
                replay_record(record, self._lanes)

    def _save_windows(self) -> None:
        self._windows.save(export_windows({source: lane.window for source, lane in self._lanes.items()}))
        self._snapshot_due_s = time.monotonic() + SNAPSHOT_EVERY_S


def _outcome(mark: _PullMark, ticks: TickBuffer, verdict: Verdict) -> PullOutcome:
    rows = slice(mark.first_row, mark.first_row + mark.rows)
    if mark.rows == 0:
        return PullOutcome(mark.symbol, 0, None, None)
    sequences = ticks.wide[SEQUENCE, rows]
    oldest = int(np.argmin(sequences))
    return PullOutcome(
        symbol=mark.symbol,
        fresh_rows=int(np.count_nonzero(verdict.fresh[rows])),
        first_sequence=int(sequences[oldest]),
        first_ts=int(ticks.wide[TS_EVENT_US, rows][oldest]),
    )
