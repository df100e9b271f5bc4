"""Rounds of faults, each drained and checked to the last row.

Rule 1: what happens is in the plan; what differs is told with its seed.
Rule 2: nothing is helped by hand. What was killed is started again, as a supervisor would, and no more.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codec.warm import warm
from tests.chaos.check import check, keep_repeats, merge, read_stored
from tests.chaos.disk import small_disks_possible
from tests.chaos.kafka_view import DelayWatch, KafkaView
from tests.chaos.opend import Truth
from tests.chaos.plan import WORKERS, Kind, Plan, Round
from tests.chaos.stage import Stage
from tests.chaos.strike import Striker, Struck
from tests.day.compare import Comparison

DRAIN_S_MAX = 240.0
_START_S_MAX = 240.0
_LOOK_S = 0.2
_AGAIN_S = 1.0
_SAME_S_MAX = 30.0
"""What differs and nothing changes for so long stays: longer than a group of Kafka's waits for a lost member."""
OTHER_WORKER_S_MAX = 15.0
"""A worker that stays away must not keep readers from the other one's ticks for longer."""

Say = Callable[[str], None]


@dataclass(slots=True)
class RoundReport:
    """How one round went.

    Attributes
    ----------
    recovery_s : from the end of its last fault until nothing waited any more
    compared : everything since the beginning
    """

    number: int
    struck: list[Struck]
    recovery_s: float
    compared: Comparison
    differences: list[str]


@dataclass(slots=True)
class ChaosReport:
    """How all of it went; `differences` is empty when all is as it must be."""

    plan: Plan
    rate: float
    rounds: list[RoundReport] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    records: int = 0
    other_worker_s: list[float] = field(default_factory=list)
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)
    took_s: float = 0.0
    left_out: str = ""

    @property
    def differences(self) -> list[str]:
        return [f"round {each.number}: {line}" for each in self.rounds for line in each.differences]

    @property
    def struck(self) -> list[Struck]:
        return [each for of in self.rounds for each in of.struck if not each.missed]


def run_chaos(
    plan: Plan, folder: Path, say: Say, *, rate: float = 400.0, looks_again_in_s: float = 25.0
) -> ChaosReport:
    """Play a plan in `folder`, which holds all that it leaves behind.

    It ends early at the first difference, or when it is interrupted.
    After the last round everything is looked at once more: whoever was given up and comes back has
    done so by then.
    """
    began_s = time.monotonic()
    warm(["opend"])
    has_disks = small_disks_possible()
    report = ChaosReport(plan, rate, left_out="" if has_disks else Kind.FULL_DISK.value)
    with Stage(folder, seed=plan.seed, rate=rate, has_disks=has_disks) as stage, _striker(stage) as striker:
        play = _Play(stage, striker, report, say)
        try:
            play.wait_until_ready()
            for number, of in enumerate(plan.rounds, start=1):
                play.play(number, of)
                if report.differences:
                    break
            else:
                play.look_again(looks_again_in_s)
        except KeyboardInterrupt:
            say("stopped: the report is of the rounds so far")
        finally:
            report.kills, report.records = striker.kills, play.kafka.records
            if not report.rounds or report.differences:
                _keep_journals(stage)
    report.took_s = time.monotonic() - began_s
    return report


@contextlib.contextmanager
def _striker(stage: Stage) -> Iterator[Striker]:
    striker = Striker(stage)
    try:
        yield striker
    finally:
        striker.close()


class _Play:
    """One stage, round by round."""

    def __init__(self, stage: Stage, striker: Striker, report: ChaosReport, say: Say) -> None:
        self.kafka = KafkaView()
        self._stage, self._striker, self._report, self._say = stage, striker, report, say

    def wait_until_ready(self) -> None:
        """Of all daemons."""
        keep_repeats(self._stage.clickhouse.url)
        deadline_s = time.monotonic() + _START_S_MAX
        while (trouble := self._stage.trouble()) is not None and "not ready" in trouble:
            assert time.monotonic() < deadline_s, trouble
            self._striker.watch()
            time.sleep(_LOOK_S)

    def play(self, number: int, of: Round) -> None:
        """One round, to its check."""
        for fault in of.faults:
            self._say(f"round {number}: {fault}")
        self._stage.opend.go()
        with self._delays(of) as problems:
            struck = self._striker.strike(self._without_impossible(of), self._meanwhile)
        over_s = max((each.over_s for each in struck), default=time.monotonic())
        truth = self._stage.opend.halt()
        quiet_s, compared, differences = self._drained(truth)
        differences += problems + self._striker.problems
        self._striker.problems = []
        done = RoundReport(number, struck, max(quiet_s - over_s, 0.0), compared, differences)
        self._report.rounds.append(done)
        self._say(
            f"round {number}: recovered in {done.recovery_s:.1f} s; {compared.made:,} made, {compared.stored:,} stored,"
            f" {compared.missing_ticks:,} lost, {sum(each.missed for each in struck)} faults missed"
        )
        for line in differences:
            self._say(f"round {number}: DIFFERS {line}")
        if not differences:
            merge(self._stage.clickhouse.url)

    def look_again(self, in_s: float) -> None:
        """Wait for whoever may still wake up, and check all of it once more."""
        self._say(f"looking again in {in_s:.0f} s")
        end_s = time.monotonic() + in_s
        while time.monotonic() < end_s:
            self._striker.watch()
            time.sleep(_LOOK_S)
        _, compared, differences = self._drained(self._stage.opend.halt())
        self._report.rounds[-1].compared = compared
        self._report.rounds[-1].differences += differences

    def _without_impossible(self, of: Round) -> Round:
        possible = (each for each in of.faults if each.kind is not Kind.FULL_DISK or self._stage.has_disks)
        return Round(tuple(possible))

    def _drained(self, truth: Truth) -> tuple[float, Comparison, list[str]]:
        """Wait until nothing waits and all is right; when that was, and what is wrong at the latest."""
        deadline_s = time.monotonic() + DRAIN_S_MAX
        before: list[str] = []
        since_s = 0.0
        while True:
            quiet_s, trouble = self._quiet(deadline_s)
            compared = self._checked(truth)
            found = [*compared.differences, *([f"not drained: {trouble}"] if trouble else [])]
            now_s = time.monotonic()
            if found != before:
                before, since_s = found, now_s
            if not found or now_s > min(deadline_s, since_s + _SAME_S_MAX):
                return quiet_s, compared, found
            time.sleep(_AGAIN_S)

    def _quiet(self, deadline_s: float) -> tuple[float, str | None]:
        """When nothing waited any more, two looks in a row; or at the deadline, with what still does."""
        quiet_s = 0.0
        while True:
            self._striker.watch()
            trouble = self._stage.trouble()
            now_s = time.monotonic()
            if trouble is None and quiet_s:
                return quiet_s, None
            quiet_s = now_s if trouble is None else 0.0
            if now_s > deadline_s:
                return now_s, trouble
            time.sleep(_LOOK_S)

    def _checked(self, truth: Truth) -> Comparison:
        try:
            self.kafka.read_on(self._stage.bootstrap_servers)
            stored = read_stored(self._stage.clickhouse.url)
        except OSError as error:  # TimeoutError is one
            return Comparison(0, 0, 0, differences=[f"cannot be read: {error}"])
        self._report.ledger = Counter((gap["cause"], gap["state"]) for gap in stored.gaps)
        return check(truth, stored, self.kafka)

    @contextlib.contextmanager
    def _delays(self, of: Round) -> Iterator[list[str]]:
        """Of a round in which a worker stays away: how long readers wait for the other one's ticks."""
        problems: list[str] = []
        self._meanwhile: Callable[[], None] = lambda: None
        if (away := of.away) is None:
            yield problems
            return
        watch = DelayWatch(self._stage.bootstrap_servers)
        self._meanwhile = watch.look
        try:
            yield problems
        finally:
            watch.close()
        [other] = [worker for worker in WORKERS if worker != away.target]
        longest_s = watch.longest_s.get(other)
        if longest_s is None or longest_s > OTHER_WORKER_S_MAX:
            problems.append(f"while {away.target} was away, {other}'s ticks took {longest_s} s to readers")
        if longest_s is not None:
            self._report.other_worker_s.append(longest_s)


def _keep_journals(stage: Stage) -> None:
    """Small disks are gone with the processes that see them."""
    for name, disk in stage.disks.items():
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(disk.outside, stage.folder / f"kept-{name}")
