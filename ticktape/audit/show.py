"""A report for people, or as JSON."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sinks.record_scan import Progress as TellProgress
from ticktape.audit.model import Report, SymbolDay

_WIDTH = 160
_STYLES = {"complete": "green", "degraded": "bold red", "missing": "red", "pending": "yellow", "unknown": "dim"}


@contextmanager
def progress_on_terminal(what: str) -> Iterator[TellProgress]:
    """A bar on standard error while it lasts, where that is a terminal."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(what)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def show_table(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    titles = ("symbol", "source", "received", "repeats", "journaled", report.log_name, "stored", "missing", "ledger")
    for title in titles:
        table.add_column(title, justify="left" if title in ("symbol", "source") else "right")
    table.add_column("condition")
    for day in report.days:
        table.add_row(*_cells(day), Text(day.condition, style=_STYLES[day.condition]))
    console.print(f"ticks of {report.trade_date}, {len(report.days)} symbols", style="bold")
    console.print(table)
    console.print(_total(report))
    for line in _sums(report):
        console.print(line)
    for note in report.notes:
        console.print(f"note: {note}", style="dim", markup=False, soft_wrap=True)
    for finding in report.findings:
        console.print(f"UNEXPLAINED {finding}", style="red", markup=False, soft_wrap=True)
    if report.findings:
        console.print(f"{len(report.findings)} unexplained", style="bold red")
    else:
        console.print("everything is explained", style="bold green")


def _cells(day: SymbolDay) -> Iterator[str]:
    yield day.symbol
    yield day.source
    ledger = day.ledger_lost
    for number in (day.received, day.repeats, day.journaled, day.logged, day.stored_rows, day.missing):
        yield "–" if number is None else f"{number:,}"
    yield "?" if ledger is None else f"{ledger:,}"


def _total(report: Report) -> str:
    parts = [f"stored {sum(day.stored_rows for day in report.days):,}"]
    for name, values in (
        ("received", [day.received for day in report.days]),
        ("repeats", [day.repeats for day in report.days]),
        ("journaled", [day.journaled for day in report.days]),
        (report.log_name, [day.logged for day in report.days]),
    ):
        if known := [value for value in values if value is not None]:
            parts.insert(-1, f"{name} {sum(known):,}")
    return "in all: " + " → ".join(parts)


def _sums(report: Report) -> Iterator[str]:
    """Volume and turnover at both ends; no call of OpenD that we make tells a day's own."""
    days = [day for day in report.days if day.journaled is not None]
    if days:
        stored = [day.stored for day in days if day.stored is not None]
        volume, turnover = sum(day.journaled_volume for day in days), sum(day.journaled_turnover for day in days)
        yield f"volume: journaled {volume:,.0f} → stored {sum(each.volume for each in stored):,.0f}"
        yield f"turnover: journaled {turnover:,.2f} → stored {sum(each.turnover for each in stored):,.2f}"


def show_json(reports: Sequence[Report]) -> None:
    told = {"unexplained": sum(len(report.findings) for report in reports), "days": [_day(each) for each in reports]}
    sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _day(report: Report) -> dict[str, object]:
    return {
        "trade_date": report.trade_date,
        "log": report.log_name,
        "unexplained": [dataclasses.asdict(finding) for finding in report.findings],
        "notes": report.notes,
        "symbols": [_json(day) for day in report.days],
    }


def _json(day: SymbolDay) -> dict[str, object]:
    stored = day.stored
    return {
        "source": day.source,
        "symbol": day.symbol,
        "received": day.received,
        "repeats": day.repeats,
        "journaled": day.journaled,
        "logged": day.logged,
        "waiting": day.waiting + day.waiting_for_kafka,
        "set_aside": day.set_aside,
        "stored": day.stored_rows,
        "volume": stored.volume if stored else 0.0,
        "turnover": stored.turnover if stored else 0.0,
        "missing": day.missing,
        "ledger_lost": day.ledger_lost,
        "gaps": [dataclasses.asdict(gap) for gap in day.gaps],
        "holes": [dataclasses.asdict(hole) for hole in day.holes],
        "absent": [dataclasses.asdict(row) for row in day.absent],
        "condition": day.condition,
    }
