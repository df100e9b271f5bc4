"""How old the oldest row is that waits behind a hop, from counts alone."""

from __future__ import annotations

import threading
from collections import deque

_STEP_S = 0.25
_NOTES_MAX = 4096
"""Beyond it neighbours are joined: the age of an hour is then right to 2 s, that of a day to 1 min."""


class Backlog:
    """Remembers when a count of rows was reached, so that what is left of it has an age. For any thread.

    A row is as old as the note that first counted it: at most one step older than it is.
    """

    def __init__(self) -> None:
        self._notes: deque[tuple[int, float]] = deque()
        self._mutex = threading.Lock()

    def note(self, rows_total: int, now_s: float) -> None:
        """`rows_total` rows have come by now, on the monotonic clock; neither ever goes back."""
        with self._mutex:
            if self._notes and (rows_total == self._notes[-1][0] or now_s - self._notes[-1][1] < _STEP_S):
                # Within one step the later rows share the first one's time.
                self._notes[-1] = rows_total, self._notes[-1][1]
                return
            self._notes.append((rows_total, now_s))
            if len(self._notes) > _NOTES_MAX:
                notes = list(self._notes)
                joined = [(later[0], earlier[1]) for earlier, later in zip(notes[::2], notes[1::2], strict=False)]
                self._notes = deque(joined + notes[len(joined) * 2 :])

    def age_s(self, rows_done: int, now_s: float) -> float:
        """Age of the oldest row beyond the first `rows_done`; 0 when none is left."""
        with self._mutex:
            while self._notes and self._notes[0][0] <= rows_done:
                self._notes.popleft()
            return now_s - self._notes[0][1] if self._notes else 0.0
