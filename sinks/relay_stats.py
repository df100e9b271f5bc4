"""What a relay did and how it is, as plain values for whoever looks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import structlog

from codec.histogram import LatencyHistogram
from sinks.kafka import KafkaUnavailable
from sinks.relay_errors import TransactionLost

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RelayStats:
    """Counts since the start; read at any time, from any thread.

    Attributes
    ----------
    published_rows : rows in committed transactions, by table
    missing_records : journal entries that could not be read any more
    latency : from a record's newest row at the socket to the commit of its transaction, a count a record
    trouble : why rows do not get through just now; None when they do
    last_trouble : the last reason there was, kept when it is over
    """

    published_rows: Counter[str] = field(default_factory=Counter)
    missing_records: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    trouble: str | None = "not connected yet"
    last_trouble: str | None = None
    _said: str | None = None

    @property
    def ready(self) -> bool:
        """Whether rows get through just now."""
        return self.trouble is None

    def report(self, error: Exception | None) -> None:
        """Say how it is now; a line is logged when that is another state, not each time an outage looks different."""
        if error is None:
            state, self.trouble = "relaying", None
        else:
            self.trouble = self.last_trouble = str(error) or type(error).__name__
            state = "away" if isinstance(error, KafkaUnavailable | TransactionLost) else self.trouble
        if state == self._said:
            return
        self._said = state
        if error is None:
            log.info("relaying to Kafka")
        else:
            log.warning("not relaying to Kafka, trying again", error=self.trouble)
