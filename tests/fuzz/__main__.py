"""Broken bytes at a closed page into every kernel that reads the wire: `python -m tests.fuzz`.

The cases are run by a child, whose data ends where memory does: a read past it, or a write where
nothing may be written, ends the child. The parent says which input did it, saves it, and exits 1; so
it does for a call that does not come back, for an exception, and for an outcome that is not right.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.cases import Case
from tests.fuzz.state import RUNNING, State, Tally
from tests.fuzz.worker import FOUND

_PROJECT = Path(__file__).parents[2]
_CALL_S_MAX = 5.0
"""Processor time of one call, and as much again for each MiB of a long input; most take microseconds."""
_SILENCE_S_MAX = 300.0
"""A call that takes no processor time either is stuck."""
_POLL_S, _REPORT_S = 0.25, 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    """Processor time that a child has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class _Watchdog:
    """Whether the worker is still at the same call, and for how long."""

    def __init__(self, pid: int, state: State, call_s_max: float) -> None:
        self._pid, self._state, self._call_s_max = pid, state, call_s_max
        self._steps, self._cpu_s, self._since = -1, 0.0, time.monotonic()

    def stuck(self, kernels: list[str]) -> str | None:
        at = self._state.at()
        if at.phase != RUNNING:
            return None
        if at.steps != self._steps:
            self._steps, self._cpu_s, self._since = at.steps, _cpu_s(self._pid), time.monotonic()
            return None
        took_s = _cpu_s(self._pid) - self._cpu_s
        if took_s < self._call_s_max:
            return f"silent for {_SILENCE_S_MAX} s" if time.monotonic() - self._since > _SILENCE_S_MAX else None
        size_bytes = len(self._state.case(kernels).inputs[at.index])
        limit_s = self._call_s_max * (1 + size_bytes / (1 << 20))
        return f"not back after {took_s:.1f} s with an input of {size_bytes} B" if took_s > limit_s else None


def _how_it_ended(code: int) -> str:
    if code == FOUND:
        return "a wrong outcome or an exception (above)"
    if code < 0:
        return f"ended by {signal.Signals(-code).name} (above): memory was touched that must not be"
    return f"ended with {code}"


def _tell(tallies: list[Tally], took_s: float) -> None:
    calls, compared = sum(each.calls for each in tallies), sum(each.compared for each in tallies)
    cases = sum(each.cases for each in tallies)
    print(f"{took_s / 60:.1f} min: {cases:,} cases, {calls:,} calls, {compared:,} compared with oracles", flush=True)


def _tell_all(kernels: list[str], tallies: list[Tally]) -> None:
    for name, tally in zip(kernels, tallies, strict=True):
        if tally.cases:
            print(
                f"  {name:22} {tally.cases:>9,} cases {tally.calls:>11,} calls {tally.input_bytes / 1e6:>9,.1f} MB "
                f"{tally.compared:>8,} compared; slowest call {tally.slowest_ns / 1e6:,.1f} ms "
                f"of {tally.slowest_bytes:,} B"
            )


def _options(kernels: list[str]) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    options.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    options.add_argument("--seed", type=int, default=0, help="the same seed, the same cases (0)")
    options.add_argument(
        "--kernel", action="append", choices=kernels, default=[], help="only this one; may be repeated"
    )
    options.add_argument("--cases", type=int, default=0, help="so many of each, instead of minutes")
    options.add_argument(
        "--call-seconds", type=float, default=_CALL_S_MAX, metavar="S", help="processor time of a call that hangs (5)"
    )
    options.add_argument("--replay", type=Path, metavar="FILE", help="the one case that an earlier run saved")
    options.add_argument(
        "--save", type=Path, default=Path("var/fuzz"), metavar="FOLDER", help="for found cases (var/fuzz)"
    )
    options.add_argument("--targets", default="tests.fuzz.targets", help=argparse.SUPPRESS)
    return options


def _stop(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _stop)  # not without ending the worker
    module = arguments[arguments.index("--targets") + 1] if "--targets" in arguments else "tests.fuzz.targets"
    kernels = [kind.name for kind in importlib.import_module(module).TARGETS]
    asked = _options(kernels).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder) / "state", create=True)
        command = [sys.executable, "-m", "tests.fuzz.worker", "--state", f"{folder}/state", "--targets", asked.targets]
        command += ["--seed", str(asked.seed), "--minutes", str(asked.minutes), "--cases", str(asked.cases)]
        command += [part for name in asked.kernel for part in ("--kernel", name)]
        command += ["--replay", str(asked.replay.absolute())] if asked.replay else []
        began = reported = time.monotonic()
        worker = subprocess.Popen(command, cwd=_PROJECT)
        watchdog = _Watchdog(worker.pid, state, asked.call_seconds)
        try:
            while True:
                try:
                    code = worker.wait(_POLL_S)
                    trouble = None if code == 0 else _how_it_ended(code)
                    break
                except subprocess.TimeoutExpired:
                    trouble = watchdog.stuck(kernels)
                    if trouble is not None:
                        break
                if time.monotonic() - reported > _REPORT_S:
                    reported = time.monotonic()
                    _tell(state.tallies(len(kernels)), reported - began)
        finally:
            worker.kill()
            worker.wait()
        tallies = state.tallies(len(kernels))
        _tell(tallies, time.monotonic() - began)
        _tell_all(kernels, tallies)
        if trouble is None:
            print("found nothing")
            return 0
        at = state.at()
        if at.phase != RUNNING:
            print(f"the worker did not start: {trouble}")
            return 1
        case = state.case(kernels)
    print(f"FOUND in {case.kernel}, seed {asked.seed}, case {at.number}, input {at.index}: {trouble}")
    if asked.replay is None:
        _save(case, asked.save / f"{case.kernel}-{asked.seed}-{at.number}.json")
    return 1


def _save(case: Case, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    case.saved(path)
    print(f"again: python -m tests.fuzz --replay {path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
