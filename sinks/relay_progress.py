"""How far a relay has come in its journal: what Kafka holds for good, and what is on its way behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from sinks.journal import Entry


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a journal, and what the entries before it add up to.

    Attributes
    ----------
    offset : of the first entry that is not in Kafka
    journal_rows : rows of all entries before it, since the journal was made
    rows_of_place : the same for each place, a `topic/partition`
    crc32c : checksum of the value of the last entry before it; None when there is none
    """

    offset: int
    journal_rows: int = 0
    rows_of_place: Mapping[str, int] = field(default_factory=dict)
    crc32c: int | None = None

    def encode(self, **more: str) -> bytes:
        """As JSON, with what else there is to say."""
        return orjson.dumps(
            {
                "offset": self.offset,
                "journal_rows": self.journal_rows,
                "rows_of_place": dict(self.rows_of_place),
                "crc32c": self.crc32c,
                **more,
            }
        )

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Position:
        """What `encode` wrote. Raises ValueError, KeyError, TypeError or AttributeError for what it did not."""
        rows_of_place = {str(place): int(rows) for place, rows in kept["rows_of_place"].items()}
        return cls(int(kept["offset"]), int(kept["journal_rows"]), rows_of_place, kept["crc32c"])


class RelayProgress:
    """Entries go out in their order, are cut into transactions, and these are committed one after the other.

    Attributes
    ----------
    committed : everything before it is in Kafka, for good
    in_flight_rows : sent and not committed
    suspects : offsets of a batch that Kafka refused: to be sent one by one, so that only the culprit stays behind
    """

    def __init__(self, position: Position) -> None:
        self.suspects = range(0)
        self.restart(position)

    def restart(self, position: Position) -> None:
        """Go on at `position`: what was sent behind it is forgotten."""
        self.committed = position
        self._offset, self._journal_rows, self._crc32c = position.offset, position.journal_rows, position.crc32c
        self._rows_of_place = Counter(position.rows_of_place)

    @property
    def in_flight_rows(self) -> int:
        return self._journal_rows - self.committed.journal_rows

    def send(self, entry: Entry, place: str) -> int:
        """Note that `entry`, the one after the last, goes to `place`; the rows of its place up to and with it."""
        assert entry.offset >= self._offset, "entries go out in their order"
        self._offset, self._journal_rows, self._crc32c = entry.offset + 1, entry.rows_total, entry.record.crc32c
        self._rows_of_place[place] += entry.record.rows
        return self._rows_of_place[place]

    def cut(self) -> Position:
        """The position behind everything sent so far."""
        return Position(self._offset, self._journal_rows, dict(self._rows_of_place), self._crc32c)

    def commit(self, position: Position) -> None:
        """Kafka has everything before `position`, for good."""
        assert position.offset >= self.committed.offset, "transactions are committed in their order"
        self.committed = position
        if position.offset >= self.suspects.stop:
            self.suspects = range(0)
