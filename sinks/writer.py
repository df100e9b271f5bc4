"""Moves records from a log into ClickHouse: fetches, cuts blocks, says which, inserts them, commits.

Rule 1: a position is committed only when everything before it is in ClickHouse.
Rule 2: a block is inserted only when a commit names it, so that whoever comes next inserts that very
    block again. The next one is named while one is inserted: a commit costs no time between them.
Rule 3: one insert at a time for each place, in the order of the log; places go side by side.
Rule 4: whatever is down, the position is kept, the same block is tried again under its token, and
    what is held stays within its bound (`HELD_BYTES_MAX`) and one fetch, or what the named blocks need.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import structlog

from codec.errors import TicktapeError
from sinks import block_store, look_up, schema
from sinks.backoff import Backoff
from sinks.block_encoding import EncodedBlock
from sinks.block_store import StoredBlock
from sinks.blocks import Block, PlaceQueue
from sinks.clickhouse import ClickHouse
from sinks.commits import Commits
from sinks.positions import Position
from sinks.record_log import LoggedRecord, Place, RecordLog, RecordLogUnavailable
from sinks.threads import Threads
from sinks.writer_stats import Availability, WriterStats

HELD_BYTES_MAX = 256 << 20
"""Fetched and not yet stored; beyond it nothing is fetched."""
HELD_AWAY_BYTES_MAX = 32 << 20
"""The same while ClickHouse fails: enough to begin with when it is back, and memory does not grow with an outage."""
LET_GO_S = 5.0
"""How long a place that goes to another reader may take to finish its insert; within Kafka's session time-out."""
_FETCH_S_MAX = 0.2
_LAG_EVERY_S = 1.0
"""While nothing may be fetched."""

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
        self._commits = Commits(record_log, self.stats.record_log)
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
        await self._until_done(stats.record_log, "start", lambda: self._log.start(self._let_go, self._stored_until))
        stats.started = True
        log.info("writing", clickhouse=self._clickhouse.config.url, database=self._clickhouse.database)
        try:
            async with asyncio.TaskGroup() as tasks:
                committer = tasks.create_task(self._commits.run())
                await self._keep_fetching(tasks)
                await self._finish_held(tasks)
                committer.cancel()
            await self._commits.flush()
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
                failing = self.stats.record_log if isinstance(error, RecordLogUnavailable) else neighbour
                failing.failed(caller, error)
                await asyncio.sleep(next(delays_s))
            else:
                neighbour.worked(caller)
                self.stats.record_log.forget(caller)
                return result

    async def _keep_fetching(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            if not self._is_full or not any(held.task for held in self._held.values()):
                self._hold(await self._fetch())
            else:
                self._acknowledged.clear()
                if not await _first_of(self._acknowledged, self._stopping, within_s=_LAG_EVERY_S):
                    await self._log.measure_lag()
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

    @property
    def _is_full(self) -> bool:
        fails = self.stats.clickhouse.trouble is not None
        return self.stats.held_bytes >= (HELD_AWAY_BYTES_MAX if fails else HELD_BYTES_MAX)

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
                beginning = self._log.beginning(logged.place)
                queue = PlaceQueue(logged.place, beginning)
                held = self._held[logged.place] = _Held(queue, logged.epoch, beginning)
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
        return self._stopping.is_set() or self._is_full or due_ns <= time.monotonic_ns()

    async def _store_due(self, held: _Held) -> None:
        """Store one place's blocks while any is due; the next one is encoded and named while one is inserted."""
        try:
            following = self._begin_block(held)
            while following is not None:
                encoded = await following.encoded
                await following.named
                following = self._begin_block(held)
                stored = await self._insert(held, encoded)
                self._acknowledge(held, encoded, stored)
                following = following or self._begin_block(held)
        finally:
            held.task = None
            self.stats.clickhouse.forget(held.queue.place)
            self.stats.record_log.forget(held.queue.place)
            for block in held.cut:
                self._let_loose(block.rows, block.size_bytes)
            held.cut.clear()

    def _begin_block(self, held: _Held) -> _Begun | None:
        if not self._is_due(held):
            return None
        block = held.queue.cut()
        held.cut.append(block)
        named = self._commits.intend(block.place, held.epoch, held.position_with_intents())
        return _Begun(self._encoding.run(EncodedBlock, block), named)

    async def _insert(self, held: _Held, encoded: EncodedBlock) -> StoredBlock:
        def allow() -> None:
            self._log.require(held.epoch)

        return await self._until_done(
            self.stats.clickhouse,
            encoded.block.place,
            lambda: self._inserting.run(block_store.store, self._clickhouse, encoded, allow),
        )

    def _acknowledge(self, held: _Held, encoded: EncodedBlock, stored: StoredBlock) -> None:
        block = held.cut.pop(0)
        assert block is encoded.block
        self._let_loose(block.rows, block.size_bytes)
        held.position = block.position
        self._commits.stage(block.place, held.epoch, held.position_with_intents())
        stats = self.stats
        stats.inserts += 1
        stats.stored_rows[encoded.table.name] += stored.rows
        for letter in stored.dead_letters:
            stats.dead_letters[letter.feed, letter.reason] += 1
        if stored.held:
            log.info(
                "left out rows that were stored before", table=encoded.table.name, token=block.token, rows=stored.held
            )
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
        await self._commits.flush()
        self._commits.forget(places)

    async def _stored_until(self, tables: Mapping[Place, str]) -> Mapping[Place, int]:
        """The greatest offset of each place that ClickHouse holds, however long it lets us wait."""
        return await self._until_done(
            self.stats.clickhouse,
            "stored until",
            lambda: self._inserting.run(look_up.stored_until, self._clickhouse, tables),
        )


@dataclass(slots=True)
class _Held:
    """What is held of one place.

    Attributes
    ----------
    position : up to where it is stored
    cut : the blocks being encoded or inserted, oldest first
    """

    queue: PlaceQueue
    epoch: int
    position: Position
    cut: list[Block] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def oldest_recv_ns(self) -> int | None:
        return self.cut[0].records[0].record.recv_ns if self.cut else self.queue.oldest_recv_ns()

    def position_with_intents(self) -> Position:
        return replace(self.position, intents=tuple(block.name for block in self.cut) + self.queue.named)


class _Begun(NamedTuple):
    encoded: asyncio.Future[EncodedBlock]
    named: asyncio.Future[None]


async def _first_of(*events: asyncio.Event, within_s: float) -> bool:
    """Whether one of `events` came."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in waiting:
            task.cancel()
