"""A LongPort that breaks off again and again, and what came of it: python -m tests.longport [--breaks N] [--seed S].

Ends with 1 when a trade is missing without a word, or is stored that was never made.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.longport.run import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.longport", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--breaks", type=int, default=100, help="of the connection (default 100)")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between them, on average (default 3)")
    parser.add_argument("--rate", type=float, default=100.0, help="trades a second (default 100)")
    parser.add_argument("--transport", choices=("tcp", "ws"), default="ws")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ticktape-longport-") as folder:
        outcome = run(
            Path(folder),
            transport=options.transport,
            breaks=options.breaks,
            every_s=options.every,
            rate=options.rate,
            seed=options.seed,
        )
    print(
        f"{outcome.made:,} trades made, {outcome.stored:,} stored, {outcome.reconnects} reconnects, "
        f"{outcome.repeats:,} pushes twice; {outcome.missing:,} missing, "
        f"{len(outcome.unexplained):,} without a word, {len(outcome.extra):,} too many"
    )
    print("struck:", ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items())))
    for trade in (*outcome.unexplained[:10], *outcome.extra[:10]):
        print(trade)
    return 1 if outcome.unexplained or outcome.extra else 0


if __name__ == "__main__":
    raise SystemExit(main())
