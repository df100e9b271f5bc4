"""Delays between attempts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays before reconnecting. A value: it sleeps for nobody."""

    first_s: float = 0.5
    growth: float = 2.0
    delay_s_max: float = 30.0

    def delays_s(self, rng: random.Random) -> Iterator[float]:
        """Yield 0, then delays forever, each uniform in [0, ceiling): full jitter."""
        yield 0.0
        ceiling_s = self.first_s
        while True:
            yield rng.uniform(0, ceiling_s)
            ceiling_s = min(ceiling_s * self.growth, self.delay_s_max)
