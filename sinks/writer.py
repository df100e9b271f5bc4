"""Moves records from a log into ClickHouse: fetches, cuts blocks, inserts them, then commits.

Rule 1: a position is committed only when everything before it is in ClickHouse.
Rule 2: one insert at a time for each place, in the order of the log; places go side by side.
Rule 3: whatever is down, the position is kept, the same block is tried again under its token, and
    what is held stays within `HELD_BYTES_MAX` and one fetch.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from codec.errors import TicktapeError
from sinks import block_store, schema
from sinks.backoff import Backoff
from sinks.block_store import StoredBlock
from sinks.blocks import Block, EncodedBlock, PlaceQueue
from sinks.clickhouse import ClickHouse
from sinks.record_log import LoggedRecord, Place, RecordLog, RecordLogUnavailable
from sinks.threads import Threads
from sinks.writer_stats import Availability, WriterStats

HELD_BYTES_MAX = 256 << 20
"""Fetched and not yet stored; beyond it nothing is fetched, so that memory does not grow with an outage."""
LET_GO_S = 5.0
"""How long a place that goes to another reader may take to finish its insert; within Kafka's session time-out."""
_FETCH_S_MAX = 0.2
_RETRY_COMMIT_S = 1.0

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class Writer:
    """One log, one ClickHouse. `start`, then `wait` until it fails for good, or `stop`."""

    def __init__(self, record_log: RecordLog, clickhouse: ClickHouse, *, rng: random.Random | None = None) -> None:
        self.stats = WriterStats()
        self._log = record_log
        self._clickhouse = clickhouse
        self._flush_interval_ns = int(clickhouse.config.flush_interval_s * 1e9)
        self._rng = rng or random.Random()
        self._inserting = Threads(clickhouse.inserts_max, "clickhouse-writer")
        self._encoding = Threads(1, "block-encoder")
        self._held: dict[Place, _Held] = {}
        self._positions: dict[Place, int] = {}
        self._committing = asyncio.Lock()
        self._commit_wanted = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background, however long ClickHouse or the log let us wait."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def wait(self) -> None:
        """Return when stopped; raise what makes going on useless.

        Raises
        ------
        SchemaMismatch, RecordSchemaUnknown, RecordLogMismatch, ClickHouseFolderLocked, …
            Any TicktapeError that is not retriable.
        """
        assert self._task is not None
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def stop(self, drain_s: float) -> None:
        """Fetch no more, store what is held within `drain_s`; the rest stays uncommitted."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=drain_s if self.stats.started else 0)
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._log.stop()
        self._inserting.close()
        self._encoding.close()

    def lag_s(self, now_ns: int) -> float:
        """Age at unix time `now_ns` of the oldest row that is fetched and not stored; 0 when there is none."""
        oldest_ns = [ns for held in self._held.values() if (ns := held.oldest_recv_ns()) is not None]
        return max(0.0, (now_ns - min(oldest_ns)) * 1e-9) if oldest_ns else 0.0

    async def _run(self) -> None:
        stats = self.stats
        await self._until_done(stats.clickhouse, "start", lambda: self._inserting.run(schema.prepare, self._clickhouse))
        await self._until_done(stats.record_log, "start", lambda: self._log.start(self._let_go))
        stats.started = True
        log.info("writing", clickhouse=self._clickhouse.config.url, database=self._clickhouse.database)
        try:
            async with asyncio.TaskGroup() as tasks:
                committer = tasks.create_task(self._keep_committing())
                await self._keep_fetching(tasks)
                await self._finish_held(tasks)
                committer.cancel()
            await self._commit()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            stats.started = False

    async def _until_done(
        self, neighbour: Availability, caller: Hashable, attempt: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The result of `attempt`, tried again while it fails with something retriable."""
        delays_s = Backoff().delays_s(self._rng)
        while True:
            try:
                result = await attempt()
            except TicktapeError as error:
                if not error.retriable:
                    raise
                neighbour.failed(caller, error)
                await asyncio.sleep(next(delays_s))
            else:
                neighbour.worked(caller)
                return result

    async def _keep_fetching(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            if self.stats.held_bytes < HELD_BYTES_MAX:
                self._hold(await self._fetch())
            else:
                self._acknowledged.clear()
                await _first_of(self._acknowledged, self._stopping)
            self._begin_due(tasks)
            # A log that has much at hand never really waits: let the inserts have their turn.
            await asyncio.sleep(0)

    async def _fetch(self) -> list[LoggedRecord]:
        try:
            fetched = await self._log.fetch(self._until_due_s())
        except RecordLogUnavailable as error:
            self.stats.record_log.failed("fetch", error)
            await asyncio.sleep(_FETCH_S_MAX)
            return []
        self.stats.record_log.worked("fetch")
        return fetched

    def _until_due_s(self) -> float:
        now_ns = time.monotonic_ns()
        idle = [held.queue.due_ns(self._flush_interval_ns) for held in self._held.values() if held.task is None]
        due_ns = min((ns for ns in idle if ns is not None), default=now_ns + int(_FETCH_S_MAX * 1e9))
        return min(max(due_ns - now_ns, 0) * 1e-9, _FETCH_S_MAX)

    def _hold(self, fetched: list[LoggedRecord]) -> None:
        now_ns = time.monotonic_ns()
        for logged in fetched:
            held = self._held.get(logged.place)
            if held is None:
                held = self._held[logged.place] = _Held(PlaceQueue(logged.place))
            held.queue.append(logged, now_ns)
            self.stats.held_rows += logged.rows
            self.stats.held_bytes += len(logged.record.value)

    def _let_loose(self, rows: int, size_bytes: int) -> None:
        self.stats.held_rows -= rows
        self.stats.held_bytes -= size_bytes
        self._acknowledged.set()

    def _begin_due(self, tasks: asyncio.TaskGroup) -> None:
        for held in self._held.values():
            if held.task is None and self._is_due(held):
                held.task = tasks.create_task(self._store_due(held))

    def _is_due(self, held: _Held) -> bool:
        due_ns = held.queue.due_ns(self._flush_interval_ns)
        if due_ns is None:
            return False
        pressed = self._stopping.is_set() or self.stats.held_bytes >= HELD_BYTES_MAX
        return pressed or due_ns <= time.monotonic_ns()

    async def _store_due(self, held: _Held) -> None:
        """Store one place's blocks while any is due, encoding the next one while one is inserted."""
        try:
            following = self._begin_encoding(held)
            while following is not None:
                encoded = await following
                following = self._begin_encoding(held)
                stored = await self._insert(encoded)
                self._acknowledge(held, encoded, stored)
                following = following or self._begin_encoding(held)
        finally:
            held.task = None
            self.stats.clickhouse.forget(held.queue.place)
            for block in held.cut:
                self._let_loose(block.rows, block.size_bytes)
            held.cut.clear()

    def _begin_encoding(self, held: _Held) -> asyncio.Future[EncodedBlock] | None:
        if not self._is_due(held):
            return None
        block = held.queue.cut()
        held.cut.append(block)
        return self._encoding.run(EncodedBlock, block)

    async def _insert(self, encoded: EncodedBlock) -> StoredBlock:
        return await self._until_done(
            self.stats.clickhouse,
            encoded.block.place,
            lambda: self._inserting.run(block_store.store, self._clickhouse, encoded),
        )

    def _acknowledge(self, held: _Held, encoded: EncodedBlock, stored: StoredBlock) -> None:
        block = held.cut.pop(0)
        assert block is encoded.block
        self._let_loose(block.rows, block.size_bytes)
        self._positions[block.place] = block.next_offset
        self._commit_wanted.set()
        stats = self.stats
        stats.inserts += 1
        stats.stored_rows[encoded.table.name] += stored.rows
        for letter in stored.dead_letters:
            stats.dead_letters[letter.feed, letter.reason] += 1
        if stored.dead_letters:
            first = stored.dead_letters[0]
            log.error(
                "set aside in dead_letters",
                table=encoded.table.name,
                token=block.token,
                count=len(stored.dead_letters),
                reason=first.reason,
                detail=first.detail,
            )
        now_ns = time.time_ns()
        self._encoding.run(lambda: stats.latency.observe_ns(now_ns - encoded.received_ns()))

    async def _keep_committing(self) -> None:
        while True:
            await self._commit_wanted.wait()
            self._commit_wanted.clear()
            if not await self._commit():
                await asyncio.sleep(_RETRY_COMMIT_S)
                self._commit_wanted.set()

    async def _commit(self) -> bool:
        """Commit what was acknowledged since the last time; False when it must be tried again."""
        async with self._committing:
            positions, self._positions = self._positions, {}
            try:
                if positions:
                    await self._log.commit(positions)
            except BaseException as error:
                self._positions = positions | self._positions
                if not isinstance(error, RecordLogUnavailable):
                    raise
                self.stats.record_log.failed("commit", error)
                return False
            self.stats.record_log.worked("commit")
            return True

    async def _finish_held(self, tasks: asyncio.TaskGroup) -> None:
        self._begin_due(tasks)
        while running := [held.task for held in self._held.values() if held.task is not None]:
            await asyncio.wait(running)

    async def _let_go(self, places: Collection[Place]) -> None:
        """Another reader takes `places` over: finish what is being inserted, forget the rest."""
        leaving = [self._held.pop(place) for place in places if place in self._held]
        for held in leaving:
            self._let_loose(held.queue.rows, held.queue.size_bytes)
            held.queue.clear()
        if running := [held.task for held in leaving if held.task is not None]:
            _, late = await asyncio.wait(running, timeout=LET_GO_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._commit()
        for place in places:
            self._positions.pop(place, None)


@dataclass(slots=True)
class _Held:
    """What is held of one place: `cut` are the blocks being encoded or inserted, oldest first."""

    queue: PlaceQueue
    cut: list[Block] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def oldest_recv_ns(self) -> int | None:
        return self.cut[0].records[0].record.recv_ns if self.cut else self.queue.oldest_recv_ns()


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
