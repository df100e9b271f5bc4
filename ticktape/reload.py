"""The configuration read again while a daemon runs: on SIGHUP, or when a file of it changes.

Only the subscriptions take effect. Files are looked at every few seconds rather than watched: that
also sees a file that is replaced, or a link that points elsewhere, as on Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from ticktape.settings import BadSettings, Settings, load_settings
from ticktape.settings.supported import refuse_unsupported_gateways

LOOK_EVERY_S = 2.0

log = structlog.get_logger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from."""

    file: Path
    environ: Mapping[str, str]

    def load(self) -> Settings:
        """Read and check everything. Raises BadSettings."""
        return load_settings(self.file, self.environ)


class Reloader:
    """Keeps a daemon's subscriptions as its files have them.

    Parameters
    ----------
    settings : what runs
    apply : puts subscriptions into effect, others or, when somebody asked, the same once more; called in the loop
    """

    def __init__(self, source: SettingsSource, settings: Settings, apply: Callable[[Settings], None]) -> None:
        self._source = source
        self._settings = settings
        self._apply = apply
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read the files again, changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """For ever. A file that cannot be used is told once, and what runs goes on."""
        read = seen = await asyncio.to_thread(self._stamp)
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            before, seen = seen, await asyncio.to_thread(self._stamp)
            if self._asked.is_set() or (seen != read and seen == before):  # a file that is still being written waits
                asked = self._asked.is_set()
                self._asked.clear()
                read = seen  # as it was before reading: what changes meanwhile is read again
                await self._reload(asked=asked)

    async def _reload(self, *, asked: bool) -> None:
        try:
            loaded = await asyncio.to_thread(self._source.load)
            refuse_unsupported_gateways(loaded)
        except BadSettings as error:
            log.error("the configuration cannot be used, so the old one stays", error="; ".join(error.problems))
            return
        ours = self._settings.model_copy(update={"subscription": loaded.subscription})
        if loaded != ours:
            log.warning("what changed outside of [[subscription]] takes effect at the next start")
        if ours == self._settings:
            if asked:
                log.info("the configuration was read again; its subscriptions are as they were")
                self._apply(ours)
            return
        self._settings = ours
        log.info("the configuration was read again; its subscriptions changed")
        self._apply(ours)

    def _stamp(self) -> _Stamp:
        """What tells a changed file: of the configuration, and of each file of symbols that it names."""
        files = dict.fromkeys([self._source.file, *_symbol_files(self._settings)])
        return tuple(map(_stamp_of, files))


def _symbol_files(settings: Settings) -> Iterable[Path]:
    return (each.symbols_file for each in settings.subscription if each.symbols_file is not None)


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
