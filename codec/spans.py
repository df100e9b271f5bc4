"""Where things lie in a receive buffer, and where a stream ends to make sense: the same for each gateway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Span:
    """Where a frame lies in the buffer it was read from, header included."""

    at: int
    size_bytes: int

    def of(self, source: NDArray[np.uint8], size_bytes_max: int | None = None) -> bytes:
        """What lies there, or the beginning of it."""
        size = self.size_bytes if size_bytes_max is None else min(self.size_bytes, size_bytes_max)
        return source[self.at : self.at + size].tobytes()


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """Nothing from `at` on can be trusted."""

    at: int
    reason: str
    detail: str
