"""What a worker costs at a steady rate: processor, memory and backlog of `ticktape ingest`, minute by minute.

    python -m benchmarks.worker [--minutes N] [--symbols N] [--rate TICKS_PER_S] [--json]

A simulated OpenD pushes at the rate; `ingest` journals and `sink` stores in an embedded ClickHouse, each a
process of its own, as in production. Ends with 1 when rows wait longer and longer, when the worker needs more
than half a core, when its memory grows by more than 5 % after the first minute, or when a tick is missing.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.steady import (
    GROWTH_MAX,
    SAMPLE_S,
    WARM_UP_S,
    Ports,
    broken,
    growth,
    make_parser,
    report,
    rss_bytes,
    working_folder,
    write_config,
)
from tests.support.daemons import Daemon, daemon, query_json
from tests.support.simulator import opend_simulator

CPU_SHARE_MAX = 0.5
LAG_S_MAX = 2.0
"""Of the rows at the rate: the writer flushes twice a second."""
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
    ports = Ports()
    with working_folder("worker") as folder, opend_simulator("--symbols", symbols, "--rate", rate) as opend:
        config = write_config(folder, ports, opend.port, symbols, f"chdb://{folder}/clickhouse")
        with daemon("ingest", config, ports.ingest) as ingest, daemon("sink", config, ports.sink) as sink:
            ingest.wait_until(lambda: '"opend-1": true' in ingest.get("/readyz"), "every symbol subscribed", 300)
            samples = list(_watch(ingest, sink, minutes * 60))
            truth = opend.stop()["tables"]["ticks"]["rows"]
            ingest.wait_until(lambda: _stored(sink) >= truth, "everything stored", 120)
            sink.stop()
            ingest.stop()
        stored = query_json(config, "SELECT count() AS rows FROM ticks")
    return samples, truth - int(stored[0]["rows"])


def _watch(ingest: Daemon, sink: Daemon, duration_s: float) -> Iterator[Sample]:
    """The worker every `SAMPLE_S`, for `duration_s`."""
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < duration_s:
        pid = ingest.process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        rss = rss_bytes(pid)
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
    steady = [sample for sample in samples if sample.at_s >= WARM_UP_S] or samples[1:]
    cpu = (steady[-1].cpu_s - steady[0].cpu_s) / (steady[-1].at_s - steady[0].at_s)
    grown, memory = growth([sample.rss_bytes for sample in steady])
    waiting = statistics.median(sample.waiting_rows for sample in steady[-12:])
    failed = broken(
        {
            "cpu": cpu <= CPU_SHARE_MAX,
            "memory": grown <= GROWTH_MAX,
            "backlog": waiting <= rate * LAG_S_MAX,
            "missing": missing == 0,
        }
    )
    return {
        "cpu_share": round(cpu, 3),
        **memory,
        "waiting_rows": round(waiting),
        "missing_ticks": missing,
        "failed": failed,
    }


def main() -> int:
    options = make_parser("python -m benchmarks.worker", __doc__, "of steady pushing").parse_args()
    samples, missing = measure(options.minutes, options.symbols, options.rate)
    return report(judge(samples, missing, options.rate), "A worker", options)


if __name__ == "__main__":
    sys.exit(main())
