"""How fast frames become columns, beside everything else that reads them."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from benchmarks.decode.cases import Corpora
from benchmarks.decode.report import Report


def measure(seed: int, names: Collection[str] = (), *, quiet: bool = False) -> tuple[Report, int]:
    """Run the cases of these names, or all; with pytest's exit code, 0 when none failed.

    `quiet` tells only what failed, on standard error.
    """
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
