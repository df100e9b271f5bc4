"""`ticktape query`: ask ClickHouse, through the daemon where one holds the embedded store."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from types import TracebackType
from typing import Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from codec.errors import TicktapeError
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseFolderLocked
from ticktape.options import QueryFormat
from ticktape.query_table import json_array, show_table
from ticktape.settings import Settings
from ticktape.wiring import clickhouse_config, revealed

_ANSWER_TIMEOUT_S = 300.0

_CLICKHOUSE_FORMATS = {
    QueryFormat.TABLE: "JSONCompactEachRowWithNamesAndTypes",
    QueryFormat.CSV: "CSVWithNames",
    QueryFormat.JSON: "JSONEachRow",
    QueryFormat.ARROW: "ArrowStream",
    QueryFormat.PARQUET: "Parquet",
}
_BINARY = (QueryFormat.ARROW, QueryFormat.PARQUET)


class QueryFailed(TicktapeError):
    """The question could not be asked, or the answer not be shown."""


def run_query(settings: Settings, sql: str, output: QueryFormat, zone: ZoneInfo) -> None:
    """Ask `sql` and write the answer to standard output.

    Raises
    ------
    ClickHouseError
        ClickHouse refuses it, or cannot be reached.
    QueryFailed
        The daemon that holds the store does not answer, or says no.
    """
    if output in _BINARY and sys.stdout.isatty():
        raise QueryFailed(f"{output} is binary: redirect it to a file, as in ticktape query … > answer.{output}")
    answer = ask(settings, sql, _CLICKHOUSE_FORMATS[output])
    if output is QueryFormat.TABLE:
        show_table(answer, zone, sys.stdout)
    elif output is QueryFormat.JSON:
        sys.stdout.buffer.write(json_array(answer))
    else:
        sys.stdout.buffer.write(answer)


def ask(settings: Settings, sql: str, clickhouse_format: str) -> bytes:
    """The answer to `sql`; raises as `run_query` does."""
    with Asker(settings) as asker:
        return asker.ask(sql, clickhouse_format)


class Asker:
    """Asks any number of questions: the store itself, or from its first refusal on the daemon that holds it."""

    def __init__(self, settings: Settings) -> None:
        """Raises QueryFailed when there is nothing to ask yet."""
        folder = settings.clickhouse.folder
        if folder is not None and not folder.is_dir():
            raise QueryFailed(f"nothing is stored yet: [clickhouse] url names {folder}, which does not exist")
        self._settings = settings
        self._store = ClickHouse(clickhouse_config(settings))
        self._locked: ClickHouseFolderLocked | None = None

    def ask(self, sql: str, clickhouse_format: str) -> bytes:
        """The answer to `sql`; raises as `run_query` does."""
        if self._locked is None:
            try:
                return self._store.query(sql, clickhouse_format)
            except ClickHouseFolderLocked as locked:
                self._locked = locked
        return _ask_daemon(self._settings, sql, clickhouse_format, self._locked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._store.close()


def _ask_daemon(settings: Settings, sql: str, clickhouse_format: str, locked: ClickHouseFolderLocked) -> bytes:
    """Send the question to the daemon that holds the folder: `up` listens on one address, `sink` on the other."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if token := revealed(settings.http.token):
        headers["Authorization"] = f"Bearer {token}"
    for address in (settings.http.listen, settings.http.sink_listen):
        url = f"http://{address}/query?format={quote(clickhouse_format)}"
        request = urllib.request.Request(url, data=sql.encode(), headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S) as response:
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue  # a daemon without an embedded store
            raise QueryFailed(error.read().decode(errors="replace").strip()) from error
        except OSError:
            continue  # nobody there
    asked = f"{settings.http.listen} or {settings.http.sink_listen}"
    raise QueryFailed(f"{locked}; no daemon with it answers at {asked} ([http] listen, sink_listen)") from locked
