"""Whether an answer to a poll says anything new: what makes a target an active one. No socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

from codec.flow_columns import FlowBuffer
from ingest.poll_queues import Target

_TIMES = frozenset({"ts_event", "ts_recv"})
"""These move on whether anybody traded or not."""


class PollNews(Generic[Target]):
    """The newest amounts of each target, as a hash.

    Flow lines are cumulative, one a minute: with nothing traded the newest line holds the amounts of
    the one before. The pipeline compares every line; this is only for who is asked first.
    """

    def __init__(self) -> None:
        self._newest: dict[Target, int] = {}

    def lines(self, target: Target, flows: FlowBuffer, first_row: int, rows: int) -> bool:
        """Whether the newest of these lines differs from the newest of the last answer."""
        if rows == 0:
            return False
        return self._differs(target, hash(flows.real[:, first_row + rows - 1].tobytes()))

    def row(self, target: Target, row: Mapping[str, object]) -> bool:
        """Whether the row differs from the last one in more than its times."""
        return self._differs(target, hash(tuple(value for name, value in row.items() if name not in _TIMES)))

    def _differs(self, target: Target, amounts: int) -> bool:
        before = self._newest.get(target)
        self._newest[target] = amounts
        return before != amounts
