"""Whether an answer to a poll says anything new: what makes a target an active one."""

from __future__ import annotations

from codec.flow_columns import FlowBuffer
from codec.opend.replies import FlowLines, OneRow
from ingest.opend.poller import PollTarget

_TIMES = frozenset({"ts_event", "ts_recv"})
"""These move on whether anybody traded or not."""


class PollNews:
    """The newest amounts of each target, as a hash.

    Flow lines are cumulative, one a minute: with nothing traded the newest line holds the amounts of
    the one before. The pipeline compares every line; this is only for who is asked first.
    """

    def __init__(self) -> None:
        self._newest: dict[PollTarget, int] = {}

    def lines(self, target: PollTarget, answer: FlowLines, flows: FlowBuffer) -> bool:
        """Whether the newest line differs from the newest of the last answer."""
        if answer.rows == 0:
            return False
        return self._differs(target, hash(flows.real[:, answer.first_row + answer.rows - 1].tobytes()))

    def row(self, target: PollTarget, answer: OneRow) -> bool:
        """Whether the row differs from the last one in more than its times."""
        return self._differs(target, hash(tuple(value for name, value in answer.row.items() if name not in _TIMES)))

    def _differs(self, target: PollTarget, amounts: int) -> bool:
        before = self._newest.get(target)
        self._newest[target] = amounts
        return before != amounts
