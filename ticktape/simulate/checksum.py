"""A checksum of a symbol's ticks that does not depend on their order: numpy here, SQL beside it.

Each tick is mixed into 64 bits; a symbol's checksum is their sum modulo 2**64. The simulators
print it for what they generated, a test computes it over what the store holds, and equal sums with
equal counts mean equal content.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEQUENCE = 0x9E3779B97F4A7C15
_PRICE = 0xC2B2AE3D27D4EB4F
_VOLUME = 0x165667B19E3779F9
_TURNOVER = 0xD6E8FEB86659FD93
_DIRECTION = 0xFF51AFD7ED558CCD
_TS_EVENT = 0xC4CEB9FE1A85EC53
_FINISH = 0x94D049BB133111EB


def mix_ticks(
    sequence: NDArray[np.int64],
    price: NDArray[np.float64],
    volume: NDArray[np.float64],
    turnover: NDArray[np.float64],
    direction: NDArray[np.uint8],
    ts_event_us: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """Mix each tick into 64 bits.

    Parameters
    ----------
    sequence, price, volume, turnover, direction, ts_event_us : (n,)
        Columns of table `ticks` under the same names: direction as its number there, ts_event in
        microseconds since 1970 UTC, volume as the double that is stored.

    Returns
    -------
    (n,) uint64; add them up (wrapping) for the checksum of a symbol.
    """
    mixed = sequence.view(np.uint64) * np.uint64(_SEQUENCE)
    mixed ^= price.view(np.uint64) * np.uint64(_PRICE)
    mixed ^= volume.view(np.uint64) * np.uint64(_VOLUME)
    mixed ^= turnover.view(np.uint64) * np.uint64(_TURNOVER)
    mixed ^= direction.astype(np.uint64) * np.uint64(_DIRECTION)
    mixed ^= ts_event_us.view(np.uint64) * np.uint64(_TS_EVENT)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(_FINISH)
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _product(column: str, factor: int) -> str:
    return f"{column} * toUInt64({factor})"


def _folded(first: str, *rest: str) -> str:
    for term in rest:
        first = f"bitXor({first}, {term})"
    return first


_CONTENT_TERMS = (
    _product("reinterpretAsUInt64(price)", _PRICE),
    _product("reinterpretAsUInt64(volume)", _VOLUME),
    _product("reinterpretAsUInt64(turnover)", _TURNOVER),
    _product("toUInt64(toInt8(direction))", _DIRECTION),
    _product("reinterpretAsUInt64(toUnixTimestamp64Micro(ts_event))", _TS_EVENT),
)


def _sum_of(first: str) -> str:
    second = f"bitXor({first}, bitShiftRight({first}, 32)) * toUInt64({_FINISH})"
    return f"sum(bitXor({second}, bitShiftRight({second}, 29)))"


CHECKSUM_SQL = _sum_of(_folded(_product("reinterpretAsUInt64(sequence)", _SEQUENCE), *_CONTENT_TERMS))
"""The same over rows of `ticks`: `SELECT symbol, count(), {CHECKSUM_SQL} FROM ticks GROUP BY symbol`.

`sum` of UInt64 wraps in ClickHouse, as it does here.
"""

CONTENT_CHECKSUM_SQL = _sum_of(_folded(*_CONTENT_TERMS))
"""As if every sequence were 0: where a tick has none of its own, as LongPort's have."""
