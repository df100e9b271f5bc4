"""What a reply to a pull says of a hole: whether it goes back to before it, and where the ticks go on.

Where sequences are an order of ticks, that is a matter of sequences. Where they are none, and pulled ticks
have none (LongPort), it is one of times, which are whole seconds: a reply tells of a second only when it has
all of its ticks. A full reply has not all of its first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.counter import LATE_S, TickAt

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class PulledTicks:
    """The ticks of one reply.

    Attributes
    ----------
    sequences, events_us, fresh : (rows,) of the buffer; what is not fresh we had
    by_time : whether the order of ticks is that of their times
    is_full : it holds as many as a reply may: there were older ones
    """

    sequences: NDArray[np.int64]
    events_us: NDArray[np.int64]
    fresh: NDArray[np.bool_]
    by_time: bool
    is_full: bool

    def reaches(self, had: TickAt | None) -> bool:
        """Whether the reply goes back to `had`, or to a tick before it, that we had; by time, so far that nothing
        before it can still come late."""
        if had is None:
            return False
        if not self.by_time:
            return bool(np.any(~self.fresh & (self.sequences <= had.sequence)))
        seconds, had_s = self.events_us // _SECOND_US, had.ts_us // _SECOND_US
        is_known = ~self.fresh & (seconds <= had_s)
        if self.is_full and len(seconds):
            is_known &= (seconds > seconds.min()) & (seconds.min() < had_s - LATE_S)
        return bool(np.any(is_known))

    def first_behind(self, had: TickAt | None, newest: TickAt | None = None) -> TickAt | None:
        """The oldest tick of the reply behind `had`; all that is missing lies before it.

        Times don't tell under which key we have a tick, so it is then the oldest one that is new, and where none
        is, `newest`, the last one that we have at all: if it is no older than the reply.
        """
        if self.by_time:
            order, is_behind = self.events_us, self.fresh & (self.events_us >= (had.ts_us if had else 0))
        else:
            order = self.sequences
            is_behind = order > had.sequence if had is not None else np.ones(len(order), np.bool_)
        behind = np.flatnonzero(is_behind)
        if len(behind) == 0:
            if not self.by_time or newest is None or len(order) == 0 or newest.ts_us < order.min():
                return None
            return newest
        oldest = int(behind[np.argmin(order[behind])])
        return TickAt(int(self.sequences[oldest]), int(self.events_us[oldest]))
