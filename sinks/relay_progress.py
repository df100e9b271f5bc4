"""How far a relay has come: out-of-order acknowledgements become one position in the journal."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import orjson

from sinks.journal import Entry


@dataclass(slots=True)
class Sent:
    """One entry on its way. `rows_total` counts the rows of its place, these included."""

    offset: int
    journal_rows_total: int
    place: str
    rows: int
    value_bytes: int
    acked: bool = False


@dataclass(slots=True)
class RelayProgress:
    """What is acknowledged without a hole, and what is on its way behind it.

    Attributes
    ----------
    position : offset of the first entry that is not acknowledged
    journal_rows : rows of all entries before `position`, since the journal was made
    rows_of_place : the same for each place, a `topic/partition`
    in_flight_rows, in_flight_bytes : sent and not acknowledged
    """

    position: int
    journal_rows: int = 0
    rows_of_place: Counter[str] = field(default_factory=Counter)
    in_flight_rows: int = 0
    in_flight_bytes: int = 0
    _sent: deque[Sent] = field(default_factory=deque)
    _sent_rows_of_place: Counter[str] = field(default_factory=Counter)
    _acked_ahead: set[int] = field(default_factory=set)

    @classmethod
    def decode(cls, position: int, data: bytes | None) -> RelayProgress:
        """What `encode` kept for `position`; nothing was counted yet when `data` is None."""
        kept: dict[str, Any] = orjson.loads(data) if data else {"journal_rows": 0, "rows_of_place": {}}
        progress = cls(position, kept["journal_rows"], Counter(kept["rows_of_place"]))
        progress.restart()
        return progress

    def encode(self) -> bytes:
        return orjson.dumps({"journal_rows": self.journal_rows, "rows_of_place": dict(self.rows_of_place)})

    @property
    def oldest(self) -> Sent | None:
        """What holds the position back: the first entry that was sent and not acknowledged."""
        return self._sent[0] if self._sent else None

    def send(self, entry: Entry, place: str) -> tuple[Sent, int] | None:
        """Note that `entry`, the one after the last, goes to `place`; with the rows of its place up to it.

        None when Kafka acknowledged it before a restart: it must not be sent again.
        """
        record = entry.record
        self._sent_rows_of_place[place] += record.rows
        sent = Sent(entry.offset, entry.rows_total, place, record.rows, len(record.value))
        self._sent.append(sent)
        self.in_flight_rows += sent.rows
        self.in_flight_bytes += sent.value_bytes
        if entry.offset in self._acked_ahead:
            self._acked_ahead.remove(entry.offset)
            self.ack(sent)
            return None
        return sent, self._sent_rows_of_place[place]

    def ack(self, sent: Sent) -> None:
        """Kafka has `sent`: the position moves over it and what follows, once nothing before it is missing."""
        assert not sent.acked, "acknowledged twice"
        sent.acked = True
        self.in_flight_rows -= sent.rows
        self.in_flight_bytes -= sent.value_bytes
        while self._sent and self._sent[0].acked:
            done = self._sent.popleft()
            self.position, self.journal_rows = done.offset + 1, done.journal_rows_total
            self.rows_of_place[done.place] += done.rows

    def restart(self) -> None:
        """Forget what is on its way, to read on at `position`; what was acknowledged ahead of it stays known."""
        self._acked_ahead |= {sent.offset for sent in self._sent if sent.acked}
        self._sent.clear()
        self._sent_rows_of_place = self.rows_of_place.copy()
        self.in_flight_rows = self.in_flight_bytes = 0
