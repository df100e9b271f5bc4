"""Decimal texts to the nearest double, in kernels: LongPort's prices and flows.

A text is `[+-] digits [. digits] [e [+-] digits]`, digits on at least one side of the point: what
has one obvious value. So `1E3`, `+1`, `1.` and `.5` are numbers; an empty text, spaces, `NaN`, `inf`,
`1_000`, digits that are not ASCII, and numbers beyond the largest double are not.

Three ways, each for what the one before leaves: up to 16 bytes without an exponent, by 8 bytes at a
time; up to 19 significant digits, by one multiplication with a table of 128-bit powers of ten
(Mushtak and Lemire, "Fast number parsing without fallback"); more digits, by the same for the number
cut off after the 19th and for its successor, and where these differ by comparing whole numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import (
    byte_at,
    double_of,
    leading_zeros,
    load_u64,
    multiply_high,
    stack_array,
    trailing_zeros,
)
from codec.kernel import inlined, kernel

DECIMAL_BYTES_MAX = 1024
"""A longer text is no number: the longest that can matter, a subnormal's neighbourhood, has 768 digits."""

_MINUS, _PLUS, _POINT, _ZERO, _NINE = 45, 43, 46, 48, 57
_DIGITS_MAX = 19
"""Decimal digits that always fit 64 bits."""
_EXPONENT_MAX = 100_000
"""Far beyond any double, and beyond what `DECIMAL_BYTES_MAX` digits can make up for."""
_INTEGER_MAX = np.uint64(1) << np.uint64(53)
"""Integers up to here are doubles."""

_BYTE = np.uint64(8)
_LOW_BITS = np.uint64(0x0101_0101_0101_0101)
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_POINTS = np.uint64(0x2E2E_2E2E_2E2E_2E2E)
_ZEROS = np.uint64(0x3030_3030_3030_3030)
_PAST_NINE = np.uint64(0x7676_7676_7676_7676)

_POWERS = np.array([float(f"1e{power}") for power in range(17)])
_INTEGER_POWERS = np.array([10**power for power in range(9)], np.uint64)

# Layout of a double.
_FRACTION_BITS = 52
_EXPONENT_BIAS = 1023
_INFINITE_POWER = 0x7FF

_POWER_LEAST, _POWER_GREATEST = -342, 308
"""Below, 19 digits are nearer to 0 than to any other double; above, they are infinite."""


def _powers_of_five() -> NDArray[np.uint64]:
    """(651, 2) uint64: the 128 leading bits of 5 to the power of -342…308, high word first.

    Positive powers are cut off, negative ones rounded up: both as the proof of the method wants.
    """
    table = np.empty((_POWER_GREATEST - _POWER_LEAST + 1, 2), np.uint64)
    for power in range(_POWER_LEAST, _POWER_GREATEST + 1):
        five = 5 ** abs(power)
        size = five.bit_length()
        bits = five << 128 >> size if power >= 0 else (1 << (size + 127)) // five + 1
        table[power - _POWER_LEAST] = bits >> 64, bits & (2**64 - 1)
    return table


_FIVES = _powers_of_five()


@inlined
def _point_in(word: np.uint64) -> np.uint64:
    """Index of the first point among the 8 bytes of `word`, 8 when there is none."""
    word ^= _POINTS
    return trailing_zeros((word - _LOW_BITS) & ~word & _HIGH_BITS) >> np.uint64(3)


@inlined
def _without_byte(word: np.uint64, next_word: np.uint64, index: np.uint64) -> np.uint64:
    """`word` without its byte `index`, the bytes behind it moved up, the last one from `next_word`."""
    before = (np.uint64(1) << (index * _BYTE)) - np.uint64(1)
    moved = (word >> _BYTE) | (next_word << np.uint64(56))
    return (word & before) | (moved & ~before)


@inlined
def _eight_digits(word: np.uint64, size: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The number that the first `size` bytes of `word` spell, 1 <= size <= 8, and 0 if all are digits."""
    shift = np.uint64(64) - size * _BYTE
    digits = (word << shift) ^ (_ZEROS << shift)
    wrong = ((digits + _PAST_NINE) | digits) & _HIGH_BITS
    digits = digits * np.uint64(10) + (digits >> _BYTE)
    high = (digits & np.uint64(0x0000_00FF_0000_00FF)) * np.uint64(0x000F_4240_0000_0064)
    low = ((digits >> np.uint64(16)) & np.uint64(0x0000_00FF_0000_00FF)) * np.uint64(0x0000_2710_0000_0001)
    return (high + low) >> np.uint64(32), wrong


@inlined
def read_decimal(source: NDArray[np.uint8], at: int, stop: int) -> float:
    """The double nearest to the text source[at:stop], ties to even; NaN for a text that is no number.

    `source` is (n,) uint8 with `PAD_BYTES` readable behind `stop`; at <= stop. Never infinite.
    """
    begin = at
    negative = byte_at(source, at) == _MINUS
    if negative:
        begin += 1
    size = stop - begin
    if 1 <= size <= 16:
        first, second = load_u64(source, begin), np.uint64(0)
        point = _point_in(first)
        decimals = np.int64(0)
        if size <= 8:
            left = np.uint64(size)
            if point < left:
                first = _without_byte(first, second, point)
                left -= np.uint64(1)
                decimals = np.int64(left - point)
            number, wrong = np.uint64(0), np.uint64(1)
            if left > np.uint64(0):
                number, wrong = _eight_digits(first, left)
        else:
            second = load_u64(source, begin + 8)
            left = np.uint64(size - 8)
            if point < np.uint64(8):
                first = _without_byte(first, second, point)
                second >>= _BYTE
                left -= np.uint64(1)
                decimals = np.int64(left + np.uint64(8) - point)
            else:
                point = _point_in(second)
                if point < left:
                    second = _without_byte(second, np.uint64(0), point)
                    left -= np.uint64(1)
                    decimals = np.int64(left - point)
            number, wrong = _eight_digits(first, np.uint64(8))
            if left > np.uint64(0):
                end, end_wrong = _eight_digits(second, left)
                number = number * _INTEGER_POWERS[left] + end
                wrong |= end_wrong
        if wrong == np.uint64(0) and number <= _INTEGER_MAX:
            # Both are doubles, so that the quotient is rounded once.
            value = np.float64(np.int64(number)) / _POWERS[decimals]
            return -value if negative else value
    return read_any_decimal(source, at, stop)


@kernel
def read_any_decimal(source: NDArray[np.uint8], at: int, stop: int) -> float:
    """As `read_decimal`, for every text."""
    if stop - at < 1 or stop - at > DECIMAL_BYTES_MAX:
        return np.nan
    negative = source[at] == _MINUS
    if negative or source[at] == _PLUS:
        at += 1
    digits_at = at
    number, power, digits = np.uint64(0), np.int64(0), np.int64(0)
    has_digits, has_point, has_more = False, False, False
    while at < stop:
        byte = np.int64(source[at])
        if _ZERO <= byte <= _NINE:
            has_digits = True
            if digits < _DIGITS_MAX:
                number = number * np.uint64(10) + np.uint64(byte - _ZERO)
                digits += number != np.uint64(0)
                power -= has_point
            else:
                has_more |= byte != _ZERO
                power += not has_point
        elif byte == _POINT and not has_point:
            has_point = True
        else:
            break
        at += 1
    digits_stop = at
    if not has_digits:
        return np.nan
    if at < stop:
        exponent, at = _read_exponent(source, at, stop)
        power += exponent
    if at != stop:
        return np.nan
    bits = _nearest(number, power)
    if has_more:
        above = _nearest(number + np.uint64(1), power)
        if above != bits and _rounds_up(source, digits_at, digits_stop, power, bits):
            bits = above
    if bits >> np.uint64(_FRACTION_BITS) == np.uint64(_INFINITE_POWER):
        return np.nan
    value = double_of(bits)
    return -value if negative else value


@kernel
def call_read_decimal(source: NDArray[np.uint8], at: int, stop: int) -> float:
    """`read_decimal` by a call: less to compile, where nanoseconds matter less."""
    return read_decimal(source, at, stop)


@kernel
def _read_exponent(source: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """The exponent that begins at `at` with its `e`, and where it ends: -1 when it is none."""
    if source[at] | 32 != 101:
        return 0, -1
    at += 1
    negative = at < stop and source[at] == _MINUS
    if negative or (at < stop and source[at] == _PLUS):
        at += 1
    exponent, begin = np.int64(0), at
    while at < stop and _ZERO <= source[at] <= _NINE:
        exponent = min(exponent * 10 + np.int64(source[at]) - _ZERO, _EXPONENT_MAX)
        at += 1
    return -exponent if negative else exponent, at if at > begin else -1


@kernel
def _nearest(number: np.uint64, power: int) -> np.uint64:
    """The bits of the double nearest to `number` times 10 to the power of `power`, which may be infinite."""
    if number == np.uint64(0) or power < _POWER_LEAST:
        return np.uint64(0)
    if power > _POWER_GREATEST:
        return np.uint64(_INFINITE_POWER) << np.uint64(_FRACTION_BITS)
    shifted = leading_zeros(number)
    number <<= shifted
    five_high, five_low = _FIVES[power - _POWER_LEAST, 0], _FIVES[power - _POWER_LEAST, 1]
    high, low = multiply_high(number, five_high), number * five_high
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # what is cut off could carry into the bits we need
        more = multiply_high(number, five_low)
        low += more
        if low < more:
            high += np.uint64(1)
    upper = high >> np.uint64(63)
    cut = upper + np.uint64(64 - _FRACTION_BITS - 3)
    fraction = high >> cut  # 54 bits: one more than a double has
    exponent = (((152_170 + 65_536) * power) >> 16) + 63 + np.int64(upper) - np.int64(shifted) + _EXPONENT_BIAS
    if exponent <= 0:
        if exponent <= -63:
            return np.uint64(0)
        fraction >>= np.uint64(1 - exponent)
        return (fraction + (fraction & np.uint64(1))) >> np.uint64(1)  # 1 << 52 is the least normal double
    if (
        low <= np.uint64(1)
        and -4 <= power <= 23
        and fraction & np.uint64(3) == np.uint64(1)
        and fraction << cut == high
    ):
        fraction &= ~np.uint64(1)  # exactly halfway: down to the even one
    fraction = (fraction + (fraction & np.uint64(1))) >> np.uint64(1)
    if fraction == np.uint64(1) << np.uint64(_FRACTION_BITS + 1):
        fraction >>= np.uint64(1)
        exponent += 1
    if exponent >= _INFINITE_POWER:
        return np.uint64(_INFINITE_POWER) << np.uint64(_FRACTION_BITS)
    return (np.uint64(exponent) << np.uint64(_FRACTION_BITS)) | (
        fraction & ((np.uint64(1) << np.uint64(_FRACTION_BITS)) - np.uint64(1))
    )


# Whole numbers of up to `_LIMBS` * 32 bits, the least limb first, each limb in 64 bits so that a
# product with carry fits. 1024 digits are 3402 bits; the other side is at most 5 ** 1348 (subnormals)
# times 54 bits, and the shift that makes both sides whole adds less than 300.
_LIMBS = 128
_limbs = stack_array(_LIMBS, np.uint64)
_LIMB = np.uint64(0xFFFF_FFFF)
_TWO, _FIVE = np.int64(2), np.int64(5)


@kernel
def _multiply_add(limbs: NDArray[np.uint64], used: int, factor: int, addend: int) -> int:
    """limbs = limbs * factor + addend, both below 2**32; returns the limbs used then."""
    carry = np.uint64(addend)
    for i in range(used):
        carry += limbs[i] * np.uint64(factor)
        limbs[i] = carry & _LIMB
        carry >>= np.uint64(32)
    if carry != np.uint64(0):
        limbs[used] = carry
        used += 1
    return used


@kernel
def _times_power(limbs: NDArray[np.uint64], used: int, base: int, power: int) -> int:
    """limbs = limbs * base ** power, 2 <= base <= 5; returns the limbs used then."""
    step = 31 if base == 2 else 13
    whole = base**step
    while power >= step:
        used = _multiply_add(limbs, used, whole, 0)
        power -= step
    return _multiply_add(limbs, used, base**power, 0)


@kernel
def _rounds_up(source: NDArray[np.uint8], at: int, stop: int, power: int, bits: np.uint64) -> bool:
    """Whether the text's number is nearer to the double after `bits` than to `bits` itself.

    source[at:stop] are its digits and point, of which 19 significant ones times 10 ** `power` lie
    between the two doubles.
    """
    left, right = _limbs(), _limbs()
    left_used, digits = np.int64(0), np.int64(0)
    while at < stop:
        if source[at] != _POINT:
            left_used = _multiply_add(left, left_used, 10, np.int64(source[at]) - _ZERO)
            digits += digits > 0 or left_used > 0
        at += 1
    power -= digits - _DIGITS_MAX
    biased = np.int64(bits >> np.uint64(_FRACTION_BITS))
    fraction = bits & ((np.uint64(1) << np.uint64(_FRACTION_BITS)) - np.uint64(1))
    if biased > 0:
        fraction |= np.uint64(1) << np.uint64(_FRACTION_BITS)
    halfway = (fraction << np.uint64(1)) | np.uint64(1)
    right[0], right[1] = halfway & _LIMB, halfway >> np.uint64(32)
    right_used = np.int64(2)
    # Halves of the unit in the last place of `bits`.
    right_power = max(biased, 1) - _EXPONENT_BIAS - _FRACTION_BITS - 1
    if power >= 0:
        left_used = _times_power(left, left_used, _FIVE, power)
    else:
        right_used = _times_power(right, right_used, _FIVE, -power)
    if power >= right_power:
        left_used = _times_power(left, left_used, _TWO, power - right_power)
    else:
        right_used = _times_power(right, right_used, _TWO, right_power - power)
    while right_used > 0 and right[right_used - 1] == np.uint64(0):
        right_used -= 1
    if left_used != right_used:
        return left_used > right_used
    for i in range(left_used - 1, -1, -1):
        if left[i] != right[i]:
            return left[i] > right[i]
    return bits & np.uint64(1) == np.uint64(1)  # exactly halfway: to the even one
