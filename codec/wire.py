"""Protobuf's wire format in kernels: varints, tags, and stepping over any field.

Positions are checked against `stop`, the end of the enclosing message, by the callers named in
each docstring; loads themselves may run up to `PAD_BYTES` behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, load_u64, stack_array, trailing_zeros
from codec.kernel import inlined, kernel

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5

GROUPS_MAX = 64
"""Nested groups in unknown fields; protobuf itself stops at 100 levels of messages."""

_group_numbers = stack_array(GROUPS_MAX, np.int64)

_CONTINUATION = np.uint64(0x8080808080808080)
_PAYLOAD = np.uint64(0x7F7F7F7F7F7F7F7F)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

MALFORMED = -1
"""Returned instead of a position."""


@inlined
def squeeze(word: np.uint64) -> np.uint64:
    """Drop the continuation bit of each of 8 bytes and close the gaps: 56 bits."""
    word &= _PAYLOAD
    word = (word & np.uint64(0x007F007F007F007F)) | ((word & np.uint64(0x7F007F007F007F00)) >> np.uint64(1))
    word = (word & np.uint64(0x00003FFF00003FFF)) | ((word & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
    return (word & np.uint64(0x000000000FFFFFFF)) | ((word & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))


@inlined
def read_varint(source: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """The varint at `at` and the position behind it, or (0, MALFORMED) when it is longer than 10 bytes.

    Bits past the 64th are dropped, as protobuf does. The caller compares the position with its
    message's end.
    """
    word = load_u64(source, at)
    ends = ~word & _CONTINUATION
    if ends != np.uint64(0):
        length = (trailing_zeros(ends) >> np.uint64(3)) + np.uint64(1)
        keep = _ALL >> (np.uint64(64) - length * np.uint64(8))
        return squeeze(word & keep), at + np.int64(length)
    value = squeeze(word) | ((np.uint64(byte_at(source, at + 8)) & np.uint64(127)) << np.uint64(56))
    if byte_at(source, at + 8) < 128:
        return value, at + 9
    if byte_at(source, at + 9) >= 128:
        return np.uint64(0), MALFORMED
    return value | (np.uint64(byte_at(source, at + 9)) << np.uint64(63)), at + 10


@kernel
def call_read_varint(source: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """`read_varint` by a call: less to compile, where nanoseconds matter less."""
    return read_varint(source, at)


@kernel
def int32_of(value: np.uint64) -> int:
    """A varint as protobuf's int32: the low 32 bits, signed."""
    return np.int64(np.int32(np.int64(value & np.uint64(0xFFFFFFFF)) << 32 >> 32))


@kernel
def read_tag(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int, int]:
    """Field number, wire type and the position behind the tag, or (0, 0, MALFORMED): checked against `stop`."""
    value, after = read_varint(source, at)
    field = np.int64(value >> np.uint64(3))
    if after == MALFORMED or after > stop or after - at > 5 or field < 1 or value > np.uint64(0xFFFFFFFF):
        return 0, 0, MALFORMED
    return field, np.int64(value & np.uint64(7)), after


@kernel
def read_length(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """Begin and end of a length-delimited value, or (0, MALFORMED): checked against `stop`."""
    length, begin = read_varint(source, at)
    if begin == MALFORMED or begin > stop or length > np.uint64(stop - begin):
        return 0, MALFORMED
    return begin, begin + np.int64(length)


@kernel
def skip_value(source: NDArray[np.uint8], at: int, stop: int, field: int, wire_type: int) -> int:
    """The position behind the value of an unknown field, or MALFORMED: checked against `stop`.

    Groups are stepped over to `GROUPS_MAX` levels; each end must close the group that is open.
    """
    open_groups = _group_numbers()
    depth = 0
    while True:
        if wire_type == VARINT:
            _, at = read_varint(source, at)
            if at == MALFORMED:
                return MALFORMED
        elif wire_type == FIXED64:
            at += 8
        elif wire_type == FIXED32:
            at += 4
        elif wire_type == LENGTH_DELIMITED:
            _, at = read_length(source, at, stop)
            if at == MALFORMED:
                return MALFORMED
        elif wire_type == START_GROUP:
            if depth == GROUPS_MAX:
                return MALFORMED
            open_groups[depth] = field
            depth += 1
        elif wire_type == END_GROUP:
            if depth == 0 or open_groups[depth - 1] != field:
                return MALFORMED
            depth -= 1
        else:
            return MALFORMED
        if at > stop:
            return MALFORMED
        if depth == 0:
            return at
        field, wire_type, at = read_tag(source, at, stop)
        if at == MALFORMED:
            return MALFORMED
