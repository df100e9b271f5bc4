"""What a writer did and how it is, as plain values for whoever looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

import structlog

from codec.errors import TicktapeError
from codec.histogram import LatencyHistogram

log = structlog.get_logger(__name__)


class Availability:
    """Whether a neighbour can be used, as told by everyone who calls it; logs one line when that changes."""

    def __init__(self, neighbour: str) -> None:
        self.neighbour = neighbour
        self.trouble: str | None = None
        self._failing: set[Hashable] = set()

    def failed(self, caller: Hashable, error: TicktapeError) -> None:
        """`caller` could not use it, and tries again."""
        if not self._failing:
            log.warning("not available, trying again", neighbour=self.neighbour, error=str(error))
        self._failing.add(caller)
        self.trouble = str(error)

    def worked(self, caller: Hashable) -> None:
        """`caller` could use it."""
        in_trouble = self.trouble is not None
        self.forget(caller)
        if in_trouble and self.trouble is None:
            log.info("available again", neighbour=self.neighbour)

    def forget(self, caller: Hashable) -> None:
        """`caller` wants nothing of it any more, and cannot say how it is."""
        self._failing.discard(caller)
        if not self._failing:
            self.trouble = None


@dataclass(slots=True)
class WriterStats:
    """Counts since the start; read at any time, from any thread.

    Attributes
    ----------
    stored_rows : rows that ClickHouse acknowledged, by table
    dead_letters : rows and records set aside, by (feed, reason)
    inserts : blocks that ClickHouse acknowledged
    held_rows, held_bytes : fetched and not acknowledged
    latency : from the socket to the acknowledgement, a count a row
    clickhouse, record_log : whether the neighbours are available
    started : the tables fit and the log is open
    """

    stored_rows: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    inserts: int = 0
    held_rows: int = 0
    held_bytes: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    clickhouse: Availability = field(default_factory=lambda: Availability("clickhouse"))
    record_log: Availability = field(default_factory=lambda: Availability("record log"))
    started: bool = False

    @property
    def ready(self) -> bool:
        """Whether rows get through just now."""
        return self.started and self.clickhouse.trouble is None and self.record_log.trouble is None
