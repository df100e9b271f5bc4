"""The process that runs the cases, and that a kernel may end."""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import itertools
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.cases import Case, Runner, case_of
from tests.fuzz.state import RUNNING, At, State, Tally
from tests.fuzz.target import Target

FOUND = 3
"""Exit code of a worker in which a check failed or a decoder raised."""


class _Watch:
    """Tells the parent, through the state, before and after each call."""

    def __init__(self, state: State, targets: int) -> None:
        self._state = state
        self.at = At(phase=RUNNING)
        self.tallies = [Tally() for _ in range(targets)]

    def begin(self, target: int, number: int, case: Case) -> None:
        self.at.target, self.at.number, self.at.index = target, number, 0
        self._state.put_case(case)

    def done(self) -> None:
        tally = self.tallies[self.at.target]
        tally.cases += 1
        self._state.put_tally(self.at.target, tally)

    def calling(self, variant: int, index: int) -> None:
        self.at.steps += 1
        self.at.variant, self.at.index = variant, index
        self._state.put_at(self.at)

    def called(self, took_ns: int, size_bytes: int) -> None:
        tally = self.tallies[self.at.target]
        tally.calls += 1
        tally.input_bytes += size_bytes
        if took_ns > tally.slowest_ns:
            tally.slowest_ns, tally.slowest_bytes = took_ns, size_bytes

    def compared(self) -> None:
        self.tallies[self.at.target].compared += 1


def _cases(
    targets: list[Target | None], replay: Path | None, seed: int, limit: int
) -> Iterator[tuple[int, int, Target, Case]]:
    """(index of the target, number, target, case), the targets in turn."""
    if replay is not None:
        case = Case.load(replay)
        for index, target in enumerate(targets):
            if target is not None and target.name == case.kernel:
                yield index, 0, target, case
        return
    for number in itertools.count():
        if limit and number == limit:
            return
        for index, target in enumerate(targets):
            if target is not None:
                yield index, number, target, case_of(target, seed, number)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--state", type=Path, required=True)
    options.add_argument("--targets", required=True)
    options.add_argument("--kernel", action="append", default=[])
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--minutes", type=float, required=True)
    options.add_argument("--cases", type=int, default=0)
    options.add_argument("--replay", type=Path)
    asked = options.parse_args()

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    state = State(asked.state)
    module = importlib.import_module(asked.targets)
    module.prepare()
    kinds: tuple[type[Target], ...] = module.TARGETS
    targets = [kind(asked.seed) if not asked.kernel or kind.name in asked.kernel else None for kind in kinds]
    watch = _Watch(state, len(targets))
    runner = Runner(watch)
    until = time.monotonic() + asked.minutes * 60
    for index, number, target, case in _cases(targets, asked.replay, asked.seed, asked.cases):
        watch.begin(index, number, case)
        try:
            runner.run(target, case)
        except Exception:
            traceback.print_exc()
            return FOUND
        watch.done()
        if time.monotonic() > until and not asked.cases:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
