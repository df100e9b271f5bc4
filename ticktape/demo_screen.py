"""What the demo shows: live figures in a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ticktape.status import seconds_text

_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Figures:
    """How far the demo is.

    Attributes
    ----------
    elapsed_s : since the first subscription
    received, repeats, stored : ticks
    rate : ticks received a second, lately
    latency_p50_s, latency_p99_s : from the socket to queryable; None before the first row is stored
    """

    elapsed_s: float
    received: int
    repeats: int
    stored: int
    rate: float
    latency_p50_s: float | None
    latency_p99_s: float | None


class Screen:
    """Shows `Figures` as they come: redrawn in a terminal, else a line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._line_due_s = 0.0

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, figures: Figures) -> None:
        """Show how far it is."""
        if self._live is not None:
            self._live.update(_table(figures), refresh=True)
        elif time.monotonic() >= self._line_due_s:
            self._line_due_s = time.monotonic() + _LINE_EVERY_S
            self._console.print(_line(figures), highlight=False)


def figures_table(rows: list[tuple[str, str]]) -> Table:
    """Names and figures, side by side."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def latency_text(figures: Figures) -> str:
    """`380 ms / 680 ms`."""
    return f"{seconds_text(figures.latency_p50_s) or '–'} / {seconds_text(figures.latency_p99_s) or '–'}"


def _table(figures: Figures) -> Table:
    return figures_table(
        [
            ("running", f"{figures.elapsed_s:.0f} s"),
            ("ticks received", f"{figures.received:,}"),
            ("repeats dropped", f"{figures.repeats:,}"),
            ("rows in ClickHouse", f"{figures.stored:,}"),
            ("ticks a second", f"{figures.rate:,.0f}"),
            ("socket to queryable, p50 / p99", latency_text(figures)),
        ]
    )


def _line(figures: Figures) -> str:
    return (
        f"{figures.elapsed_s:4.0f} s  {figures.received:,} ticks received ({figures.rate:,.0f}/s), "
        f"{figures.repeats:,} repeats dropped, {figures.stored:,} rows in ClickHouse, "
        f"p50 / p99 {latency_text(figures)}"
    )
