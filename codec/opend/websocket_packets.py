"""The packets of OpenD's WebSocket port, and a kernel that makes frames of them (docs/protocols/opend.md 11).

A packet is one WebSocket message, big-endian, with a header as long as that of a frame, so that a reply
becomes a frame where it lies: another header, the same body. It has no SHA-1; the frame's is zero.
"""

from __future__ import annotations

import enum
import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, load_u32, load_u64, stay_apart, store_u32, store_u64
from codec.kernel import inlined, kernel
from codec.opend.protocol import HEADER_BYTES, MAGIC_WORD

SIGN = b"ft-v1.0\0"
REQUEST_HEADER = struct.Struct(">8sIQ")
REPLY_HEADER = struct.Struct(">8sIQi20s")
assert REPLY_HEADER.size == HEADER_BYTES

SERIAL_MAX = (1 << 32) - 1
"""Of a frame; a section, which numbers a request, has twice as many bits."""

_SIGN_WORD = np.uint64(int.from_bytes(SIGN, "little"))
_MAGIC_WORD = np.uint64(MAGIC_WORD)
_ZERO, _ZERO_32 = np.uint64(0), np.uint32(0)


class Command(enum.IntEnum):
    """What is no protocol id of OpenD: below 100."""

    INIT = 1
    LINK_LOST = 2
    """A push: the front has lost its link to OpenD."""


class FrontError(enum.IntEnum):
    """The header's error; 0 is none."""

    NO_REPLY = 1
    OPEND_TIMED_OUT = 2
    LINK_LOST = 3


_INIT, _LINK_LOST = int(Command.INIT), int(Command.LINK_LOST)


def pack_request(command: int, section: int, body: bytes) -> bytes:
    """One request as it travels."""
    return REQUEST_HEADER.pack(SIGN, command, section) + body


def key_digest(key: str) -> str:
    """What is sent of a key; of none, nothing."""
    return "" if not key else hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


@inlined
def _big_endian(word: np.uint64, bytes_: int) -> int:
    """The number whose first byte is the word's lowest, of at most 7 bytes."""
    value = np.int64(0)
    for place in range(bytes_):
        value = (value << 8) | np.int64((word >> np.uint64(8 * place)) & np.uint64(0xFF))
    return value


@kernel
def _move_down(data: NDArray[np.uint8], at: int, to: int, size: int) -> None:
    """Move bytes to where they overlap themselves, further down."""
    stay_apart()
    done = np.int64(0)
    while done + 8 <= size:
        store_u64(data, to + done, load_u64(data, at + done))
        done += 8
    while done < size:
        data[to + done] = byte_at(data, at + done)
        done += 1


@kernel
def frames_from_packets(
    data: NDArray[np.uint8], start: int, ends: NDArray[np.int64], first: int, into_at: int
) -> tuple[int, int, int]:
    """Make frames of packets where they lie, one behind the other from `into_at` on, until one is not usual.

    Usual are replies and pushes without an error, with a protocol id, answering what a frame can ask.

    Parameters
    ----------
    data : (n,) uint8, changed in place
    start : where packet `first` begins; into_at <= start
    ends : (n_packets,) int64, where each ends

    Returns
    -------
    index : of the packet that is not usual, which is as it came; len(ends) when there is none
    at : where it begins
    into_at : where the last frame ends
    """
    at, to = np.int64(start), np.int64(into_at)
    for index in range(first, len(ends)):
        size = ends[index] - at
        if size < HEADER_BYTES or load_u64(data, at) != _SIGN_WORD:
            return index, at, to
        command = _big_endian(np.uint64(load_u32(data, at + 8)), 4)
        errors = load_u32(data, at + 12) | load_u32(data, at + 20)  # a section's high half, and the error
        if command in (_INIT, _LINK_LOST) or errors != _ZERO_32:
            return index, at, to
        section = _big_endian(np.uint64(load_u32(data, at + 16)), 4)
        body_bytes = size - HEADER_BYTES
        if to != at:
            _move_down(data, at + HEADER_BYTES, to + HEADER_BYTES, body_bytes)
        store_u64(data, to, _MAGIC_WORD | (np.uint64(command) << np.uint64(16)))
        store_u64(data, to + 8, np.uint64(section) | (np.uint64(body_bytes) << np.uint64(32)))
        store_u64(data, to + 16, _ZERO)
        store_u64(data, to + 24, _ZERO)
        store_u64(data, to + 32, _ZERO)
        store_u32(data, to + 40, _ZERO_32)
        at, to = ends[index], to + size
    return len(ends), at, to
