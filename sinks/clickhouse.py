"""One ClickHouse client for the embedded engine (`chdb://folder`) and for a server (`http(s)://`).

Rule 1: every method without `async` blocks and must not run on an event loop.
Rule 2: nothing here retries: the caller knows what may be tried again, and with which token.
Rule 3: an embedded session never compiles expressions. chdb 26.9 stored wrong, colliding values from
    the fourth run of one INSERT … SELECT on, without an error.
"""

from __future__ import annotations

import base64
import logging
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from clickhouse_connect.driver import create_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from clickhouse_connect.driver.httpclient import HttpClient

from codec.hidden import Hidden
from sinks.clickhouse_errors import (
    ClickHouseError,
    ClickHouseUnavailable,
    ClickHouseUrlInvalid,
    EmbeddedClickHouseMissing,
    QueryRefused,
    of_insert,
    of_query,
    of_statement,
)
from sinks.ddl import deduplication_window_blocks, qualified
from sinks.folder_lock import FolderLock
from sinks.threads import Threads

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 120
"""An insert of the largest block takes a second or two; a server that needs two minutes is not well."""
CLOSE_S_MAX = 2.0
SERVER_INSERTS_MAX = 4
READERS_MAX = 4
"""Readers' queries that run at once; more wait for a thread."""

_EMBEDDED_PREFIX = "chdb://"
_DEFAULT_USER = "default"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_INSERT_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "wait_end_of_query": 1,
    # Repeats inside one block must stay visible, not be collapsed on the way in.
    "optimize_on_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # By default a null in a column without nulls silently becomes 0.
    "input_format_null_as_default": 0,
    # One insert is one block, however old the rows of a backfill are: no limit on its months.
    "max_partitions_per_insert_block": 0,
}

OPEN_FILES = 1 << 16
"""More than the embedded engine ever opens."""

_READING_STATEMENT = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|#[! ][^\n]*(?:\n|$)|/\*.*?\*/|\()*(select|with|show|describe|desc|explain|exists|from)\b",
    re.IGNORECASE | re.DOTALL,
)
_OUTFILE = re.compile("outfile", re.IGNORECASE)
_OWN_FORMAT = re.compile(r"\bformat\s+[A-Za-z]\w*\s*;?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClickHouseConfig:
    """Where ClickHouse is.

    Attributes
    ----------
    url : `chdb://folder` (relative), `chdb:///folder` (absolute) or `http(s)://[user@]host[:port]`
    database : created where it does not exist
    password : of the url's user; never part of the url
    flush_interval_s : a row waits at most this long before it is inserted
    partitions : of each topic that is read; 1 when the journal is
    synced : an insert is answered only once it survives a power cut; of an embedded store, a server's is its owner's
    """

    url: str = "chdb://var/clickhouse"
    database: str = "ticktape"
    password: str = field(default="", repr=False)
    flush_interval_s: float = 0.5
    partitions: int = 1
    synced: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.database):
            raise ClickHouseUrlInvalid(f"clickhouse.database {self.database!r}: letters, digits and _ only")
        if self.folder is None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ClickHouseUrlInvalid(
                    f"clickhouse.url {self.url!r}: expected chdb://folder or http(s)://user@host:port"
                )
            if parts.password is not None:
                raise ClickHouseUrlInvalid("clickhouse.url holds a password: use clickhouse.password_file instead")

    @property
    def folder(self) -> Path | None:
        """The embedded engine's folder, None for a server."""
        if not self.url.startswith(_EMBEDDED_PREFIX):
            return None
        folder = self.url.removeprefix(_EMBEDDED_PREFIX)
        if not folder:
            raise ClickHouseUrlInvalid(f"clickhouse.url {self.url!r}: expected a folder after chdb://")
        return Path(folder)

    @property
    def window_blocks(self) -> int:
        """Inserts that each table must remember for repeats to be recognised."""
        return deduplication_window_blocks(self.partitions, self.flush_interval_s)


class ClickHouse:
    """The store of one process, shared by its writer and its readers.

    An embedded store locks its folder from the first call until `close`. Connections are made when
    they are first needed, so that a server which is down can be waited for.
    """

    def __init__(self, config: ClickHouseConfig) -> None:
        self.config = config
        self.database = config.database
        self._guard = threading.Lock()
        self._folder_lock: FolderLock | None = None
        self._writing: Client | None = None
        self._reading: Client | None = None
        self._threads = Threads(READERS_MAX, "clickhouse-reader")
        self._hidden = Hidden(_sent(config))

    @property
    def inserts_max(self) -> int:
        """Inserts that gain from running at once: the embedded engine takes one after the other."""
        return 1 if self.config.folder is not None else SERVER_INSERTS_MAX

    def execute(self, statement: str) -> None:
        """Run one statement of ours.

        Raises
        ------
        ClickHouseError
        """
        with self._translated(of_statement):
            self._writer().command(statement)

    def rows(self, query: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of one query of ours, its `{name:Type}` placeholders filled from `parameters`.

        Raises
        ------
        ClickHouseError
        """
        with self._translated(of_statement):
            return list(self._writer().query(query, parameters=dict(parameters)).named_results())

    def arrow(self, query: str) -> pa.Table:
        """The answer to one query of ours, as Arrow: for more rows than Python should make objects of.

        Raises
        ------
        ClickHouseError
        """
        with self._translated(of_statement):
            return pa.ipc.open_stream(self._writer().raw_query(query, fmt="ArrowStream")).read_all()

    def insert(self, table: str, stream: pa.Buffer, token: str) -> None:
        """Store an Arrow IPC stream, unless an insert with the same token was stored before.

        Raises
        ------
        ClickHouseUnavailable
            Perhaps stored, perhaps not: the same stream and token may be inserted again.
        ClickHouseRefusedData, ClickHouseTableError
            Nothing was stored.
        """
        with self._translated(of_insert):
            # A memoryview, because clickhouse-connect sends bytes again by itself when the server
            # closes the connection in the middle.
            self._writer().raw_insert(
                qualified(self.database, table),
                insert_block=memoryview(stream),  # type: ignore[arg-type]
                fmt="ArrowStream",
                settings={**_INSERT_SETTINGS, "insert_deduplication_token": token},
            )

    def query(self, sql: str, output_format: str = "TabSeparatedWithNames") -> bytes:
        """The answer to a reader's statement in any of ClickHouse's formats.

        A FORMAT clause in `sql` wins over `output_format`.

        Raises
        ------
        QueryRefused
            Not a statement that only reads, or wrong in itself; `code` is ClickHouse's.
        ClickHouseUnavailable
        """
        if not _READING_STATEMENT.match(sql):
            raise QueryRefused("only statements that read: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS")
        if _OUTFILE.search(sql):
            # The embedded engine writes the file even in read-only mode. Any mention counts: no
            # comment or quote can hide a keyword from a search that does not parse.
            raise QueryRefused("INTO OUTFILE writes a file on the server: take the answer from the reply")
        if not _NAME.fullmatch(output_format):
            raise QueryRefused(f"{output_format!r} is not the name of a ClickHouse format")
        with self._translated(of_query), self._reader() as client:
            return client.raw_query(sql, fmt=None if _OWN_FORMAT.search(sql) else output_format)

    async def query_async(self, sql: str, output_format: str = "TabSeparatedWithNames") -> bytes:
        """`query` in a thread of its own."""
        return await self._threads.run(self.query, sql, output_format)

    def close(self) -> None:
        """Let the connections and the folder go; an embedded store waits for the calls that run."""
        self._threads.close()
        if not self._guard.acquire(timeout=CLOSE_S_MAX):
            return  # a server that never answers holds a connection in the making: it ends with the process
        try:
            for client in (self._writing, self._reading):
                if client is not None:
                    client.close()
            self._writing = self._reading = None
            if self._folder_lock is not None:
                self._folder_lock.release()
                self._folder_lock = None
        finally:
            self._guard.release()

    @contextmanager
    def _translated(self, meaning: Callable[[Error, Hidden], ClickHouseError]) -> Iterator[None]:
        """Raise the driver's errors as ours."""
        try:
            yield
        except ClickHouseError:
            raise
        except Error as error:
            raise meaning(error, self._hidden) from error
        except OSError as error:
            # The embedded driver passes an insert through a temporary file: its disk may be full.
            raise ClickHouseUnavailable(f"cannot hand rows to ClickHouse: {error}") from error

    def _writer(self) -> Client:
        with self._guard:
            if self._writing is None:
                self._writing = self._connect()
            return self._writing

    @contextmanager
    def _reader(self) -> Iterator[Client]:
        """A client on which only reading is possible, the database being the default one."""
        if self.config.folder is not None:
            # Embedded: a session for one query (10 ms), so that what the query leaves behind in its
            # session (USE, SET) ends with it, and readers run side by side.
            self._writer()
            client = self._connect()
            try:
                client.database = self.database
                client.command("SELECT 1")  # makes the database current before the session is closed to changes
                client.set_client_setting("readonly", 1)
                yield client
            finally:
                client.close()
            return
        with self._guard:
            if self._reading is None:
                self._reading = self._connect()
                self._reading.database = self.database
                self._reading.set_client_setting("readonly", 1)
        yield self._reading

    def _connect(self) -> Client:
        folder = self.config.folder
        return self._connect_server() if folder is None else self._connect_embedded(folder)

    def _connect_embedded(self, folder: Path) -> Client:
        if self._folder_lock is None:
            self._folder_lock = FolderLock.take(folder)
        _allow_open_files()
        try:
            return create_client(interface="chdb", path=str(folder), settings={"compile_expressions": 0})
        except ImportError as error:
            raise EmbeddedClickHouseMissing(
                "clickhouse.url asks for the embedded ClickHouse, which is not installed: "
                "pip install 'ticktape[embedded]', or give an http:// url"
            ) from error

    def _connect_server(self) -> Client:
        parts = urlsplit(self.config.url)
        # What the driver logs, it also raises.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
        client = create_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=parts.username or _DEFAULT_USER,
            password=self.config.password,
            compress=False,
            query_retries=0,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            # Sessions would let only one call run at a time.
            autogenerate_session_id=False,
            dedicated_pool=True,
        )
        assert isinstance(client, HttpClient)
        client.http_retries = 0
        return client


def _allow_open_files() -> None:
    """Let this process open as many files as it may: the usual soft limit is 1,024.

    The embedded engine keeps three files of /proc open for each of its threads, 906 were seen, and
    its tables' parts come on top.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _sent(config: ClickHouseConfig) -> Iterator[str]:
    """The password, as a header has it and by itself; an error page may repeat either."""
    if config.password and config.folder is None:
        user = urlsplit(config.url).username or _DEFAULT_USER
        yield config.password
        yield base64.b64encode(f"{user}:{config.password}".encode()).decode()
