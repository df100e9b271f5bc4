"""Protobuf's wire format in kernels: varints, tags, and stepping over any field.

Positions are checked against `stop`, the end of the enclosing message, by the callers named in
each docstring; loads themselves may run up to `PAD_BYTES` behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import HAS_GATHER, byte_at, gather_bits, load_u32, load_u64, stack_array, stay_apart, trailing_zeros
from codec.kernel import inlined, kernel

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5

GROUPS_MAX = 64
"""Nested groups in unknown fields; protobuf itself stops at 100 levels of messages."""

_group_numbers = stack_array(GROUPS_MAX, np.int64)

CONTINUATION = np.uint64(0x8080808080808080)
_CONTINUATION_32 = np.uint64(0x80808080)
_PAYLOAD = np.uint64(0x7F7F7F7F7F7F7F7F)

MALFORMED = -1
"""Returned instead of a position."""


@inlined
def _squeeze_by_steps(word: np.uint64) -> np.uint64:
    word &= _PAYLOAD
    word = (word & np.uint64(0x007F007F007F007F)) | ((word & np.uint64(0x7F007F007F007F00)) >> np.uint64(1))
    word = (word & np.uint64(0x00003FFF00003FFF)) | ((word & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
    return (word & np.uint64(0x000000000FFFFFFF)) | ((word & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))


@inlined
def squeeze(word: np.uint64) -> np.uint64:
    """Drop the continuation bit of each of 8 bytes and close the gaps: 56 bits."""
    return gather_bits(word, _PAYLOAD) if HAS_GATHER else _squeeze_by_steps(word)


@inlined
def read_varint(source: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """The varint at `at` and the position behind it, or (0, MALFORMED) when it is longer than 10 bytes.

    Bits past the 64th are dropped, as protobuf does. The caller compares the position with its
    message's end.
    """
    word = load_u64(source, at)
    ends = ~word & CONTINUATION
    if ends != np.uint64(0):
        through_end = ends ^ (ends - np.uint64(1))
        return squeeze(word & through_end), at + np.int64(trailing_zeros(ends) >> np.uint64(3)) + 1
    value = squeeze(word) | ((np.uint64(byte_at(source, at + 8)) & np.uint64(127)) << np.uint64(56))
    if byte_at(source, at + 8) < 128:
        return value, at + 9
    if byte_at(source, at + 9) >= 128:
        return np.uint64(0), MALFORMED
    return value | (np.uint64(byte_at(source, at + 9)) << np.uint64(63)), at + 10


@inlined
def read_size(source: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """A length of less than 2**28 and the position behind it; (-1, at) for a longer varint."""
    word = np.uint64(load_u32(source, at))
    ends = ~word & _CONTINUATION_32
    if ends == np.uint64(0):
        return np.int64(-1), at
    through_end = ends ^ (ends - np.uint64(1))
    return np.int64(squeeze(word & through_end)), at + np.int64(trailing_zeros(ends) >> np.uint64(3)) + 1


@kernel
def call_read_varint(source: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """`read_varint` by a call: less to compile, where nanoseconds matter less."""
    return read_varint(source, at)


@inlined
def int32_of(value: np.uint64) -> int:
    """A varint as protobuf's int32: the low 32 bits, signed."""
    return np.int64(np.int32(np.int64(value & np.uint64(0xFFFFFFFF)) << 32 >> 32))


@kernel
def _read_long_tag(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    stay_apart()
    value, after = read_varint(source, at)
    if after == MALFORMED or after > stop or after - at > 5 or value < np.uint64(8) or value > np.uint64(0xFFFFFFFF):
        return 0, MALFORMED
    return np.int64(value), after


@inlined
def read_tag(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """A tag (8 * field number + wire type) and the position behind it, or (0, MALFORMED); at < stop."""
    tag = byte_at(source, at)
    if 8 <= tag < 0x80:
        return tag, at + 1
    more = byte_at(source, at + 1)
    if tag >= 0x80 and 0 < more < 0x80 and at + 1 < stop:
        return (tag & 0x7F) | (more << 7), at + 2
    return _read_long_tag(source, at, stop)


@inlined
def read_length(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """Begin and end of a length-delimited value, or (0, MALFORMED): checked against `stop`."""
    length, begin = read_varint(source, at)
    if begin == MALFORMED or begin > stop or length > np.uint64(stop - begin):
        return 0, MALFORMED
    return begin, begin + np.int64(length)


@inlined
def _skip_plain(source: NDArray[np.uint8], at: int, stop: int, wire_type: int) -> int:
    if wire_type == VARINT:
        _, at = read_varint(source, at)
    elif wire_type == FIXED64:
        at += 8
    elif wire_type == FIXED32:
        at += 4
    elif wire_type == LENGTH_DELIMITED:
        _, at = read_length(source, at, stop)
    else:
        return np.int64(MALFORMED)
    return at if at <= stop else np.int64(MALFORMED)


@inlined
def skip_value(source: NDArray[np.uint8], at: int, stop: int, tag: int) -> int:
    """The position behind the value of the field with this tag, or MALFORMED: checked against `stop`."""
    if tag & 7 == START_GROUP:
        return _skip_group(source, at, stop, tag >> 3)
    return _skip_plain(source, at, stop, tag & 7)


@kernel
def _skip_group(source: NDArray[np.uint8], at: int, stop: int, field: int) -> int:
    """The position behind the group of this number whose fields begin at `at`, or MALFORMED.

    Groups in it are stepped over to `GROUPS_MAX` levels; each end must close the group that is open.
    A kernel of its own: the stack of numbers is zeroed at each call.
    """
    stay_apart()
    open_groups = _group_numbers()
    open_groups[0] = field
    depth = 1
    while depth > 0:
        if at >= stop:
            return np.int64(MALFORMED)
        tag, at = read_tag(source, at, stop)
        if at == MALFORMED:
            return np.int64(MALFORMED)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == START_GROUP:
            if depth == GROUPS_MAX:
                return np.int64(MALFORMED)
            open_groups[depth] = field
            depth += 1
        elif wire_type == END_GROUP:
            depth -= 1
            if open_groups[depth] != field:
                return np.int64(MALFORMED)
        else:
            at = _skip_plain(source, at, stop, wire_type)
            if at == MALFORMED:
                return np.int64(MALFORMED)
    return at
