"""Small pieces of messages, written by kernels: varints, bytes, digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.kernel import inlined


@inlined
def varint_bytes(value: np.uint64) -> int:
    """How many bytes `value` takes as a varint."""
    size = 1
    while value >= np.uint64(128):
        value >>= np.uint64(7)
        size += 1
    return size


@inlined
def put_varint(out: NDArray[np.uint8], at: int, value: np.uint64) -> int:
    """Write `value` at `at`; returns the position behind it, as all of these do."""
    while value >= np.uint64(128):
        out[at] = np.uint8((value & np.uint64(127)) | np.uint64(128))
        value >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@inlined
def put_bytes(out: NDArray[np.uint8], at: int, source: NDArray[np.uint8], size: int) -> int:
    """Write the first `size` bytes of `source`."""
    for i in range(size):
        out[at + i] = source[i]
    return at + size


@inlined
def put_digits(out: NDArray[np.uint8], at: int, value: int, digits: int) -> int:
    """Write the last `digits` decimal digits of `value` at `at`, zeros in front."""
    for i in range(digits - 1, -1, -1):
        out[at + i] = np.uint8(48 + value % 10)
        value //= 10
    return at + digits
