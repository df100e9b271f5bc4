"""Which faults strike what, and when: the same seed is the same plan."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORKERS = ("ingest-0", "ingest-1")
SINKS = ("sink-0", "sink-1")
KAFKA, CLICKHOUSE = "kafka", "clickhouse"
PROCESSES = (*WORKERS, *SINKS, KAFKA, CLICKHOUSE)
LINKS = (
    *(f"{worker}:opend" for worker in WORKERS),
    *(f"{process}:{KAFKA}" for process in (*WORKERS, *SINKS)),
    *(f"{sink}:{CLICKHOUSE}" for sink in SINKS),
)
"""Who connects, and to what; each goes through a proxy's port of its own."""

ROUND_S = 16.0
"""In which the faults of a round begin; what lasts longer than the rest of it makes the round longer."""
_FIRST_S = 0.5
_KILLS_A_ROUND, _OTHERS_A_ROUND = 2, 3
_AWAY_EVERY = 8
"""Every so many rounds a worker is killed and stays away, and nothing else is done to Kafka or the other worker."""
AWAY_S = 18.0


class Kind(enum.StrEnum):
    """What is done."""

    KILL = "kill"
    AWAY = "kill, and start only when the round is over"
    KILL_IN_INSERT = "kill inside an insert over two table partitions"
    FREEZE = "freeze (SIGSTOP, SIGCONT)"
    DELAY = "link delayed"
    CUT = "link cut"
    HALF_OPEN = "link half open, nothing passes"
    MUTE = "link half open, answers are lost"
    INSERT = "insert fails"
    FULL_DISK = "disk full under the journal"


KILLS = frozenset({Kind.KILL, Kind.AWAY, Kind.KILL_IN_INSERT})
LINK_FAULTS = (Kind.DELAY, Kind.CUT, Kind.HALF_OPEN, Kind.MUTE)


class InsertFault(enum.StrEnum):
    """How ClickHouse fails inserts."""

    ERROR_BEFORE = "500, nothing applied"
    ERROR_AFTER = "500 after it was applied"
    CUT_BEFORE = "cut, nothing applied"
    CUT_AFTER = "cut in the reply, applied"
    TIME_OUT_AFTER = "time-out after it was applied"
    READ_ONLY = "read-only"
    TOO_MANY_PARTS = "too many parts"
    DISK_FULL = "its disk is full"


_FOR_S: dict[Kind, tuple[float, float]] = {
    Kind.KILL: (0.2, 4.0),
    Kind.KILL_IN_INSERT: (0.2, 4.0),
    Kind.DELAY: (2.0, 8.0),
    Kind.CUT: (0.0, 4.0),
    Kind.HALF_OPEN: (3.0, 12.0),
    Kind.MUTE: (1.0, 12.0),
    Kind.INSERT: (8.0, 8.0),
    Kind.FULL_DISK: (2.0, 8.0),
}
"""How long: until what was killed is started again, or the link is whole again. Seconds."""
_FREEZE_FOR_S = {
    **dict.fromkeys(WORKERS, (11.0, 13.0)),  # longer than a transaction may take
    **dict.fromkeys(SINKS, (21.0, 23.0)),  # longer than a group waits for a member
    KAFKA: (2.0, 12.0),
    CLICKHOUSE: (2.0, 8.0),
}
_DELAY_S = (0.05, 0.8)
_REFUSED_INSERTS_MAX = 4


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault.

    Attributes
    ----------
    at_s, for_s : seconds after the round began; until it is over
    target : a process, or a link
    insert : of `INSERT`
    also : of `KILL_IN_INSERT`: the sink that dies with the server, if any
    amount : of `DELAY` seconds a piece, of `INSERT` how many
    """

    at_s: float
    kind: Kind
    target: str
    for_s: float = 0.0
    insert: InsertFault | None = None
    also: str = ""
    amount: float = 0.0

    @property
    def end_s(self) -> float:
        return self.at_s + self.for_s

    @property
    def kills(self) -> int:
        """Processes that it kills."""
        return int(self.kind in KILLS) + bool(self.also)

    def __str__(self) -> str:
        what = f"{self.kind.value}: {self.insert.value} × {self.amount:.0f}" if self.insert else self.kind.value
        also = f" and {self.also}" if self.also else ""
        return f"{self.at_s:5.1f} s  {self.target}{also}: {what} for {self.for_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Round:
    """Faults in the order in which they begin."""

    faults: tuple[Fault, ...]

    @property
    def duration_s(self) -> float:
        return max((fault.end_s for fault in self.faults), default=0.0)

    @property
    def away(self) -> Fault | None:
        """The fault that keeps a worker away, if this is such a round."""
        return next((fault for fault in self.faults if fault.kind is Kind.AWAY), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    seed: int
    rounds: tuple[Round, ...]

    @property
    def faults(self) -> int:
        return sum(len(each.faults) for each in self.rounds)

    @property
    def kills(self) -> int:
        return sum(fault.kills for each in self.rounds for fault in each.faults)


def make_plan(seed: int, rounds: int) -> Plan:
    """Every kind of fault on everything that it can strike, each as often as the others, in random order."""
    rng = random.Random(f"chaos/{seed}")
    kills, others, server = _deck(rng, _kills()), _deck(rng, _others()), _deck(rng, _of_clickhouse())
    away = _deck(rng, [(Kind.AWAY, worker) for worker in WORKERS])
    made = []
    for number in range(1, rounds + 1):
        if number % _AWAY_EVERY == 0:
            drawn = [_draw(rng, *next(away)), *(_draw(rng, *next(server)) for _ in range(_OTHERS_A_ROUND))]
        else:
            drawn = [_draw(rng, *next(kills)) for _ in range(_KILLS_A_ROUND)]
            drawn += [_draw(rng, *next(others)) for _ in range(_OTHERS_A_ROUND)]
        made.append(Round(_placed(rng, drawn)))
    return Plan(seed, tuple(made))


_Card = tuple[Kind, str] | tuple[Kind, str, InsertFault]


def _kills() -> list[_Card]:
    cards: list[_Card] = [(Kind.KILL, target) for target in PROCESSES]
    return [*cards, (Kind.KILL_IN_INSERT, CLICKHOUSE)]


def _of_clickhouse() -> list[_Card]:
    cards: list[_Card] = [(Kind.INSERT, CLICKHOUSE, each) for each in InsertFault]
    return [*cards, (Kind.KILL, CLICKHOUSE), (Kind.KILL_IN_INSERT, CLICKHOUSE)]


def _others() -> list[_Card]:
    # Twice what lasts or what an answer is lost by: there are many links, and few of these.
    twice: list[_Card] = [(Kind.FREEZE, target) for target in PROCESSES]
    twice += [(Kind.FULL_DISK, worker) for worker in WORKERS]
    twice += [(Kind.INSERT, CLICKHOUSE, each) for each in InsertFault]
    return [*twice, *twice, *((kind, link) for kind in LINK_FAULTS for link in LINKS)]


def _deck(rng: random.Random, cards: Sequence[_Card]) -> Iterator[_Card]:
    while True:
        yield from rng.sample(cards, len(cards))


def _draw(rng: random.Random, kind: Kind, target: str, insert: InsertFault | None = None) -> Fault:
    """A fault without its time."""
    if kind is Kind.AWAY:
        return Fault(0.0, kind, target, AWAY_S)
    also, amount = "", 0.0
    if kind is Kind.KILL_IN_INSERT:
        also = rng.choice((*SINKS, "", ""))
    elif kind is Kind.DELAY:
        amount = rng.uniform(*_DELAY_S)
    elif kind is Kind.INSERT:
        amount = rng.randint(1, _REFUSED_INSERTS_MAX)
    low_s, high_s = _FREEZE_FOR_S[target] if kind is Kind.FREEZE else _FOR_S[kind]
    return Fault(0.0, kind, target, rng.uniform(low_s, high_s), insert, also, amount)


def _placed(rng: random.Random, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Give each its time: the longest first, and never two on one process or link at once."""
    placed: list[Fault] = []
    for fault in sorted(faults, key=lambda each: -each.for_s):
        latest_s = max(ROUND_S - fault.for_s, _FIRST_S + 1.0)
        at_s = rng.uniform(_FIRST_S, latest_s)
        while any(_collide(other, fault, at_s) for other in placed):
            at_s += 1.0  # ends: what is placed ends some time
        placed.append(Fault(at_s, fault.kind, fault.target, fault.for_s, fault.insert, fault.also, fault.amount))
    return tuple(sorted(placed))


def _collide(other: Fault, fault: Fault, at_s: float) -> bool:
    targets = {fault.target, fault.also} - {""}
    return (
        bool(targets & {other.target, other.also})
        and at_s < other.end_s + 1.0
        and other.at_s < at_s + fault.for_s + 1.0
    )
