"""Packet headers in kernels, and compressed bodies outside them."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at
from codec.kernel import inlined
from codec.longport.protocol import (
    INFLATED_BYTES_MAX,
    PUSH_HEADER_BYTES,
    REQUEST_HEADER_BYTES,
    RESPONSE_HEADER_BYTES,
    SIGNED_BIT,
    TRAILER_BYTES,
    TYPE_BITS,
    PacketType,
)

_REQUEST, _RESPONSE, _PUSH = (int(kind) for kind in PacketType)

_GZIP_WINDOW_BITS = 31
"""zlib's word for: gzip's header and trailer, the largest window."""


@inlined
def header_bytes(source: NDArray[np.uint8], at: int) -> int:
    """Bytes of the header of the packet that begins at `at`; 0 for a type that there is not."""
    kind = byte_at(source, at) & TYPE_BITS
    if kind == _PUSH:
        return PUSH_HEADER_BYTES
    if kind == _RESPONSE:
        return RESPONSE_HEADER_BYTES
    return REQUEST_HEADER_BYTES if kind == _REQUEST else 0


@inlined
def body_bytes(source: NDArray[np.uint8], body_at: int) -> int:
    """What the header before `body_at` says of the body: its length is the last field of each header."""
    return (byte_at(source, body_at - 3) << 16) | (byte_at(source, body_at - 2) << 8) | byte_at(source, body_at - 1)


@inlined
def trailer_bytes(source: NDArray[np.uint8], at: int) -> int:
    """Bytes behind the body of the packet that begins at `at`."""
    return TRAILER_BYTES if byte_at(source, at) & SIGNED_BIT else 0


@inlined
def request_id(source: NDArray[np.uint8], at: int) -> int:
    """The number by which a reply finds its request; meaningless in a push."""
    return (
        (byte_at(source, at + 2) << 24)
        | (byte_at(source, at + 3) << 16)
        | (byte_at(source, at + 4) << 8)
        | byte_at(source, at + 5)
    )


def inflate(body: bytes) -> bytes | None:
    """A compressed body; None when it is not one whole gzip member, or is over `INFLATED_BYTES_MAX`."""
    stream = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        inflated = stream.decompress(body, INFLATED_BYTES_MAX + 1)
    except zlib.error:
        return None
    if not stream.eof or stream.unused_data or len(inflated) > INFLATED_BYTES_MAX:
        return None
    return inflated
