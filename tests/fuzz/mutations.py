"""Bytes made from other bytes: flipped, put in, taken out, spliced, cut; and hostile ones made from nothing.

Everything comes from the `chance` that is handed in: the same chance, the same bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from codec.wire import GROUPS_MAX
from tests.codec import wire
from tests.fuzz.messages import rearranged

INPUT_BYTES_MAX = 1 << 20

_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x08, 0x0A, 0x10, 0x12, 0x1A, 0x22, 0x2E, 0x30, 0x39, 0x3A, 0x46, 0x54)
_ODD_NUMBERS = (
    *(0, 1, 2, 126, 127, 128, 129, 255, 256, 16_383, 16_384, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1),
)
_ODD_DOUBLES = (float("nan"), float("inf"), -0.0, 1e308, 5e-324, 1.7e9, 631152000.0, 4102444800.0, -1e18)
_OVERLONG = (b"\x80" * 9 + b"\x00", b"\x80" * 10 + b"\x00", b"\xff" * 9 + b"\x7f", b"\xff" * 16, b"\x80")


def mutated(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` with one to four changes; `others` is what pieces are borrowed from."""
    if chance.randrange(5) == 0:
        return rearranged(chance, data)[:INPUT_BYTES_MAX]
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4))):
        chance.choice(_CHANGES)(chance, out, others)
    return bytes(out[:INPUT_BYTES_MAX])


def _flip_bit(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    if out:
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)


def _set_byte(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    if out:
        out[chance.randrange(len(out))] = chance.choice(_ODD_BYTES)


def _put_in(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    at = chance.randint(0, len(out))
    out[at:at] = chance.randbytes(chance.randint(1, 12))


def _take_out(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    at = chance.randint(0, len(out))
    del out[at : at + chance.randint(1, 12)]


def _cut_off(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    del out[chance.randint(0, len(out)) :]


def _repeat(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    begin = chance.randint(0, len(out))
    piece = bytes(out[begin : begin + chance.randint(1, 60)])
    out[begin:begin] = piece * chance.randint(1, 4)


def _borrow(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    """The beginning of this with the end of another, or a piece of another put in."""
    other = chance.choice(others)
    begin = chance.randint(0, len(other))
    if chance.randrange(2):
        out[chance.randint(0, len(out)) :] = other[begin:]
    else:
        at = chance.randint(0, len(out))
        out[at:at] = other[begin : begin + chance.randint(1, 60)]


def _set_number(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    """A number of fixed width, of either byte order."""
    size = chance.choice((2, 3, 4, 8))
    if len(out) >= size:
        at = chance.randint(0, len(out) - size)
        number = chance.choice(_ODD_NUMBERS) & ((1 << 8 * size) - 1)
        out[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))


def _set_length(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    """What stands behind a byte that looks like the tag of a length-delimited field."""
    places = [at for at in range(len(out) - 1) if out[at] & 7 == wire.LENGTH_DELIMITED and out[at] < 0x80]
    if not places:
        return
    at = chance.choice(places) + 1
    match chance.randrange(4):
        case 0:
            out[at] = (out[at] + chance.choice((-9, -2, -1, 1, 2, 2, 9, 9, 11))) & 0xFF  # by a field or part of one
        case 1:
            out[at : at + 1] = wire.varint(chance.choice(_ODD_NUMBERS))
        case 2:
            out[at : at + 1] = wire.varint(out[at] & 0x7F, chance.randint(2, 10))
        case _:
            left = len(out) - at - 1
            out[at : at + 1] = wire.varint(max(0, left + chance.choice((-1, 0, 1, 2, 100, 256, 257, 5000))))


def _set_varint(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    if out:
        at = chance.randrange(len(out))
        odd = wire.varint(chance.choice(_ODD_NUMBERS), chance.randint(1, 10))
        out[at : at + 1] = chance.choice((odd, odd, chance.choice(_OVERLONG)))


def _set_double(chance: random.Random, out: bytearray, others: Sequence[bytes]) -> None:
    """Behind a byte that looks like the tag of a double."""
    places = [at for at in range(len(out) - 8) if out[at] & 7 == wire.FIXED64 and out[at] < 0x80]
    if places:
        at = chance.choice(places) + 1
        value = chance.choice(
            (float("nan"), float("inf"), -0.0, 1e308, 5e-324, 1.7e9, 631152000.0, 4102444800.0, -1e18)
        )
        out[at : at + 8] = struct.pack("<d", value)


_CHANGES = (
    *(_flip_bit, _flip_bit, _flip_bit, _set_byte, _set_byte, _put_in, _take_out, _cut_off, _repeat, _borrow, _borrow),
    *(_set_number, _set_length, _set_length, _set_length, _set_varint, _set_double),
)


def hostile_protobuf(chance: random.Random, head: bytes, path: Sequence[int]) -> bytes:
    """A body that asks for depth, for many of something, or for more than there is.

    Parameters
    ----------
    head : fields that make the message a sound one so far
    path : numbers of the message fields that lead to the part that is listed, the last one repeated
    """
    level = chance.randint(0, len(path))
    content = _hostile_field(chance, path[min(level, len(path) - 1)])
    if chance.randrange(4) == 0:
        content += _hostile_field(chance, chance.choice(path))
    for number in reversed(path[:level]):
        content = wire.piece(number, content) * (1 if len(content) > 1000 else chance.choice((1, 1, 3)))
    return (head + content)[:INPUT_BYTES_MAX]


def _hostile_field(chance: random.Random, number: int) -> bytes:
    match chance.randrange(8):
        case 0:  # groups in groups
            depth = chance.choice((1, GROUPS_MAX - 1, GROUPS_MAX, GROUPS_MAX + 1, 100, 1000, 50_000))
            ends = wire.tag(100, wire.END_GROUP) * chance.choice((depth, depth - 1, depth + 1, 0))
            return wire.tag(100, wire.START_GROUP) * depth + ends
        case 1:  # messages in messages
            content = b""
            for _ in range(chance.choice((10, 1000))):
                content = wire.piece(number, content)
            return content
        case 2:  # many parts that say nothing
            return wire.piece(number, b"") * chance.choice((100, 1025, 4097, 70_000))
        case 3:  # many unknown fields
            return wire.number(chance.choice((15, 100)), 0) * chance.choice((1000, 100_000))
        case 4:  # a length beyond the end
            return wire.tag(number, wire.LENGTH_DELIMITED) + wire.varint(chance.choice(_ODD_NUMBERS))
        case 5:  # numbers that do not end
            return wire.tag(number, wire.VARINT) + chance.choice(_OVERLONG) * chance.choice((1, 1000))
        case 6:  # tags that are none
            return wire.varint(chance.choice((0, 1, 7, 6, 2**32 - 1, 2**32, 2**63)), chance.randint(1, 10)) * 3
        case _:  # a part as long as a message may be
            return wire.piece(number, chance.randbytes(16) * chance.choice((10, 1000, 60_000)))


def pad_pattern(chance: random.Random, size_bytes: int) -> bytes:
    """What lies behind the received bytes: nothing of it may be believed, however good it looks."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(size_bytes)
    if kind == 1:
        return (chance.choice(_PATTERNS) * size_bytes)[:size_bytes]
    fields = (_likely_field(chance, number % 16) for number in range(chance.randint(1, 12), size_bytes))
    return b"".join(fields)[:size_bytes]


_PATTERNS = (
    *(b"\x00", b"\xff", b"\x80", b"\x7f", b"9", b".", b"e", b"a", b" ", b":", b"\x12\x4e\x0a\x13", b"\x1a\x00"),
    *(b"\x0a\x00", b"\x12\x00", b"\x22\x05", b"\x30\x01", b"\x03\x68", b"FT", b"\x08\x00", b"}", b'"'),
)


def _likely_field(chance: random.Random, number: int) -> bytes:
    """A field that would do as the next one of a message."""
    match chance.randrange(4):
        case 0 | 1:
            return wire.number(number, chance.choice((0, 1, 2, 85, 300)))
        case 2:
            return wire.double(number, chance.choice((1.0, 1795138200.0, 1795138200.5)))
        case _:
            return wire.piece(number, chance.choice((b"", b"X", b"2026-11-20 09:30:00", b"512.5")))


def hostile_json(chance: random.Random, template: bytes) -> bytes:
    """An answer that asks for depth, for many of something, or for numbers beyond all bounds; put in at `%s`."""
    depth = chance.choice((31, 32, 33, 500, 1023, 1024, 1025, 100_000))
    content = chance.choice(
        (
            b"[" * depth + b"]" * depth,
            b'{"a":' * depth + b"1" + b"}" * depth,
            b"[" * depth,
            b"1" * chance.choice((19, 20, 64, 309, 5000)),
            b"1e" + b"9" * chance.choice((3, 20, 5000)),
            b"-" * depth,
            b"0." + b"3" * chance.choice((20, 1024, 5000)),
            b'"' + b"\\u0000" * depth + b'"',
            b'"\\ud800"',
            b'"' + b"\\" * chance.choice((3, 4, 99_999)),
            b'"\xff\xfe"',
            b",".join([b"{}"] * chance.choice((3, 5000, 16_385))),
            b",".join([b"null"] * chance.choice((3, 70_000))),
            b'{"a":1,' + b'"a":1,' * depth + b'"a":1}',
            b"{" + b",".join(b'"k%d":1' % number for number in range(min(depth, 5000))) + b"}",
            b" " * depth,
        )
    )
    return (template % content if chance.randrange(4) else content)[:INPUT_BYTES_MAX]
