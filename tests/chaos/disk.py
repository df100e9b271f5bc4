"""A small disk for one process and its successors, in a mount namespace of their own: nobody needs to be root.

The disk is memory (tmpfs) and goes with the last process that sees it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.tether import tethered

_MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


def small_disks_possible() -> bool:
    """Whether this machine lets us have mount namespaces."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


class SmallDisk:
    """A disk of `size_bytes` at `folder`, for those whose command goes through `inside`. A context manager."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self._size_bytes = size_bytes
        folder.mkdir()

    def __enter__(self) -> Self:
        shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh"]
        self._holder = subprocess.Popen(
            tethered([*shell, str(self.folder), str(self._size_bytes)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n", "no disk was mounted"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def outside(self) -> Path:
        """The disk as processes outside see it, while it is there."""
        return Path("/proc", str(self._holder.pid), "root", *self.folder.parts[1:])

    def inside(self, command: Sequence[str]) -> list[str]:
        """`command` for a process that finds the disk at `folder`; it starts in the root folder."""
        return ["nsenter", f"--target={self._holder.pid}", "--user", "--preserve-credentials", "--mount", *command]

    def fill(self) -> None:
        """Leave no room on it."""
        with open(self.outside / "ballast", "ab") as ballast:
            while free_bytes := _free_bytes(self.outside):
                with contextlib.suppress(_NoRoom):
                    _grow(ballast.fileno(), free_bytes)

    def empty(self) -> None:
        """Take away what `fill` put there."""
        (self.outside / "ballast").unlink(missing_ok=True)


class _NoRoom(Exception):
    """Somebody else took the room first."""


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _grow(fd: int, size_bytes: int) -> None:
    try:
        os.posix_fallocate(fd, os.fstat(fd).st_size, size_bytes)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _NoRoom from error
