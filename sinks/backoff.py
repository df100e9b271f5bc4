"""How long to wait before trying a server again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts. A value: it sleeps for nobody."""

    first_s: float = 0.1
    growth: float = 2.0
    delay_s_max: float = 10.0

    def delays_s(self, rng: random.Random) -> Iterator[float]:
        """Yield delays for ever, each uniform between half its ceiling and the ceiling.

        Never near 0: many writers wait for one server, and it should find them spread, not hasty.
        """
        ceiling_s = self.first_s
        while True:
            yield rng.uniform(ceiling_s / 2, ceiling_s)
            ceiling_s = min(ceiling_s * self.growth, self.delay_s_max)
