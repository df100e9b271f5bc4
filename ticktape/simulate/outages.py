"""When the simulated OpenD is not what it should be: without a login, a right, its backend, or there at all;
and when its links stay silent.

Each outage comes by chance, so often a second, or at a time that the command line names. Time is an
argument; what it means to clients is opend_condition.py's business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ticktape.simulate.faults import Faults

OUTAGE_S = 3.0
"""How long one lasts that comes by chance."""
STALL_S = 40.0
"""The same of a stall: longer than clients wait, who take a link for dead after some 30 s."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An outage begins or ends."""

    outage: str
    begins: bool


class Outages:
    """One at a time: none while another of its kinds lasts.

    Parameters
    ----------
    kinds : the names of the faults
    lasts_s : how long one lasts that comes by chance
    """

    def __init__(self, faults: Faults, kinds: Collection[str], lasts_s: float) -> None:
        self._faults, self._kinds, self._lasts_s = faults, kinds, lasts_s
        self._once = {name: faults.once[name] for name in kinds if name in faults.once}
        self._since_s: float | None = None
        self._until_s = 0.0
        self.now: str | None = None

    def step(self, now_s: float, elapsed_s: float, *, anybody: bool) -> list[Turn]:
        """A step of `elapsed_s` ends at `now_s`; nothing begins before `anybody` has subscribed once."""
        if self._since_s is None:
            if not anybody:
                return []
            self._since_s = now_s
        turns = []
        if self.now is not None and now_s >= self._until_s:
            turns.append(Turn(self.now, begins=False))
            self.now = None
        if self.now is None and (beginning := self._beginning(now_s - self._since_s, elapsed_s)) is not None:
            self.now, lasts_s = beginning
            self._until_s = now_s + lasts_s
            turns.append(Turn(self.now, begins=True))
        return turns

    def _beginning(self, since_s: float, elapsed_s: float) -> tuple[str, float] | None:
        """What begins now, and how long it lasts."""
        for name, (at_s, lasts_s) in self._once.items():
            if at_s <= since_s:
                del self._once[name]
                return name, lasts_s
        for name in self._kinds:
            if self._faults.strikes(name, elapsed_s):
                return name, self._lasts_s
        return None
