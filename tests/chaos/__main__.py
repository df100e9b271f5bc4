"""`make chaos`: kills, freezes, bad links and failing servers, round after round.

Ends with 1 on any difference, and when it is stopped before its last round.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.plan import make_plan
from tests.chaos.report import markdown
from tests.chaos.run import run_chaos

ROUNDS_A_MINUTE = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of market and faults (default 1)")
    parser.add_argument("--minutes", type=float, default=30.0, help="two rounds each, about (default 30)")
    parser.add_argument("--rounds", type=int, help="rather than --minutes")
    parser.add_argument("--rate", type=float, default=400.0, help="ticks a second (default 400)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    options = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = make_plan(options.seed, options.rounds or math.ceil(options.minutes * ROUNDS_A_MINUTE))
    folder = Path(tempfile.mkdtemp(prefix="ticktape-chaos-"))
    say(f"seed {plan.seed}: {len(plan.rounds)} rounds, {plan.faults} faults, {plan.kills} kills, in {folder}")
    report = run_chaos(plan, folder, say, rate=options.rate)
    if not report.rounds:
        sys.exit(f"not one round was played; everything is kept in {folder}")
    text = markdown(report, options.minutes)
    say(f"\n{text}")
    if options.report is not None:
        options.report.write_text(text)
    if report.differences:
        say(f"{len(report.differences)} differences with seed {plan.seed}; everything is kept in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)
    if len(report.rounds) < len(plan.rounds):
        sys.exit(1)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
