"""Decimal texts against Python's own float()."""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import PAD_BYTES
from codec.decimal_text import DECIMAL_BYTES_MAX, call_read_decimal, read_any_decimal
from tests.codec.examples import examples

_NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

_SURROUNDINGS = (b"9", b"\0", b".", b"e1", b"-", b"\xff")
"""What stands before and behind a text: nothing of it may be believed."""


def expected(text: bytes) -> float | None:
    """The nearest double, None for what is no number or beyond the largest double."""
    if len(text) > DECIMAL_BYTES_MAX or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return None if math.isinf(value) else value


def bits(value: float | None) -> bytes | None:
    """A value with its sign: -0.0 is another than 0.0."""
    return None if value is None else struct.pack("<d", value)


def check(text: bytes) -> None:
    for surrounding in _SURROUNDINGS:
        padding = (surrounding * PAD_BYTES)[:PAD_BYTES]
        source = np.frombuffer(bytearray(padding + text + padding), np.uint8)
        for read in (call_read_decimal, read_any_decimal):
            value = float(read(source, PAD_BYTES, PAD_BYTES + len(text)))
            assert bits(None if math.isnan(value) else value) == bits(expected(text)), text


def double_of(number: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", number))
    assert isinstance(value, float)
    return value


INFINITE_BITS = 0x7FF << 52


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-310255860.000", -310255860.0),
        ("388.4", 388.4),
        ("1E3", 1000.0),
        ("1e+3", 1000.0),
        ("1e-3", 0.001),
        ("+1", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("007", 7.0),
        ("0", 0.0),
        ("-0.00", -0.0),
        ("1234567890123456789012345", 1234567890123456789012345.0),
        ("0.1000000000000000055511151", 0.1),
        ("1e-400", 0.0),
        ("0e999999999999999999999", 0.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1.79769313486231580793728971405301e308", 1.7976931348623157e308),
        ("5e-324", 5e-324),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740993.00000000000000000001", 9007199254740994.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert bits(expected(text.encode())) == bits(value)
    check(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", "+", ".", "-.", "e", "e5", ".e5", "1e", "1e+", "1e-", "1e1.5"),
        *("--1", "+-1", "-+1", " 1", "1 ", "1\n", "1_000", "1,000", "1..2", "1.2.3", "0x10", "1f", "1d0", "1e5e5"),
        *("NaN", "nan", "-nan", "inf", "Infinity", "-inf", "null", "１", "1\0", "\0", "/", ":", "12345678:", "1/2"),
        *("1e309", "-1e309", "1.7976931348623159e308", "1e99999999999999999999", "9" * 400),
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert expected(text.encode()) is None
    check(text.encode())


def test_the_longest_text() -> None:
    check(b"0." + b"3" * (DECIMAL_BYTES_MAX - 2))
    check(b"0." + b"3" * (DECIMAL_BYTES_MAX - 1))
    check(b"0" * (DECIMAL_BYTES_MAX - 1) + b"1")
    check(b"9" * (DECIMAL_BYTES_MAX - 5) + b"e-999")


@examples(400)
@given(digits=st.text("0123456789", max_size=20), point=st.integers(-1, 20), sign=st.sampled_from(["", "-", "+"]))
def test_short_texts(digits: str, point: int, sign: str) -> None:
    text = digits if point < 0 else f"{digits[:point]}.{digits[point:]}"
    check(f"{sign}{text}".encode())


@examples(400)
@given(value=st.floats(allow_nan=False, allow_infinity=False), places=st.integers(0, 25))
def test_what_doubles_are_written_as(value: float, places: int) -> None:
    check(repr(value).encode())
    check(f"{value:.{places}e}".encode())
    if abs(value) < 1e30:
        check(f"{value:.{places}f}".encode())


@examples(300)
@given(st.integers(0, 10**40), st.integers(-370, 330), st.integers(0, 60))
def test_any_power_of_ten(number: int, power: int, zeros: int) -> None:
    check(f"{number}e{power}".encode())
    check(f"0.{'0' * zeros}{number}e{power}".encode())


near_zero = st.integers(0, 2**53)
any_finite = st.integers(0, INFINITE_BITS - 1)


@examples(300)
@given(below=st.one_of(any_finite, near_zero, st.just(INFINITE_BITS - 1)), tail=st.sampled_from(["", "0", "000", "1"]))
def test_halfway_between_two_doubles(below: int, tail: str) -> None:
    """Exactly halfway, just above, and just below by cutting off: up to 768 digits decide."""
    with localcontext() as context:
        context.prec = 1100
        above = Decimal(2) ** 1024 if below + 1 == INFINITE_BITS else Decimal(double_of(below + 1))
        halfway = (Decimal(double_of(below)) + above) / 2
        digits, _, power = f"{halfway:e}".partition("e")
    if "." not in digits:
        digits += "."
    check(f"{digits}{tail}e{power}".encode())
    for places in (17, 18, 19, 20, 40):
        check(f"{digits[: places + 1]}e{power}".encode())


@examples(500)
@given(st.one_of(st.text("0123456789.eE+-", max_size=24).map(str.encode), st.binary(max_size=24)))
def test_any_bytes(text: bytes) -> None:
    check(text)
