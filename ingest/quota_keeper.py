"""Grants requests by writing them down first: `ingest.quotas` with a clock, a thread and a place to keep it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from codec.errors import TicktapeError
from ingest.quotas import Clocks, LoginQuotas, QuotaBook, UnreadableQuotas
from ingest.rate_limiter import Quota

log = structlog.get_logger(__name__)

_RETRY_S = 1.0
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


class QuotaStore(Protocol):
    """Where the quotas survive a restart. Declared here, implemented over the journal."""

    def load(self) -> bytes | None:
        """What was kept last."""
        ...

    def save(self, kept: bytes) -> None:
        """Keep it once this returns; raises a TicktapeError when it could not."""
        ...


class QuotaKeeper:
    """The quotas of all logins of this process.

    Parameters
    ----------
    quotas : of each call that has any, by its number
    store : None remembers nothing over a restart

    Attributes
    ----------
    granted : called, in the loop, whenever more requests may go out
    trouble : why nothing can be granted just now
    """

    def __init__(self, quotas: Mapping[int, tuple[Quota, ...]], store: QuotaStore | None) -> None:
        self.granted: list[Callable[[], None]] = []
        self.trouble: str | None = None
        self._book = QuotaBook(quotas)
        self._store = store
        self._boot = _boot()
        self._saving: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Read what the last process kept."""
        if self._store is None:
            return
        kept = await asyncio.to_thread(self._store.load)
        if kept is not None:
            try:
                self._book.restore(kept, self._clocks())
            except UnreadableQuotas as error:
                log.warning("the quotas begin anew: an early restart may go beyond them", reason=str(error))

    async def stop(self) -> None:
        """Write down exactly what was sent; nothing more is granted."""
        self._stopped = True
        if self._saving is not None:
            await self._saving
        if self._store is not None:
            try:
                await asyncio.to_thread(self._store.save, self._book.pledge(self._clocks(), last=True))
            except TicktapeError as error:
                log.warning("the quotas were not written a last time; the next start waits longer", error=str(error))

    def of(self, login: int, share: float) -> LoginQuotas:
        """The quotas of a login that a gateway has a session of now; `share` is our part of them."""
        quotas = self._book.of(login, share, time.monotonic_ns())
        self.replenish()
        return quotas

    def replenish(self) -> None:
        """Have more requests granted, if that is needed. Cheap; call it after sending."""
        if self._saving is None and not self._stopped and self._book.wants_grants:
            self._saving = asyncio.get_running_loop().create_task(self._grant(), name="quotas")

    async def _grant(self) -> None:
        try:
            while not await self._granted_once():
                if self._stopped:
                    return
                await asyncio.sleep(_RETRY_S)
        finally:
            self._saving = None
        for tell in self.granted:
            tell()

    async def _granted_once(self) -> bool:
        pledge = self._book.pledge(self._clocks())
        if self._store is not None:
            try:
                await asyncio.to_thread(self._store.save, pledge)
            except TicktapeError as error:
                if self.trouble is None:
                    log.error("polls wait: what they use of the quotas cannot be written down", reason=str(error))
                self.trouble = str(error)
                return False
        self._book.grant()
        if self.trouble is not None:
            log.info("polls go on")
            self.trouble = None
        return True

    def _clocks(self) -> Clocks:
        return Clocks(time.monotonic_ns(), time.time_ns(), self._boot)


def _boot() -> str:
    """The boot of the machine, as its kernel names it; empty where it does not."""
    try:
        return _BOOT_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
