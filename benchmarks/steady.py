"""What benchmarks share that watch daemons at a steady rate: their configuration, memory, figures and command line."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from tests.support.daemons import free_port
from ticktape.simulate.symbols import list_symbols

SAMPLE_S = 5.0
WARM_UP_S = 60.0
GROWTH_MAX = 0.05
"""Of the memory, after the first minute."""
_EDGE_SAMPLES = 6
"""The median of so many at either end is what memory began and ended with."""


@contextmanager
def working_folder(name: str) -> Iterator[Path]:
    """A folder for journal and tables, which may take gigabytes: gone in the end."""
    with tempfile.TemporaryDirectory(prefix=f"ticktape-{name}-") as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where `ticktape ingest` and `ticktape sink` show what they do."""

    ingest: int = field(default_factory=free_port)
    sink: int = field(default_factory=free_port)


def write_config(folder: Path, ports: Ports, gateway_port: int, symbols: int, clickhouse: str, more: str = "") -> Path:
    """A configuration that gets the ticks of so many simulated symbols into a ClickHouse, with `more` sections."""
    (folder / "symbols.txt").write_text("\n".join(listing.symbol for listing in list_symbols(symbols)))
    config = folder / "ticktape.toml"
    config.write_text(f"""
[journal]
path = "{folder}/journal"
[clickhouse]
url = "{clickhouse}"
[http]
listen = "127.0.0.1:{ports.ingest}"
sink_listen = "127.0.0.1:{ports.sink}"
[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{gateway_port}"
[[subscription]]
gateway = "opend-1"
symbols_file = "{folder}/symbols.txt"
feeds = ["ticks"]
{more}""")
    return config


def rss_bytes(pid: int) -> int:
    """The memory that a process has in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(sizes: Sequence[int]) -> tuple[float, dict[str, float]]:
    """By what part memory grew over these samples, and the figures that say so."""
    first, last = (statistics.median(part) for part in (sizes[:_EDGE_SAMPLES], sizes[-_EDGE_SAMPLES:]))
    grown = last / first - 1
    return grown, {
        "rss_mib_first": round(first / 2**20),
        "rss_mib_last": round(last / 2**20),
        "rss_growth": round(grown, 4),
    }


def broken(bounds: dict[str, bool]) -> list[str]:
    """The names of the bounds that do not hold."""
    return [name for name, holds in bounds.items() if not holds]


def make_parser(prog: str, description: str | None, minutes_of: str) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help=f"{minutes_of} (default 10)")
    parser.add_argument("--symbols", type=int, default=2000, help="subscribed (default 2000)")
    parser.add_argument("--rate", type=float, default=20_000.0, help="ticks a second (default 20000)")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    return parser


def report(result: dict[str, object], title: str, options: argparse.Namespace) -> int:
    """Print the figures of a run; 1 when some are beyond their bounds."""
    if options.json:
        print(json.dumps(result))
    else:
        table = RichTable("figure", "value", title=f"{title}, {options.symbols:,} symbols, {options.rate:,.0f} ticks/s")
        for name, value in result.items():
            table.add_row(name, str(value))
        Console().print(table)
    return 1 if result["failed"] else 0
