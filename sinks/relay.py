"""Moves records from the journal to Kafka, and never gives up.

It has a thread and an event loop of its own, so that compression and a slow broker delay nobody's
sockets. Whatever is wrong with Kafka is said in one line and tried again; the journal keeps
everything meanwhile.

Of two processes with one worker's name the one that started last wins: it fences the other, which
waits until the winner is silent (`SILENT_S`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import threading
import time
from collections.abc import Iterator

import orjson
import structlog
import uvloop

from codec.errors import TicktapeError
from sinks.backoff import Backoff
from sinks.journal import JournalReader
from sinks.kafka import KafkaConfig, client_options
from sinks.relay_errors import JournalMismatch, TransactionLost, WorkerTaken
from sinks.relay_kafka import connected_producers, transactional_ids
from sinks.relay_positions import Positions, WrittenPosition, open_positions
from sinks.relay_progress import Position, RelayProgress
from sinks.relay_session import IDLE_S_MAX, RelaySession, first_probe
from sinks.relay_stats import RelayStats
from sinks.relay_transaction import Names

RELAY_READER_NAME = "relay"
"""The relay's name among the journal's readers."""

_BACKOFF = Backoff(first_s=0.2, delay_s_max=5.0)
_STEADY_S = 60.0
"""A session that lasted so long was a good one: the next one is tried at once."""
_JOIN_S = 3.0
"""Beyond the drain: time to let go of the connection."""
SILENT_S = 3 * IDLE_S_MAX
"""Another process of our worker's name that writes no position for so long is taken to be gone."""

log = structlog.get_logger(__name__)


class Relay:
    """One journal, one Kafka. `start`, then `stop`; `wake` after each append makes it prompt.

    Attributes
    ----------
    stats : counts and state
    """

    def __init__(
        self, reader: JournalReader, kafka: KafkaConfig, worker: str, *, rng: random.Random | None = None
    ) -> None:
        """Raises KafkaMisconfigured when the files of its security settings cannot be used."""
        self.stats = RelayStats()
        self._reader, self._config = reader, kafka
        self._names = Names(worker, reader.journal_id, holder=secrets.token_hex(8))
        self._options = client_options(kafka, f"ticktape-relay-{worker}")
        self._progress = RelayProgress(_local_position(reader))
        self._was_fenced = False
        self._found: WrittenPosition | None = None
        self._rng = rng or random.Random()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._stop_asked = threading.Event()
        self._drain_until_s = 0.0
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._appended: asyncio.Event | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def in_flight_rows(self) -> int:
        """Rows sent and not committed."""
        return self._progress.in_flight_rows

    def lag_rows(self, journal_rows_total: int) -> int:
        """Rows journaled and not in Kafka for good, given the rows that the journal holds in all."""
        return max(journal_rows_total - self._progress.committed.journal_rows, 0)

    def start(self) -> None:
        """Begin, whether or not Kafka is there."""
        self._thread.start()

    def wake(self) -> None:
        """The journal grew. From any thread; without it the relay looks every 20 ms."""
        with self._mutex:
            if self._loop is not None and self._appended is not None:
                self._loop.call_soon_threadsafe(self._appended.set)

    def stop(self, drain_s: float) -> None:
        """Send what is journaled within `drain_s`, keep the position, end. Blocks; does not drain while in trouble."""
        self._drain_until_s = time.monotonic() + drain_s
        self._stop_asked.set()
        with self._mutex:
            if self._loop is not None and self._stopping is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.ident is not None:
            self._thread.join(drain_s + _JOIN_S)

    def _run(self) -> None:
        delays_s = _BACKOFF.delays_s(self._rng)
        while True:
            started_s = time.monotonic()
            try:
                # A loop for each session: nothing of a producer that failed survives it.
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._session())
            except TicktapeError as error:
                self.stats.report(error)
            except Exception as error:
                # A mistake of ours or of the client's must not end the relay: the journal would fill up.
                log.exception("the relay failed, trying again")
                self.stats.report(error)
            if self._stop_asked.is_set():
                return
            if time.monotonic() - started_s > _STEADY_S:
                delays_s = _BACKOFF.delays_s(self._rng)
            if self._stop_asked.wait(next(delays_s)):
                return

    async def _session(self) -> None:
        """Connect and relay until stopped; raises what ended it."""
        stopping, appended = asyncio.Event(), asyncio.Event()
        with self._reachable(stopping, appended):
            relaying = asyncio.create_task(self._relay(stopping, appended))
            ending = asyncio.create_task(self._end_of_drain(stopping))
            await asyncio.wait([relaying, ending], return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if not relaying.done():
                relaying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relaying

    async def _relay(self, stopping: asyncio.Event, appended: asyncio.Event) -> None:
        if self._was_fenced:
            async with open_positions(self._config, self._options, self._names.worker) as positions:
                await self._wait_for_silence(positions)
        ids = transactional_ids(self._config, self._names.worker)
        async with connected_producers(self._config, self._options, ids) as producers:
            self._was_fenced = False
            await first_probe(producers[0], self._config)
            async with open_positions(self._config, self._options, self._names.worker) as positions:
                await positions.read_to_end()
            self._found = positions.newest
            self._progress.restart(self._position_of(positions))
            session = RelaySession(
                producers, self._reader, self._progress, self.stats, self._config, self._names, stopping, appended
            )
            try:
                await session.run()
            except TransactionLost:
                self._was_fenced = True
                raise

    async def _wait_for_silence(self, positions: Positions) -> None:
        """Return when nobody else goes by our worker's name, or nobody any more.

        What was there before we took the name is our predecessor's, who cannot write any more.
        """
        await positions.read_to_end()
        heard_s = time.monotonic()
        while (newest := positions.newest) not in (None, self._found) and newest.holder != self._names.holder:
            self.stats.report(WorkerTaken(self._names.worker, newest.journal_id, SILENT_S))
            if await positions.read_on(timeout_ms=500):
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > SILENT_S:
                return

    def _position_of(self, positions: Positions) -> Position:
        """Where to go on: what Kafka knows of our journal, or else the journal's own word, which a new one begins with.

        Raises
        ------
        JournalMismatch
        """
        position = positions.of_journal.get(self._names.journal_id)
        if position is None:
            return _local_position(self._reader)
        if not self._reader.fits(position.offset, position.crc32c):
            raise JournalMismatch(self._reader.path, position.offset)
        return position

    async def _end_of_drain(self, stopping: asyncio.Event) -> None:
        """Return when it is no use to drain any longer: out of time, or Kafka was away when asked to stop."""
        await stopping.wait()
        if self.stats.ready:
            await asyncio.sleep(self._drain_until_s - time.monotonic())

    @contextlib.contextmanager
    def _reachable(self, stopping: asyncio.Event, appended: asyncio.Event) -> Iterator[None]:
        """Let `wake` and `stop` reach this session's loop while it runs."""
        with self._mutex:
            self._loop, self._stopping, self._appended = asyncio.get_running_loop(), stopping, appended
        try:
            if self._stop_asked.is_set():
                stopping.set()
            yield
        finally:
            with self._mutex:
                self._loop = self._stopping = self._appended = None


def _local_position(reader: JournalReader) -> Position:
    """What the journal itself knows: up to date but for the last moments, and all there is until Kafka answers."""
    offset, kept = reader.control.get_snapshot(reader.name) or (reader.position, b"{}")
    return Position.of({"journal_rows": 0, "rows_of_place": {}, "crc32c": None, **orjson.loads(kept), "offset": offset})
