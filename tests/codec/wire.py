"""Protobuf written by hand: what a legal or hostile sender may write and no generated class will."""

from __future__ import annotations

import struct

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)

VARINT_BYTES_MAX = 10
TAG_BYTES_MAX = 5


def varint(value: int, size_bytes: int = 1) -> bytes:
    """`value` modulo 2**64 as a varint of at least `size_bytes`; a longer one than needed is not minimal."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127 or len(out) + 1 < size_bytes:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    assert len(out) <= VARINT_BYTES_MAX
    return bytes(out)


def tag(field: int, wire_type: int, size_bytes: int = 1) -> bytes:
    return varint(field << 3 | wire_type, size_bytes)


def number(field: int, value: int, size_bytes: int = 1) -> bytes:
    """A varint field; a negative value takes ten bytes, as int32 and int64 do."""
    return tag(field, VARINT) + varint(value, size_bytes)


def double(field: int, value: float) -> bytes:
    return tag(field, FIXED64) + struct.pack("<d", value)


def piece(field: int, content: bytes, size_bytes: int = 1) -> bytes:
    """A length-delimited field: text, bytes or a message; `size_bytes` is of the length's varint."""
    return tag(field, LENGTH_DELIMITED) + varint(len(content), size_bytes) + content


def group(field: int, content: bytes = b"") -> bytes:
    return tag(field, START_GROUP) + content + tag(field, END_GROUP)
