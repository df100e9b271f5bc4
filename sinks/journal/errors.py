"""What can go wrong with a journal, and whose turn it is then."""

from __future__ import annotations

from pathlib import Path

from codec.errors import TicktapeError


class JournalError(TicktapeError):
    """Something about the journal's folder or files."""


class JournalLocked(JournalError):
    """Another process appends to this journal."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"the journal {path} is locked by {holder}: stop it, or give this one a journal.path of its own"
        )
        self.path, self.pid = path, pid


class JournalOnNetworkFileSystem(JournalError):
    """The folder is not on a local disk: locks and crash safety cannot be relied on there."""

    def __init__(self, path: Path, file_system: str) -> None:
        super().__init__(
            f"the journal {path} is on a network file system ({file_system}): set journal.path to a local disk"
        )
        self.path, self.file_system = path, file_system


class JournalUnreadable(JournalError):
    """Not one entry can be had from what is in the folder."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the journal {path} cannot be read: {reason}; move the folder away to start a new journal")
        self.path, self.reason = path, reason


class JournalFull(JournalError):
    """There is no room: nothing was kept, the same records may be appended again later."""

    retriable = True

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the journal {path} is full: {reason}")
        self.path, self.reason = path, reason


class JournalWriteFailed(JournalError):
    """The disk refused for another reason than room: nothing was kept, the same records may be appended again."""

    retriable = True

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"the journal {path} cannot be written: {error}")
        self.path = path


class JournalNotFound(JournalError):
    """There is no journal in the folder yet: the process that appends has not made it."""

    retriable = True

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is no journal in {path}: start the process that writes it (ticktape up, ticktape ingest)"
        )
        self.path = path


class ControlStateError(JournalError):
    """The control state (positions, snapshots) cannot be read or written now; what it held is unchanged."""

    retriable = True

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"the journal's control state {path} cannot be used: {error}")
        self.path = path
