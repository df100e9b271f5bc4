"""The exit code of each way to end, and the one mapping from errors to them."""

from __future__ import annotations

import enum

from codec.errors import TicktapeError


class Exit(enum.IntEnum):
    """What the shell, systemd and Kubernetes see."""

    DONE = 0
    FAILED = 1
    """A check failed, or a command could not do what it was asked."""
    CONFIGURATION = 2
    """Configuration or environment: a bad key, a port in use, a locked folder."""
    MISFIT = 3
    """Tables or topics do not fit."""
    JOURNAL_UNREADABLE = 4


def exit_of(error: TicktapeError) -> Exit:
    """The code for a program that ends by `error`."""
    # Imported here: a command that succeeds needs none of them.
    from sinks import clickhouse_errors, kafka
    from sinks.block_encoding import RecordSchemaUnknown
    from sinks.journal import errors as journal
    from sinks.record_log import RecordLogMismatch
    from sinks.schema import SchemaMismatch
    from ticktape.http import CannotListen
    from ticktape.settings import BadSettings

    codes: dict[Exit, tuple[type[TicktapeError], ...]] = {
        Exit.CONFIGURATION: (
            BadSettings,
            CannotListen,
            clickhouse_errors.ClickHouseFolderLocked,
            clickhouse_errors.ClickHouseUrlInvalid,
            clickhouse_errors.EmbeddedClickHouseMissing,
            journal.JournalLocked,
            journal.JournalOnNetworkFileSystem,
            kafka.KafkaMisconfigured,
        ),
        Exit.MISFIT: (SchemaMismatch, RecordLogMismatch, RecordSchemaUnknown),
        Exit.JOURNAL_UNREADABLE: (journal.JournalUnreadable,),
    }
    return next((code for code, classes in codes.items() if isinstance(error, classes)), Exit.FAILED)
