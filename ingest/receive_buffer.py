"""The bytes of one connection that were received and not yet read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES

_FREE_BYTES_MIN = 64 << 10


class ReceiveBuffer:
    """A preallocated array that a socket writes into and kernels read from.

    `data[start:stop]` is what waits to be read; `PAD_BYTES` are always readable behind it. Grows
    up to `capacity_max`, which must hold the longest frame.
    """

    def __init__(self, *, capacity: int = 1 << 20, capacity_max: int) -> None:
        assert capacity <= capacity_max
        self.data: NDArray[np.uint8] = np.zeros(capacity + PAD_BYTES, np.uint8)
        self.start = 0
        self.stop = 0
        self._capacity_max = capacity_max

    @property
    def capacity(self) -> int:
        """How many bytes there is room for; `stop` is at most this."""
        return len(self.data) - PAD_BYTES

    def free(self, wanted: int = _FREE_BYTES_MIN) -> memoryview:
        """Where the next bytes go. Moves what waits to the front, or grows, when less than `wanted` is left.

        Never empty: a frame longer than `capacity_max` is refused by its header before the buffer
        fills.
        """
        capacity = self.capacity
        if self.start == self.stop:
            self.start = self.stop = 0
        if capacity - self.stop < wanted:
            waiting = self.stop - self.start
            if capacity - waiting < wanted and capacity < self._capacity_max:
                capacity = min(max(2 * capacity, waiting + wanted), self._capacity_max)
                grown = np.zeros(capacity + PAD_BYTES, np.uint8)
                grown[:waiting] = self.data[self.start : self.stop]
                self.data = grown
            else:
                self.data[:waiting] = self.data[self.start : self.stop].copy()
            self.start, self.stop = 0, waiting
        return self.data.data[self.stop : capacity]

    def filled(self, count: int) -> None:
        """The socket wrote `count` bytes to what `free` gave."""
        self.stop += count
