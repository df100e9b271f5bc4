"""Which WebSocket messages are whole packets: only those may be read as one stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.kernel import kernel
from codec.longport.packets import body_bytes, header_bytes, trailer_bytes


@kernel
def whole_messages(source: NDArray[np.uint8], start: int, ends: NDArray[np.int64], first: int) -> int:
    """How many messages, from the first on, consist of whole packets: the index of the first that does not.

    Parameters
    ----------
    source : (n,) uint8, messages that lie one behind the other
    start : where message `first` begins
    ends : (n_messages,) int64, where each ends
    """
    at = np.int64(start)
    for index in range(first, len(ends)):
        stop = ends[index]
        while at < stop:
            header = header_bytes(source, at)
            if header == 0 or header > stop - at:
                return index
            at += header + body_bytes(source, at + header) + trailer_bytes(source, at)
        if at > stop:
            return index
    return len(ends)
