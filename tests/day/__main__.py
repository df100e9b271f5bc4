"""`make day`: a simulated trading day at 60 times its speed, 300 symbols, 40 faults; ends with 1 on any difference."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.day.plan import make_plan
from tests.day.run import DayReport, run_day


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.day", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of market and faults (default 1)")
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--rate", type=float, default=2000.0, help="ticks a real second (default 2000)")
    parser.add_argument("--speed", type=float, default=60.0, help="market seconds a real second (default 60)")
    parser.add_argument("--hours", type=float, default=7.5, help="of the market's day (default 7.5: past its close)")
    parser.add_argument("--faults", type=int, default=40)
    options = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    plan = make_plan(
        seed=options.seed,
        symbols=options.symbols,
        rate=options.rate,
        speed=options.speed,
        duration_s=options.hours * 3600 / options.speed,
        faults=options.faults,
    )
    folder = Path(tempfile.mkdtemp(prefix="ticktape-day-"))
    say(f"seed {plan.seed}: {plan.symbols} symbols, {plan.duration_s:.0f} s, {len(plan.faults)} faults, in {folder}")
    report = run_day(plan, folder, say)
    show(report)
    if report.differences:
        say(f"\n{len(report.differences)} differences with seed {plan.seed}; everything is kept in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def show(report: DayReport) -> None:
    compared = report.comparison
    say("\nfaults:   " + ", ".join(f"{fault} {times}" for fault, times in sorted(report.struck.items())))
    say(f"made:     {compared.made:,} ticks")
    say(f"stored:   {compared.stored:,} rows, {compared.repeats:,} of them again")
    say(f"missing:  {compared.missing_ticks:,} of {len(compared.missing)} symbols")
    say("ledger:   " + ", ".join(f"{cause} {state} {rows}" for (cause, state), rows in sorted(report.ledger.items())))
    for line in report.differences:
        say(f"DIFFERS   {line}")
    if not report.differences:
        say("Every tick is stored once or lies in a lost row of the ledger, and the audit found what hands did.")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
