"""A folder held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sinks.clickhouse_errors import ClickHouseFolderLocked

_LOCK_NAME = "ticktape.lock"


class FolderLock:
    """An advisory lock on a folder; the system frees it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> FolderLock:
        """Lock `folder`, made where it does not exist.

        Raises
        ------
        ClickHouseFolderLocked
            Another process, or another store in this one, holds it; or it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ClickHouseFolderLocked(f"cannot use the ClickHouse folder {folder}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise ClickHouseFolderLocked(
                f"the ClickHouse folder {folder} is held by process {holder or 'unknown'}: "
                "stop it, or ask it over HTTP (POST /query)"
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)
