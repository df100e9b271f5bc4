"""Every benchmark in one run, for `make bench`: tables to read, and the figures in benchmarks/results/latest.json.

python -m benchmarks [--seed S]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from pathlib import Path

from benchmarks import decode, journal, longport, pipeline

RESULTS = Path(__file__).with_name("results") / "latest.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of corpora and markets (default 1)")
    seed = parser.parse_args().seed
    report, failed = decode.measure(seed)
    report.print()
    appends = journal.measure(seed=seed)
    journal.print_table(appends)
    hops = pipeline.measure(pipeline.TICKS_A_ROUND, pipeline.ROUNDS, seed)
    pipeline.print_table(hops, pipeline.TICKS_A_ROUND)
    longport_cases = longport.measure(longport.TRADES, longport.ROUNDS, seed)
    longport.print_tables(longport_cases)
    for text in longport.failures(longport_cases):
        print(text)
        failed = 1
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = [*(each.result() for each in report.measured), *appends, *hops]
    results += [case.result() for case in longport_cases]
    RESULTS.write_text(json.dumps({"at": when, "seed": seed, **machine, "results": results}, indent=1) + "\n")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
