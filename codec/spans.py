"""Where things lie in a receive buffer, and where a stream ends to make sense: the same for each gateway."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Where a frame lies in the buffer it was read from, header included."""

    at: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """Nothing from `at` on can be trusted."""

    at: int
    reason: str
    detail: str
