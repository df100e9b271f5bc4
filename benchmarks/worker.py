"""What a worker costs at a steady rate: processor, memory and backlog of `ticktape ingest`, minute by minute.

    python -m benchmarks.worker [--minutes N] [--symbols N] [--rate TICKS_PER_S] [--json]

A simulated OpenD pushes at the rate; `ingest` journals and `sink` stores in an embedded ClickHouse, each a
process of its own, as in production. Ends with 1 when rows wait longer and longer, when the worker needs more
than half a core, when its memory grows by more than 5 % after the first minute, or when a tick is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from tests.support.daemons import Daemon, daemon, free_port, query_json
from tests.support.simulator import opend_simulator
from ticktape.simulate.symbols import list_symbols

SAMPLE_S = 5.0
CPU_SHARE_MAX = 0.5
GROWTH_MAX = 0.05
LAG_S_MAX = 2.0
"""Of the rows at the rate: the writer flushes twice a second."""
_WARM_UP_S = 60.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker at one instant, from its subscription on."""

    at_s: float
    cpu_s: float
    rss_bytes: int
    waiting_rows: float


def measure(minutes: float, symbols: int, rate: float) -> tuple[list[Sample], int]:
    """Samples every `SAMPLE_S`, and how many ticks are missing in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ticktape-worker-"))
    http_port, sink_port = free_port(), free_port()
    with opend_simulator("--symbols", symbols, "--rate", rate) as opend:
        config = _config(folder, opend.port, http_port, sink_port, symbols)
        with daemon("ingest", config, http_port) as ingest, daemon("sink", config, sink_port) as sink:
            ingest.wait_until(lambda: '"opend-1": true' in ingest.get("/readyz"), "every symbol subscribed", 300)
            samples = list(_watch(ingest, sink, minutes * 60))
            truth = opend.stop()["tables"]["ticks"]["rows"]
            ingest.wait_until(lambda: _stored(sink) >= truth, "everything stored", 120)
            sink.stop()
            ingest.stop()
        stored = query_json(config, "SELECT count() AS rows FROM ticks")
    return samples, truth - int(stored[0]["rows"])


def _config(folder: Path, port: int, http_port: int, sink_port: int, symbols: int) -> Path:
    (folder / "symbols.txt").write_text("\n".join(listing.symbol for listing in list_symbols(symbols)))
    config = folder / "ticktape.toml"
    config.write_text(f"""
[journal]
path = "{folder}/journal"
[clickhouse]
url = "chdb://{folder}/clickhouse"
[http]
listen = "127.0.0.1:{http_port}"
sink_listen = "127.0.0.1:{sink_port}"
[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{port}"
[[subscription]]
gateway = "opend-1"
symbols_file = "{folder}/symbols.txt"
feeds = ["ticks"]
""")
    return config


def _watch(ingest: Daemon, sink: Daemon, duration_s: float) -> Iterator[Sample]:
    """The worker every `SAMPLE_S`, for `duration_s`."""
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < duration_s:
        pid = ingest.process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        journaled = ingest.metric("ticktape_rows_total", hop="journaled", table="ticks")
        sample = Sample(at_s, (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, rss, journaled - _stored(sink))
        print(f"\r{at_s:6.0f} s  {rss >> 20} MiB  {sample.waiting_rows:,.0f} rows wait ", end="", file=sys.stderr)
        yield sample
        time.sleep(SAMPLE_S)
    print(file=sys.stderr)


def _stored(sink: Daemon) -> float:
    return sink.metric("ticktape_rows_total", hop="stored", table="ticks")


def judge(samples: list[Sample], missing: int, rate: float) -> dict[str, object]:
    """The figures after the first minute, and which of them are beyond their bounds."""
    steady = [sample for sample in samples if sample.at_s >= _WARM_UP_S] or samples[1:]
    cpu = (steady[-1].cpu_s - steady[0].cpu_s) / (steady[-1].at_s - steady[0].at_s)
    first, last = (statistics.median(s.rss_bytes for s in part) for part in (steady[:6], steady[-6:]))
    waiting = statistics.median(sample.waiting_rows for sample in steady[-12:])
    failed = [
        word
        for word, holds in (
            ("cpu", cpu <= CPU_SHARE_MAX),
            ("memory", last / first - 1 <= GROWTH_MAX),
            ("backlog", waiting <= rate * LAG_S_MAX),
            ("missing", missing == 0),
        )
        if not holds
    ]
    return {
        "cpu_share": round(cpu, 3),
        "rss_mib_first": round(first / 2**20),
        "rss_mib_last": round(last / 2**20),
        "rss_growth": round(last / first - 1, 4),
        "waiting_rows": round(waiting),
        "missing_ticks": missing,
        "failed": failed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of steady pushing (default 10)")
    parser.add_argument("--symbols", type=int, default=2000, help="subscribed (default 2000)")
    parser.add_argument("--rate", type=float, default=20_000.0, help="ticks a second (default 20000)")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    options = parser.parse_args()
    samples, missing = measure(options.minutes, options.symbols, options.rate)
    result = judge(samples, missing, options.rate)
    if options.json:
        print(json.dumps(result))
    else:
        table = RichTable("figure", "value", title=f"{options.symbols:,} symbols, {options.rate:,.0f} ticks/s")
        for name, value in result.items():
            table.add_row(name, str(value))
        Console().print(table)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
