"""Protobuf messages taken apart and put together again, with lengths that are right where that is wanted."""

from __future__ import annotations

import random

from tests.codec import wire


def rearranged(chance: random.Random, message: bytes) -> bytes:
    """A message with a field repeated, left out or moved, at any level, and all lengths right."""
    fields = _fields(message)
    if not fields:
        return message
    at = chance.randrange(len(fields))
    begin, field = fields[at]
    inner = field[begin:]
    if field[0] & 7 == wire.LENGTH_DELIMITED and _fields(inner) and chance.randrange(2):
        key, _ = _varint_at(field, 0, len(field))
        fields[at] = 0, wire.varint(key) + _sized(rearranged(chance, inner))
    else:
        match chance.randrange(4):
            case 0:
                del fields[at]
            case 1:
                fields.insert(chance.randint(0, len(fields)), fields.pop(at))
            case _:
                fields[at:at] = [fields[at]] * chance.choice((1, 2, 3, 6, 70))
    return b"".join(field for _, field in fields)


def _sized(content: bytes) -> bytes:
    return wire.varint(len(content)) + content


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """Each field of a message and where in it its value begins; none at all if it is no message."""
    found, at = [], 0
    while at < len(message):
        begin = at
        key, at = _varint_at(message, at, len(message))
        value_at = at
        match key & 7:
            case wire.VARINT:
                _, at = _varint_at(message, at, len(message))
            case wire.FIXED64:
                at += 8
            case wire.FIXED32:
                at += 4
            case wire.LENGTH_DELIMITED:
                length, value_at = _varint_at(message, at, len(message))
                at = value_at + length
            case _:
                return []
        if at > len(message) or key < 8 or key >= 1 << 32:
            return []
        found.append((value_at - begin, message[begin:at]))
    return found


def shortened(body: bytes, place: int, levels: int) -> bytes:
    """body[:place] with the lengths of the `levels` outermost messages around `place` right again.

    A message inside them still says that it goes on, and so it does, in the bytes that were cut off.
    """
    out = bytearray(body[:place])
    begin, stop = 0, len(body)
    for _ in range(levels):
        found = _field_around(body, begin, stop, place)
        if found is None:
            break
        length_at, begin, stop = found
        out[length_at:begin] = wire.varint(place - begin, begin - length_at)
    return bytes(out)


def _field_around(body: bytes, at: int, stop: int, place: int) -> tuple[int, int, int] | None:
    """Of the length-delimited field around `place`: where its length is, where it begins, where it stops."""
    while at < stop:
        key, at = _varint_at(body, at, stop)
        match key & 7:
            case wire.VARINT:
                _, at = _varint_at(body, at, stop)
            case wire.FIXED64:
                at += 8
            case wire.FIXED32:
                at += 4
            case wire.LENGTH_DELIMITED:
                length_at = at
                length, at = _varint_at(body, at, stop)
                if at <= place < at + length <= stop:
                    return length_at, at, at + length
                at += length
            case _:
                return None
    return None


def _varint_at(body: bytes, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while at < stop:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
