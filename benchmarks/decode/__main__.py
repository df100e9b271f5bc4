"""How fast frames become columns, beside everything else that reads them.

    python -m benchmarks.decode [--seed S] [--case NAME,…] [--json]

Corpora are made from the seed, 64 MB of tick frames and more; ours and each peer take turns on the same
bytes, and their outputs are compared first. Speeds are of one core, by the processor's own clock.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

import pytest

from benchmarks.decode.cases import Corpora
from benchmarks.decode.report import Report


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


def measure(seed: int, names: list[str], *, quiet: bool) -> tuple[Report, int]:
    """Run the cases of these names, or all; with pytest's exit code, 0 when none failed."""
    corpora = Corpora(seed)
    cases = [case for case in corpora.cases() if not names or case.name in names]
    if not cases:
        raise SystemExit(f"no case has the name {', '.join(names)}")
    report = Report(cases, corpora.one_frame())
    arguments = [
        str(Path(__file__).with_name("bench_decode.py")),
        *("-q", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "python_files=bench_*.py"),
        *("--benchmark-only", "--benchmark-timer=time.process_time", "--benchmark-disable-gc"),
        *("--benchmark-columns=min,median,max,rounds", "--benchmark-group-by=group", "--benchmark-sort=fullname"),
    ]
    if names:
        arguments += ["-k", "not single_call"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said) if quiet else contextlib.nullcontext():
        failed = pytest.main(arguments, plugins=[report])
    if failed and quiet:
        print(said.getvalue(), file=sys.stderr)
    return report, int(failed)


if __name__ == "__main__":
    sys.exit(main())
