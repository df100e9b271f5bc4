"""Which faults a simulated day has, and when: the same seed is the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ticktape.simulate.faults import PLANNABLE, RESTART

KILL = "kill-9"
"""Our daemon is killed and started again."""
_KILL_SHARE = 0.12
_FIRST, _LAST = 0.06, 0.9
"""Parts of the day: before, everything is subscribed; after, everything is filled again."""
_LAST_RESTART = 0.75
"""Only ticks that follow tell what is missing when a gateway forgets what it had: each symbol must have some."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A seeded day.

    Attributes
    ----------
    duration_s : real seconds for which the market is open
    faults : (real seconds after the first subscription, fault), ascending
    """

    seed: int
    symbols: int
    rate: float
    speed: float
    duration_s: float
    faults: tuple[tuple[float, str], ...]

    @property
    def kills_s(self) -> list[float]:
        return [at_s for at_s, fault in self.faults if fault == KILL]

    @property
    def simulator_options(self) -> list[str | int | float]:
        """Of `ticktape simulate opend`; repeats and odd pieces all day, the rest as planned."""
        planned = ",".join(f"{at_s:.3f}:{fault}" for at_s, fault in self.faults if fault != KILL)
        always = ("--faults", "duplicate=0.02,split=0.001")
        return [
            "--seed", self.seed, "--symbols", self.symbols, "--rate", self.rate, "--speed", self.speed,
            *always, "--faults-at", planned,
        ]  # fmt: skip


def make_plan(
    *,
    seed: int,
    symbols: int,
    rate: float,
    speed: float,
    duration_s: float,
    faults: int,
    kinds: Sequence[str] = PLANNABLE,
) -> Plan:
    """`faults` of them: some kills, and of the simulator's `kinds` each as often as the others, in random order."""
    rng = random.Random(f"day/{seed}")
    kills = max(1, round(faults * _KILL_SHARE))
    chosen = [KILL] * kills + [kinds[number % len(kinds)] for number in range(faults - kills)]
    rng.shuffle(chosen)
    # One in each equal part of the day, so that they neither pile up nor leave it.
    part_s = (_LAST - _FIRST) * duration_s / max(faults, 1)
    times_s = [_FIRST * duration_s + (number + rng.random()) * part_s for number in range(faults)]
    late = [number for number, at_s in enumerate(times_s) if at_s > _LAST_RESTART * duration_s]
    early = [number for number in range(faults - len(late)) if chosen[number] != RESTART]
    for number in late:
        if chosen[number] == RESTART:
            other = early.pop()
            chosen[number], chosen[other] = chosen[other], chosen[number]
    return Plan(seed, symbols, rate, speed, duration_s, tuple(zip(times_s, chosen, strict=True)))
