"""LongPort's spelling of symbols, `CODE.MARKET`: the market is what stands behind the last point.

Unlike `parse_symbol`, which takes a person's input and lets the market in front win, `SH.US` is the
code SH in the US here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at
from codec.kernel import inlined, kernel
from codec.markets import HK, MARKET_PREFIXES
from codec.symbols import BAD_CODE, intern

SUFFIX_BYTES = 3
"""A point and the market's two letters."""

_A, _LETTERS, _POINT = 65, 26, 46


def _markets_by_letters() -> NDArray[np.int64]:
    """(26 * 26,) int64: the market number of each pair of letters, -1 for none."""
    numbers = np.full(_LETTERS * _LETTERS, -1, np.int64)
    for number, word in MARKET_PREFIXES.items():
        if len(word) == SUFFIX_BYTES - 1:
            first, second = word.encode("ascii")
            numbers[(first - _A) * _LETTERS + second - _A] = number
    return numbers


_MARKETS = _markets_by_letters()


def wire_symbol(market: int, code: str) -> str | None:
    """LongPort's spelling of a security, `700.HK`; None in a market that it has no two letters for."""
    prefix = MARKET_PREFIXES.get(market, "")
    if len(prefix) != SUFFIX_BYTES - 1:
        return None
    if market == HK and code.isdigit():
        code = code.lstrip("0") or code
    return f"{code}.{prefix}"


@inlined
def market_of(source: NDArray[np.uint8], at: int, stop: int) -> int:
    """The market number of the symbol source[at:stop], whose code ends `SUFFIX_BYTES` before; or -1."""
    if stop - at <= SUFFIX_BYTES or byte_at(source, stop - 3) != _POINT:
        return np.int64(-1)
    first, second = byte_at(source, stop - 2) - _A, byte_at(source, stop - 1) - _A
    if first < 0 or first >= _LETTERS or second < 0 or second >= _LETTERS:
        return np.int64(-1)
    return _MARKETS[first * _LETTERS + second]


@kernel
def intern_symbol(
    source: NDArray[np.uint8],
    at: int,
    stop: int,
    short: NDArray[np.uint8],
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    arena: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> tuple[int, int]:
    """The market number of the symbol source[at:stop] and its id; BAD_CODE or TABLE_FULL instead of the id."""
    market = market_of(source, at, stop)
    if market < 0:
        return market, np.int64(BAD_CODE)
    return market, intern(source, at, stop - at - SUFFIX_BYTES, market, short, slots, entries, arena, used)
