"""Commits of many places at once: what is stored, and which blocks come next.

Rule 1: an insert waits until a commit names its block; nothing waits for a commit of what is stored.
Rule 2: one commit at a time. What is staged meanwhile goes with the next one, newest position first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field

import structlog

from sinks.positions import Position
from sinks.record_log import EpochOver, Place, RecordLog, RecordLogUnavailable
from sinks.writer_stats import Availability

STORED_S_MAX = 0.1
"""So long a position that nothing waits for may wait for others, to go with them."""
_RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Commits:
    """What one log shall keep. `run` in the background; `flush` at an end."""

    def __init__(self, record_log: RecordLog, availability: Availability) -> None:
        self._log = record_log
        self._availability = availability
        self._staged: dict[Place, _Staged] = {}
        self._committing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._awaited = asyncio.Event()

    def stage(self, place: Place, epoch: int, position: Position) -> None:
        """Have `position` kept soon; a newer one of the place takes its turn."""
        before = self._staged.get(place)
        self._staged[place] = _Staged(epoch, position, before.waiting if before is not None else [])
        self._wanted.set()

    def intend(self, place: Place, epoch: int, position: Position) -> asyncio.Future[None]:
        """Have `position` kept at once; done when it, or a newer one of the place, is kept."""
        self.stage(place, epoch, position)
        kept = asyncio.get_running_loop().create_future()
        self._staged[place].waiting.append(kept)
        self._awaited.set()
        return kept

    def forget(self, places: Collection[Place]) -> None:
        """Stage nothing of `places` any more: they are another reader's."""
        for place in places:
            self._staged.pop(place, None)

    async def run(self) -> None:
        """Keep committing, until cancelled."""
        while True:
            await self._wanted.wait()
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`, which may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(STORED_S_MAX):
                    await self._awaited.wait()
            if not await self.flush():
                await asyncio.sleep(_RETRY_S)

    async def flush(self) -> bool:
        """Commit what is staged now; False when it must be tried again."""
        async with self._committing:
            staged, self._staged = self._staged, {}
            self._wanted.clear()
            self._awaited.clear()
            if not staged:
                return True
            [epoch] = {each.epoch for each in staged.values()}  # of an earlier one all is forgotten
            try:
                await self._log.commit({place: each.position for place, each in staged.items()}, epoch)
            except EpochOver as error:
                # Whoever waits is cancelled when the log says which places are gone.
                log.warning("commit came too late", error=str(error), places=len(staged))
                return True
            except BaseException as error:
                self._put_back(staged)
                if not isinstance(error, RecordLogUnavailable):
                    raise
                self._availability.failed("commit", error)
                return False
            self._availability.worked("commit")
            for each in staged.values():
                for kept in each.waiting:
                    if not kept.done():
                        kept.set_result(None)
            return True

    def _put_back(self, staged: dict[Place, _Staged]) -> None:
        for place, each in staged.items():
            newer = self._staged.get(place)
            if newer is None:
                self._staged[place] = each
            else:
                newer.waiting[:0] = each.waiting
        if self._staged:
            self._wanted.set()
            self._awaited.set()


@dataclass(slots=True)
class _Staged:
    epoch: int
    position: Position
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
