"""What is counted of a gateway; read by the exporter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class GatewayStats:
    """Counters of one gateway."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (call, outcome): outcome is ok, refused, too_frequent or timeout."""
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (feed, reason)."""
    unknown_messages: Counter[int] = field(default_factory=Counter)
    """By protocol id, or command."""
    connects: int = 0
    disconnects: int = 0
