"""Power cuts without cutting power: what a disk may hold of a folder, at any of its system calls.

A file keeps what was synced, and of what came after it any prefix, whole or with garbage or zeroes
in place of it. A name that was made, moved or removed since its folder was synced may be there or
not, each on its own. SQLite's writes are seen as they are; what it syncs by itself is only what it
moves from its log into the database, which never happens in so short a life: the database is taken
as it is, and its log is a file like others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sinks.journal.control import CONTROL_FILE

IGNORED = ("lock", f"{CONTROL_FILE}-shm")


class Disk:
    """What was synced of `folder`; `cut` is asked before and after each system call, and at the end.

    Attributes
    ----------
    cut : what to do at each instant at which power may fail
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cut: Callable[[], None] = lambda: None
        self._inside = False
        self._synced: dict[int, bytes] = {}
        self._last: dict[int, bytes] = {}
        self._synced_names: dict[str, int] = {}
        for name in ("rename", "unlink", "writev", "write", "pwrite", "ftruncate", "truncate"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))
        for name in ("fsync", "fdatasync"):  # that of this machine would only take time
            monkeypatch.setattr(os, name, self._watched(self._note_synced))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **more: Any) -> Any:
            if self._inside:
                return call(*arguments, **more)
            self._inside = True
            try:
                self.cut()
                result = call(*arguments, **more)
                self.cut()
            finally:
                self._inside = False
            return result

        return watched

    def _note_synced(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path == self.folder:
            self._synced_names = self._names()
        elif path.parent == self.folder and path.exists():
            self._synced[path.stat().st_ino] = path.read_bytes()

    def _names(self) -> dict[str, int]:
        names = {entry.name: entry.inode() for entry in os.scandir(self.folder) if entry.name not in IGNORED}
        for name, inode in names.items():
            self._last[inode] = (self.folder / name).read_bytes()
        return names

    def copy_after_a_cut(self, target: Path, rng: random.Random) -> None:
        """Make `target` what may be found of the folder if power fails now."""
        target.mkdir()
        now = self._names()
        for name in sorted(self._synced_names.keys() | now.keys()):
            inode = rng.choice((self._synced_names.get(name), now.get(name)))
            if inode is not None:
                (target / name).write_bytes(self._content(name, inode, rng))

    def _content(self, name: str, inode: int, rng: random.Random) -> bytes:
        last = self._last[inode]
        if name == CONTROL_FILE:
            return last
        synced = self._synced.get(inode, b"")
        if not last.startswith(synced):
            return rng.choice((synced, last))
        tail = last[len(synced) :][: rng.randint(0, len(last) - len(synced))]
        spoiled = rng.choice(("whole", "garbage", "zeroes"))
        if spoiled != "whole" and tail:
            begin = rng.randrange(len(tail))
            tail = tail[:begin] + (
                rng.randbytes(len(tail) - begin) if spoiled == "garbage" else bytes(len(tail) - begin)
            )
        return synced + tail


def instants(rng: random.Random, mean: float) -> Iterator[bool]:
    """Whether power fails at each instant: once in `mean` times."""
    while True:
        yield rng.random() < 1 / mean
