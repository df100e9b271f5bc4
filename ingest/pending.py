"""Requests of one session that wait for their answers. No clock: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

PENDING_MAX = 1024
"""Requests without an answer; more is a caller that does not wait."""

Call = TypeVar("Call", bound=int)
"""What is asked for, by its number on the wire: a protocol id, or a command."""


@dataclass(frozen=True, slots=True)
class _Pending(Generic[Call]):
    call: Call
    deadline_ns: int


class PendingRequests(Generic[Call]):
    """What waits, by the number that its answer will carry."""

    def __init__(self) -> None:
        self._pending: dict[int, _Pending[Call]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, number: int, call: Call, deadline_ns: int) -> None:
        """A request was sent; from `deadline_ns` on its answer is late."""
        self._pending[number] = _Pending(call, deadline_ns)

    def has(self, number: int, call: int) -> bool:
        """Whether an answer to `call` with this number answers a request that waits."""
        pending = self._pending.get(number)
        return pending is not None and pending.call == call

    def take(self, number: int, call: int) -> bool:
        """The same; the request waits no more."""
        is_answer = self.has(number, call)
        if is_answer:
            del self._pending[number]
        return is_answer

    def take_late(self, now_ns: int) -> list[tuple[int, Call]]:
        """Give up those whose answers are late, in the order in which they were sent."""
        late = [(number, each.call) for number, each in self._pending.items() if each.deadline_ns <= now_ns]
        for number, _ in late:
            del self._pending[number]
        return late

    def deadlines_ns(self) -> list[int]:
        """When each answer is late."""
        return [each.deadline_ns for each in self._pending.values()]

    def postpone(self, by_ns: int) -> None:
        """Nothing was read for so long, by our own choice: each answer has as long to come as it had left."""
        self._pending = {
            number: _Pending(each.call, each.deadline_ns + by_ns) for number, each in self._pending.items()
        }

    def clear(self) -> None:
        """The session is over, and with it whatever waits."""
        self._pending.clear()
