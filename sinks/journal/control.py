"""The journal's control state: its id, how far each reader has come, and small snapshots.

An SQLite file in WAL mode beside the segments: the appender and readers in other processes use it
at once. A change survives the loss of the process; a power cut may take the last ones back, which
makes a reader read again and loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from sinks.journal.entries import first_of_era
from sinks.journal.errors import ControlStateError

CONTROL_FILE = "control.db"
_BUSY_S_MAX = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readers
    (name TEXT PRIMARY KEY, position INTEGER NOT NULL, pins INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""


def sync_path(path: Path) -> None:
    """Make a file's contents, or a folder's names, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class ControlState:
    """Positions, snapshots and names of one journal. Every method is one transaction; any thread may call it.

    Raises ControlStateError from every method when SQLite cannot do it now (a full disk, a lock held too long).
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CONTROL_FILE
        self._lock = threading.Lock()
        with self._errors():
            # No statement is kept: one would keep what was bound to it last, and a snapshot has a hundred megabytes.
            self._db = sqlite3.connect(
                self.path, timeout=_BUSY_S_MAX, isolation_level=None, check_same_thread=False, cached_statements=0
            )
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.executescript(_TABLES)
            except sqlite3.Error:
                self._db.close()
                raise

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ControlStateError(self.path, error) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            yield self._db

    def _fact(self, name: str, made: str) -> str:
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, made))
            value: str = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0]
            return value

    def journal_id(self, known: str | None = None) -> str:
        """The journal's id, 32 hex digits; `known`, or a new one, when none was kept yet."""
        return self._fact("journal_id", known or secrets.token_hex(16))

    def worker(self) -> str:
        """The worker's name, made once."""
        return self._fact("worker", f"worker-{secrets.token_hex(4)}")

    def begin_era(self, boot_id: str, era_written: int | None) -> None:
        """Give offsets in a new era when the machine was started anew since the last call.

        `era_written` is that of the newest segment, None when there is none: nothing was ever read then.
        """
        with self._transaction() as db:
            kept = dict(db.execute("SELECT name, value FROM facts WHERE name IN ('boot_id', 'era')"))
            era = max(int(kept.get("era", 0)), era_written or 0)
            is_new = "era" not in kept and era_written is None
            if not is_new and (not boot_id or kept.get("boot_id") != boot_id):
                era += 1
            db.execute("INSERT OR REPLACE INTO facts VALUES ('boot_id', ?), ('era', ?)", (boot_id, str(era)))

    def next_offset_min(self) -> int:
        """No entry that is yet to come has a lesser offset: what any reader committed, or this era's first."""
        with self._reading() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'era'").fetchone()
        return max(self.furthest(), first_of_era(int(row[0]) if row else 0))

    def sync(self) -> None:
        """Make what was committed so far survive a power cut. In its file it is already; SQLite holds nothing back."""
        with self._lock:
            for path in (self.path.with_name(f"{CONTROL_FILE}-wal"), self.path.parent):
                with contextlib.suppress(FileNotFoundError):  # no log: it is all in the database, which SQLite syncs
                    sync_path(path)

    def register(self, name: str, oldest: int) -> int:
        """Make trimming wait for reader `name`; its position, which is `oldest` when it is new."""
        with self._transaction() as db:
            db.execute("INSERT INTO readers VALUES (?, ?, 1) ON CONFLICT (name) DO UPDATE SET pins = 1", (name, oldest))
            position: int = db.execute("SELECT position FROM readers WHERE name = ?", (name,)).fetchone()[0]
            return position

    def pin_only(self, names: tuple[str, ...]) -> None:
        """Stop waiting for all readers but `names`; another one counts again once it registers or commits."""
        with self._transaction() as db:
            marks = ",".join("?" * len(names))
            db.execute(f"UPDATE readers SET pins = 0 WHERE name NOT IN ({marks})", names)

    def positions(self) -> dict[str, int]:
        """How far each reader that trimming waits for has come: the offset of the next entry it will read."""
        with self._reading() as db:
            return dict(db.execute("SELECT name, position FROM readers WHERE pins = 1"))

    def furthest(self) -> int:
        """The greatest position any reader ever committed; 0 without readers."""
        with self._reading() as db:
            position: int = db.execute("SELECT COALESCE(MAX(position), 0) FROM readers").fetchone()[0]
            return position

    def commit(self, name: str, position: int) -> None:
        """Say that reader `name` is done with all entries before `position`. Positions never go back."""
        with self._transaction() as db:
            _move(db, name, position)

    def put_blob(self, name: str, data: bytes) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (name, data))

    def get_blob(self, name: str) -> bytes | None:
        with self._reading() as db:
            row = db.execute("SELECT data FROM blobs WHERE name = ?", (name,)).fetchone()
            return row[0] if row else None

    def put_snapshot(self, name: str, offset: int, data: bytes) -> None:
        """Keep what the entries before `offset` add up to, and move reader `name` there, both or neither."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (name, data))
            _move(db, name, offset)

    def get_snapshot(self, name: str) -> tuple[int, bytes] | None:
        """What `put_snapshot` kept last under `name`, with its offset."""
        with self._reading() as db:
            query = "SELECT position, data FROM readers JOIN blobs USING (name) WHERE name = ?"
            row = db.execute(query, (name,)).fetchone()
            return (row[0], row[1]) if row else None


def _move(db: sqlite3.Connection, name: str, position: int) -> None:
    db.execute(
        "INSERT INTO readers VALUES (?, ?, 1)"
        " ON CONFLICT (name) DO UPDATE SET position = MAX(position, excluded.position), pins = 1",
        (name, position),
    )
