"""OpenD's JSON bodies (fmtType 1): each that comes becomes the protobuf body that says the same.

So there is one set of rules: the kernels and generated classes that judge protobuf judge JSON too,
with the same reasons. The mapping is protobuf's own (docs/protocols/opend.md 4, JSON bodies): names
as in the .proto files, 64-bit integers as strings or numbers, doubles as numbers or texts ("NaN"),
enums by name or number, null for absent, unknown names ignored, of a repeated name the last.

Rule 1: a value that its field cannot hold spoils the body, or, inside the list that a frame is
about, its element alone: that element becomes an empty message, which the kernel refuses like any
other without its required fields, and the reason found here is put in its note.
Rule 2: nesting is bounded by orjson (1,024 levels) and by the message's own type; nothing follows
the nesting of the text.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.errors import TicktapeError
from codec.opend.decoder import Refused
from codec.wire import FIXED64, LENGTH_DELIMITED, VARINT

JSON_BODY_BYTES_MAX = 4 << 20
"""1000 ticks need 300 kB. Text grows up to thirtyfold as Python objects, so frames may be longer
than JSON bodies may be."""

_NUMBER_CHARACTERS_MAX = 64
_INTEGER_TEXT = re.compile(r"-?[0-9]{1,20}")
_DOUBLE_TEXT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DOUBLE_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_EXACT_MAX = 1 << 53
"""A larger integer that came as a double is not what the sender meant to say."""

_DOUBLE = struct.Struct("<d")


class UndecodableJson(TicktapeError):
    """A body is not JSON, or not the message that its frame announces."""


class _Unfit(Exception):
    """A value that its field cannot hold."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A body in protobuf, and what could not be written of it.

    Attributes
    ----------
    body : protobuf, fields in number order
    spoilt : for each element of the isolated list that is now empty, by its index: why
    """

    body: bytes
    spoilt: dict[int, str] = field(default_factory=dict)

    def padded(self) -> NDArray[np.uint8]:
        """The body with the bytes behind it that kernels may read."""
        return np.frombuffer(bytearray(self.body + bytes(PAD_BYTES)), np.uint8)

    def explained(self, refused: Refused) -> Refused:
        """`refused` as the kernel gave it, with the reason found here for an element made empty."""
        if refused.tick not in self.spoilt:
            return refused
        what = refused.detail.partition(":")[0]
        return replace(refused, detail=f"{what}: {self.spoilt[refused.tick]}")


def to_protobuf(body: bytes, message: type[Message], isolated: str = "") -> Transcript:
    """The protobuf body that says what a JSON body says.

    Parameters
    ----------
    message : the generated class of the whole body
    isolated : name of the repeated field whose elements are judged one by one

    Raises
    ------
    UndecodableJson
        It is too long, no JSON, or holds a value that its field cannot.
    """
    if len(body) > JSON_BODY_BYTES_MAX:
        raise UndecodableJson(f"a JSON body of {len(body)} B; the limit is {JSON_BODY_BYTES_MAX} B")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UndecodableJson(f"the body is not JSON: {error}") from None
    spoilt: dict[int, str] = {}
    try:
        written = _write_message(_plan(message.DESCRIPTOR), value, isolated, spoilt)
    except _Unfit as unfit:
        raise UndecodableJson(f"the body is not the message announced: {unfit}") from None
    if not written:
        raise UndecodableJson("the body says nothing: retType is missing")
    return Transcript(written, spoilt)


def to_json(message: Message) -> bytes:
    """The JSON body of a message, as OpenD and the official SDKs write it: 64-bit integers as strings."""
    return orjson.dumps(MessageToDict(message, preserving_proto_field_name=True))


# --- one message type after another, as plans made once


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field is written. `inner` is the plan of a message, else `write` makes the value's bytes."""

    name: str
    tag: bytes
    is_list: bool
    inner: tuple[_Field, ...] | None
    write: Callable[[object], bytes]


def _write_message(plan: tuple[_Field, ...], value: object, isolated: str, spoilt: dict[int, str]) -> bytes:
    if type(value) is not dict:
        raise _Unfit(f"{_shown(value)} is no object")
    parts: list[bytes] = []
    for part in plan:
        item = value.get(part.name)
        if item is None:
            continue
        if not part.is_list:
            _write_field(part, item, isolated, spoilt, parts)
            continue
        if type(item) is not list:
            raise _Unfit(f"{part.name}: {_shown(item)} is no list")
        for index, element in enumerate(item):
            try:
                _write_field(part, element, isolated, spoilt, parts)
            except _Unfit as unfit:
                if part.name != isolated:
                    raise
                spoilt[index] = str(unfit).removeprefix(f"{part.name}: ")
                parts += part.tag, b"\0"
    return b"".join(parts)


def _write_field(part: _Field, item: object, isolated: str, spoilt: dict[int, str], parts: list[bytes]) -> None:
    """Append one field to `parts`, or nothing of it and _Unfit."""
    try:
        if part.inner is None:
            parts += part.tag, part.write(item)
        else:
            inner = _write_message(part.inner, item, isolated, spoilt)
            parts += part.tag, _varint(len(inner)), inner
    except _Unfit as unfit:
        raise _Unfit(f"{part.name}: {unfit}") from None


@functools.cache
def _plan(descriptor: Descriptor) -> tuple[_Field, ...]:
    """The fields of a message in number order; ours have no message that contains itself."""
    return tuple(_field(part) for part in sorted(descriptor.fields, key=lambda part: part.number))


def _field(part: FieldDescriptor) -> _Field:
    wire_type, write = VARINT, _writers(part).get(part.type)
    inner = None
    if part.type == FieldDescriptor.TYPE_MESSAGE:
        wire_type, inner, write = LENGTH_DELIMITED, _plan(part.message_type), _write_nothing
    elif part.type == FieldDescriptor.TYPE_STRING:
        wire_type = LENGTH_DELIMITED
    elif part.type == FieldDescriptor.TYPE_DOUBLE:
        wire_type = FIXED64
    assert write is not None, f"{part.full_name}: no JSON for its type"
    return _Field(part.name, _varint(part.number << 3 | wire_type), part.is_repeated, inner, write)


def _writers(part: FieldDescriptor) -> dict[int, Callable[[object], bytes]]:
    return {
        FieldDescriptor.TYPE_INT32: functools.partial(_write_integer, low=-(1 << 31), high=1 << 31),
        FieldDescriptor.TYPE_INT64: functools.partial(_write_integer, low=-(1 << 63), high=1 << 63),
        FieldDescriptor.TYPE_UINT32: functools.partial(_write_integer, low=0, high=1 << 32),
        FieldDescriptor.TYPE_UINT64: functools.partial(_write_integer, low=0, high=1 << 64),
        FieldDescriptor.TYPE_ENUM: functools.partial(_write_enum, part),
        FieldDescriptor.TYPE_BOOL: _write_bool,
        FieldDescriptor.TYPE_DOUBLE: _write_double,
        FieldDescriptor.TYPE_STRING: _write_text,
    }


def _write_nothing(value: object) -> bytes:
    return b""


def _varint(value: int) -> bytes:
    """`value`, 0 to 2**64 - 1, as a varint."""
    if value < 128:
        return value.to_bytes(1, "little")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _write_integer(value: Any, low: int, high: int) -> bytes:
    if type(value) is str:
        readable = _INTEGER_TEXT.fullmatch(value) is not None
    elif type(value) is float:
        readable = value.is_integer() and abs(value) <= _EXACT_MAX
    else:
        readable = type(value) is int
    if not readable:
        raise _Unfit(f"{_shown(value)} is no integer")
    number = int(value)
    if not low <= number < high:
        raise _Unfit(f"{_shown(value)} is not between {low} and {high - 1}")
    return _varint(number & 0xFFFF_FFFF_FFFF_FFFF)


def _write_double(value: object) -> bytes:
    if type(value) is float or type(value) is int:
        return _DOUBLE.pack(value)
    if type(value) is str and len(value) <= _NUMBER_CHARACTERS_MAX:
        if value in _DOUBLE_WORDS:
            return _DOUBLE.pack(_DOUBLE_WORDS[value])
        if _DOUBLE_TEXT.fullmatch(value):
            return _DOUBLE.pack(float(value))
    raise _Unfit(f"{_shown(value)} is no number")


def _write_text(value: object) -> bytes:
    if type(value) is not str:
        raise _Unfit(f"{_shown(value)} is no text")
    raw = value.encode()
    return _varint(len(raw)) + raw


def _write_bool(value: object) -> bytes:
    if type(value) is not bool:
        raise _Unfit(f"{_shown(value)} is neither true nor false")
    return b"\1" if value else b"\0"


def _write_enum(part: FieldDescriptor, value: object) -> bytes:
    if type(value) is str:
        assert part.enum_type is not None
        named = part.enum_type.values_by_name.get(value)
        if named is None:
            raise _Unfit(f"{_shown(value)} is not in {part.enum_type.name}")
        return _varint(named.number & 0xFFFF_FFFF_FFFF_FFFF)
    return _write_integer(value, low=-(1 << 31), high=1 << 31)


def _shown(value: Any) -> str:
    """A value of the body for a person: its beginning, if it is long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = "null" if value is None else repr(value)
    return text if len(text) <= _NUMBER_CHARACTERS_MAX else text[:_NUMBER_CHARACTERS_MAX] + "…"
