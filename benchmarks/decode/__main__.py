"""How fast frames become columns, beside everything else that reads them.

    python -m benchmarks.decode [--seed S] [--case NAME,…] [--json]

Corpora are made from the seed, 64 MB of tick frames and more; ours and each peer take turns on the same
bytes, and their outputs are compared first. Speeds are of one core, by the processor's own clock.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.decode import measure


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the corpora (default 1)")
    parser.add_argument("--case", default="", help="only these cases, by name, with commas between (default all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and nothing else")
    options = parser.parse_args()
    names = [name for name in options.case.split(",") if name]
    report, failed = measure(options.seed, names, quiet=options.json)
    print(report.json_lines()) if options.json else report.print()
    return failed


if __name__ == "__main__":
    sys.exit(main())
