"""The journal: append-only segments on local disk, the first durable hop of every row."""

from sinks.journal.control import ControlState
from sinks.journal.entries import Entry
from sinks.journal.errors import (
    ControlStateError,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalNotFound,
    JournalOnNetworkFileSystem,
    JournalUnreadable,
    JournalWriteFailed,
)
from sinks.journal.journal import Journal
from sinks.journal.reader import JournalReader
from sinks.journal.recovery import LostEntries, OpenReport
from sinks.journal.segments import DamagedPart

__all__ = [
    "ControlState",
    "ControlStateError",
    "DamagedPart",
    "Entry",
    "Journal",
    "JournalError",
    "JournalFull",
    "JournalLocked",
    "JournalNotFound",
    "JournalOnNetworkFileSystem",
    "JournalReader",
    "JournalUnreadable",
    "JournalWriteFailed",
    "LostEntries",
    "OpenReport",
]
