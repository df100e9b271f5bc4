"""The messages of a WebSocket in a kernel: RFC 6455 frames of a server, which are not masked.

Only what a gateway sends all day is read here: a binary message in one frame. Whatever else there is,
or may not be, is left to the caller: control frames, fragments, text, reserved bits, masks, and
lengths over the limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, load_u16, load_u64, store_u64
from codec.kernel import inlined, kernel

ALL_READ = 0
"""What is left is no whole frame."""
ENDS_FULL = 1
"""`ends` can hold no more."""
NO_ROOM = 2
"""The next message does not fit."""
OTHER = 3
"""A frame begins that is not read here."""

_BINARY_WHOLE = 0x82
"""FIN, no reserved bit, opcode 2."""
_SIZE_IN_2_BYTES, _SIZE_IN_8_BYTES = 126, 127
HEADER_BYTES_MAX = 10
"""Of a frame without a mask."""


@inlined
def _copy(source: NDArray[np.uint8], at: int, into: NDArray[np.uint8], into_at: int, size: int) -> None:
    """Eight bytes at a time: up to seven more than `size` are read, and written."""
    done = np.int64(0)
    while done < size:
        store_u64(into, into_at + done, load_u64(source, at + done))
        done += 8


@kernel
def take_messages(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    message_bytes_max: int,
    into: NDArray[np.uint8],
    into_at: int,
    into_stop: int,
    ends: NDArray[np.int64],
    count: int,
) -> tuple[int, int, int, int]:
    """Lay the messages of source[start:stop] one behind the other into `into`, from `into_at` on.

    Parameters
    ----------
    source : (n,) uint8 with `PAD_BYTES` behind `stop`, read only; another array than `into`
    into : (n,) uint8 with `PAD_BYTES` behind `into_stop`; up to 7 bytes behind what is laid there are written too
    ends : (capacity,) int64, written from `count` on: where in `into` each message ends

    Returns
    -------
    status : ALL_READ, ENDS_FULL, NO_ROOM or OTHER
    at : the position of the next frame
    into_at : where the last message ends
    count : of `ends`
    """
    at, laid, count = np.int64(start), np.int64(into_at), np.int64(count)
    while stop - at >= 2:
        head = np.int64(load_u16(source, at))
        size, begin = head >> 8, at + 2
        if head & 0xFF != _BINARY_WHOLE or size > _SIZE_IN_8_BYTES:
            return OTHER, at, laid, count
        if size >= _SIZE_IN_2_BYTES:
            size_bytes = 2 if size == _SIZE_IN_2_BYTES else 8
            if stop - begin < size_bytes:
                break
            size = np.int64(0)
            for place in range(begin, begin + size_bytes):
                size = (size << 8) | byte_at(source, place)
            begin += size_bytes
        if size < 0 or size > message_bytes_max:
            return OTHER, at, laid, count
        if size > stop - begin:
            break
        if count == len(ends):
            return ENDS_FULL, at, laid, count
        if size > into_stop - laid:
            return NO_ROOM, at, laid, count
        _copy(source, begin, into, laid, size)
        at, laid = begin + size, laid + size
        ends[count] = laid
        count += 1
    return ALL_READ, at, laid, count
