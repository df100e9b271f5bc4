"""Strikes: does what the plan says, when it says so, and starts again what it killed, as a supervisor would."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos.plan import CLICKHOUSE, KILLS, LINK_FAULTS, LINKS, Fault, InsertFault, Kind, Round
from tests.chaos.proxy import WHOLE
from tests.chaos.stage import Stage
from tests.support import clickhouse_http

_THREADS = 16
"""More than a round has faults. They last as long as the striker: processes die with the thread that started them."""
_WATCH_S = 0.05
_INSERT_S_MAX = 20.0
"""How long to wait for an insert in which the server can die."""
_CLICKHOUSE_ERRORS = {InsertFault.READ_ONLY: 164, InsertFault.TOO_MANY_PARTS: 252, InsertFault.DISK_FULL: 243}
"""ClickHouse's own numbers (src/Common/ErrorCodes.cpp)."""
_INSERT_FAULTS = {
    InsertFault.ERROR_AFTER: clickhouse_http.Fault.ERROR_AFTER,
    InsertFault.CUT_BEFORE: clickhouse_http.Fault.CUT_BEFORE,
    InsertFault.CUT_AFTER: clickhouse_http.Fault.CUT_AFTER,
    InsertFault.TIME_OUT_AFTER: clickhouse_http.Fault.SILENT_AFTER,
}


@dataclass(frozen=True, slots=True)
class Struck:
    """What became of a fault.

    Attributes
    ----------
    over_s : when all was as before, or was started again, monotonic
    missed : nothing came that it could strike
    """

    fault: Fault
    over_s: float
    missed: bool = False


class Striker:
    """Strikes a stage. `close` ends it.

    Attributes
    ----------
    kills : processes killed, by name
    problems : what needed a hand: processes that ended by themselves, or did not start
    """

    def __init__(self, stage: Stage) -> None:
        self.kills: Counter[str] = Counter()
        self.problems: list[str] = []
        self._stage = stage
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._down: set[str] = set()
        self._turns = {target: threading.Lock() for target in (*stage.actors, *LINKS)}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="strike")

    def close(self) -> None:
        """Give up whatever is still to strike."""
        self._stopping.set()
        self._threads.shutdown()

    def strike(self, of: Round, meanwhile: Callable[[], None]) -> list[Struck]:
        """All faults of a round; `meanwhile` is called again and again until they are over."""
        begin_s = time.monotonic()
        struck: list[Future[Struck]] = [self._threads.submit(self._strike, fault, begin_s) for fault in of.faults]
        while not all(each.done() for each in struck):
            meanwhile()
            self.watch()
            time.sleep(_WATCH_S)
        return [self._outcome(fault, each) for fault, each in zip(of.faults, struck, strict=True)]

    def _outcome(self, fault: Fault, of: Future[Struck]) -> Struck:
        if (error := of.exception()) is None:
            return of.result()
        self.problems.append(f"{fault.target} could not be struck: {type(error).__name__}: {error}")
        return Struck(fault, time.monotonic(), missed=True)

    def watch(self) -> None:
        """Note processes that ended by themselves, and start them again."""
        for name, actor in self._stage.actors.items():
            with self._guard:
                ended = actor.ended() if name not in self._down else None
                if ended is not None:
                    self._down.add(name)
            if ended is not None:
                self.problems.append(f"{name} ended by itself with {ended}")
                self._threads.submit(self._start, name, kill_first=True)

    def _strike(self, fault: Fault, begin_s: float) -> Struck:
        self._stopping.wait(max(begin_s + fault.at_s - time.monotonic(), 0.0))
        with contextlib.ExitStack() as turns:
            # What was killed may take longer to start than planned: the next fault waits for it.
            for target in sorted(filter(None, (fault.target, fault.also))):
                turns.enter_context(self._turns[target])
            missed = not self._begin(fault)
            if fault.kind is not Kind.INSERT and not missed:
                self._stopping.wait(fault.for_s)
            over_s = time.monotonic()
            self._undo(fault)
        return Struck(fault, over_s, missed)

    def _begin(self, fault: Fault) -> bool:
        """Whether there was something to strike."""
        if fault.kind is Kind.KILL_IN_INSERT:
            return self._kill_in_insert(fault)
        if fault.kind is Kind.INSERT:
            return self._fail_inserts(fault)
        if fault.kind in KILLS:
            self._kill(fault.target)
        elif fault.kind is Kind.FREEZE:
            self._stage.actors[fault.target].freeze(frozen=True)
        elif fault.kind in LINK_FAULTS:
            self._stage.proxy.change(fault.target, fault.kind, fault.amount)
        elif fault.kind is Kind.FULL_DISK:
            self._stage.disks[fault.target].fill()
        return True

    def _undo(self, fault: Fault) -> None:
        if fault.kind in KILLS:
            for name in filter(None, (fault.target, fault.also)):
                self._start(name)
        elif fault.kind is Kind.FREEZE:
            self._stage.actors[fault.target].freeze(frozen=False)
        elif fault.kind in LINK_FAULTS:
            self._stage.proxy.change(fault.target, WHOLE)
        elif fault.kind is Kind.FULL_DISK:
            self._stage.disks[fault.target].empty()

    def _kill(self, name: str) -> None:
        with self._guard:
            self._down.add(name)
        self._stage.actors[name].kill()
        self.kills[name] += 1

    def _start(self, name: str, *, kill_first: bool = False) -> None:
        """Start what is down, unless all is over."""
        if name not in self._down or self._stopping.is_set():
            return
        actor = self._stage.actors[name]
        if kill_first:
            actor.kill()
        try:
            actor.start()
        except Exception as error:
            self.problems.append(f"{name} did not start again: {error}")
        with self._guard:
            self._down.discard(name)

    def _kill_in_insert(self, fault: Fault) -> bool:
        """Whether an insert came in which the server could die."""
        with self._guard:
            self._down.add(CLICKHOUSE)
        clickhouse = self._stage.clickhouse
        if self._arm(clickhouse_http.Fault.DIES_INSIDE, 1, 0, _INSERT_S_MAX):
            deadline_s = time.monotonic() + _INSERT_S_MAX
            while clickhouse.ended() is None and time.monotonic() < deadline_s and not self._stopping.is_set():
                time.sleep(_WATCH_S)
        if clickhouse.ended() is None and self._disarm() > 0:
            with self._guard:
                self._down.discard(CLICKHOUSE)
            return False
        self._kill(CLICKHOUSE)
        if fault.also:
            self._kill(fault.also)
        return True

    def _fail_inserts(self, fault: Fault) -> bool:
        """Whether an insert came that could fail."""
        assert fault.insert is not None
        kind = _INSERT_FAULTS.get(fault.insert, clickhouse_http.Fault.ERROR_BEFORE)
        count, code = int(fault.amount), _CLICKHOUSE_ERRORS.get(fault.insert, 0)
        if not self._arm(kind, count, code, fault.for_s):
            return False
        deadline_s = time.monotonic() + fault.for_s
        while time.monotonic() < deadline_s and not self._stopping.is_set():
            if self._left() == 0:
                return True
            time.sleep(_WATCH_S)
        return self._disarm() < count

    def _arm(self, kind: clickhouse_http.Fault, count: int, code: int, for_s: float) -> bool:
        """Let inserts fail, as soon as the server listens."""
        deadline_s = time.monotonic() + for_s
        while not self._stopping.is_set():
            try:
                self._stage.clickhouse.fail_inserts(kind, count=count, code=code)
            except OSError:
                if time.monotonic() > deadline_s:
                    return False
                time.sleep(_WATCH_S)
            else:
                return True
        return False

    def _left(self) -> int:
        try:
            return self._stage.clickhouse.faults_left()
        except OSError:
            return 0  # it is dead, and what it was to do with it

    def _disarm(self) -> int:
        """How many inserts were still to fail."""
        try:
            return self._stage.clickhouse.faults_left(forget=True)
        except OSError:
            return 0
