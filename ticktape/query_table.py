"""ClickHouse's answers for people: a table in the terminal, one JSON array elsewhere."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import TextIO
from zoneinfo import ZoneInfo

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_MAX = 10_000
"""Characters. Where no terminal's edge is near, a table is as wide as its rows."""
_UTC_INSTANT = re.compile(r"DateTime(64)?\((\d, )?'UTC'\)")
_NUMBER = re.compile(r"(Nullable\()?(LowCardinality\()?(U?Int|Float|Decimal)")


def json_array(lines: bytes) -> bytes:
    """One JSON array, a row a line, from ClickHouse's `JSONEachRow`."""
    rows = _text(lines).strip().splitlines()
    return ("[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n").encode()


def show_table(answer: bytes, zone: ZoneInfo, stream: TextIO) -> None:
    """Draw `answer`, in ClickHouse's `JSONCompactEachRowWithNamesAndTypes`, with its times in `zone`.

    An answer in another format, which a FORMAT clause in the question asked for, is written as it is.
    """
    try:
        names, types, *rows = (orjson.loads(line) for line in _text(answer).splitlines())
    except ValueError:
        stream.write(_text(answer))
        return
    console = Console(file=stream, width=None if stream.isatty() else _WIDTH_MAX)
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold", pad_edge=False)
    for name, kind in zip(names, types, strict=True):
        table.add_column(Text(name), justify="right" if _NUMBER.match(kind) else "left", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, types, zone))
    console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", style="dim", highlight=False)


def _cells(row: Sequence[object], types: Sequence[str], zone: ZoneInfo) -> list[Text]:
    return [Text(_shown(value, kind, zone)) for value, kind in zip(row, types, strict=True)]


def _shown(value: object, kind: str, zone: ZoneInfo) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return in_zone(value, zone) if _UTC_INSTANT.search(kind) else value
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else str(value)


def in_zone(text: str, zone: ZoneInfo) -> str:
    """`2026-01-02 03:04:05.123456789`, in UTC, as `zone` writes it; its fraction as it was."""
    seconds, dot, fraction = text.partition(".")
    try:
        instant = datetime.datetime.fromisoformat(seconds).replace(tzinfo=datetime.UTC)
    except ValueError:
        return text  # an array of instants, or a date outside of Python's
    local = instant.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}{dot}{fraction}"


def _text(answer: bytes) -> str:
    """Payloads of dead letters may hold any bytes."""
    return answer.decode("utf-8", "replace")
