"""The kernel that trades: from per-symbol state to new ticks in per-symbol rings.

The n-th tick of a symbol takes its randomness from (seed, symbol, n) alone, so prices, volumes and
directions of a symbol do not depend on how steps are cut, on who subscribes, or on other symbols.
Only its time comes from the step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.kernel import inlined, kernel
from ticktape.simulate.symbols import HK_SPREADS_MILLI, US_TICK_MILLI

RING_TICKS = 2048
"""Ticks kept a symbol."""

STEP_TICKS_MAX = 1024
"""New ticks a symbol and step: whatever was within the last 1000 before a step is still kept after it."""

_RING_MASK = RING_TICKS - 1
assert RING_TICKS & _RING_MASK == 0

MILLISECOND_US = 1000
_SECOND_US = 1_000_000
_SPREAD_BELOW = np.array([below for below, _ in HK_SPREADS_MILLI], np.int64)
_SPREAD = np.array([spread for _, spread in HK_SPREADS_MILLI], np.int64)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

BUY, SELL, NEUTRAL = 1, 2, 3
"""TickerDirection; table `ticks` uses the same numbers."""

AUTOMATCH, INTER_NONE_AUTOMATCH, ODD_LOT = 1, 5, 6
"""TickerType (docs/protocols/opend.md 3.2)."""

_SIGN_AUTOMATCH, _SIGN_CROSS, _SIGN_ODD_HK, _SIGN_ODD_US = ord(" "), ord("X"), ord("D"), ord("I")
_CROSSES_OF_1024 = 4
_ODD_LOTS_OF_1024_HK, _ODD_LOTS_OF_1024_US = 8, 300
_REVERSION = 20
"""A price this many times farther from its base than 1 / 20 of it always turns back."""


class SymbolState(NamedTuple):
    """What the kernel knows of each symbol; every array is (n_symbols,).

    Attributes
    ----------
    seed : uint64
    is_us : bool; HK otherwise
    with_millis : bool, whether event times have milliseconds or whole seconds
    lot, base_milli : int64, constant
    bid_milli : int64, best bid
    ticks : int64, ticks generated so far: the number of the next one
    day_first : int64, value of `ticks` when the market's day began
    skipped : int64, steps that the day's counter took without a tick
    second, second_index : int64, unix second of the last tick, and its index within that second
    """

    seed: NDArray[np.uint64]
    is_us: NDArray[np.bool_]
    with_millis: NDArray[np.bool_]
    lot: NDArray[np.int64]
    base_milli: NDArray[np.int64]
    bid_milli: NDArray[np.int64]
    ticks: NDArray[np.int64]
    day_first: NDArray[np.int64]
    skipped: NDArray[np.int64]
    second: NDArray[np.int64]
    second_index: NDArray[np.int64]


class Rings(NamedTuple):
    """The last ticks of each symbol; every array is (n_symbols, RING_TICKS), tick n at n & (RING_TICKS - 1).

    Attributes
    ----------
    event_us : int64, what the pipeline will store as ts_event: to the second or to the millisecond
    sequence, volume : int64
    price_milli : int64, thousandths
    direction, trade_type, sign : uint8
    """

    event_us: NDArray[np.int64]
    sequence: NDArray[np.int64]
    price_milli: NDArray[np.int64]
    volume: NDArray[np.int64]
    direction: NDArray[np.uint8]
    trade_type: NDArray[np.uint8]
    sign: NDArray[np.uint8]


@inlined
def _random_word(seed: np.uint64, number: int) -> np.uint64:
    """Word `number` of the SplitMix64 stream `seed`."""
    word = seed + np.uint64(number + 1) * _GOLDEN
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@inlined
def _bits(word: np.uint64, first: int, count: int) -> int:
    return int((word >> np.uint64(first)) & ((np.uint64(1) << np.uint64(count)) - np.uint64(1)))


@kernel
def _tick_size(is_us: bool, price_milli: int) -> int:
    if is_us:
        return US_TICK_MILLI
    for row in range(len(_SPREAD)):
        if price_milli < _SPREAD_BELOW[row]:
            return int(_SPREAD[row])
    return int(_SPREAD[-1])


@kernel
def _moved_bid(state: SymbolState, symbol: int, word: np.uint64) -> int:
    """The best bid after this tick: one tick size up or down now and then, drawn back to its base."""
    bid, base = int(state.bid_milli[symbol]), int(state.base_milli[symbol])
    if _bits(word, 10, 2) != 0:
        return bid
    up_of_1024 = 512 - 512 * _REVERSION * (bid - base) // base
    if _bits(word, 12, 10) < up_of_1024:
        return bid + _tick_size(state.is_us[symbol], bid)
    return bid - _tick_size(state.is_us[symbol], bid - 1)


@kernel
def trade(
    symbols: NDArray[np.int64],
    counts: NDArray[np.int64],
    start_us: int,
    stop_us: int,
    state: SymbolState,
    rings: Rings,
    uncounted_of_65536: int,
) -> None:
    """Generate `counts[i]` ticks of `symbols[i]`, spread over start_us <= time < stop_us.

    Parameters
    ----------
    symbols : (n,) int64, distinct indices
    counts : (n,) int64, 0 <= count <= STEP_TICKS_MAX
    start_us, stop_us : unix microseconds, start_us < stop_us; not before any earlier step's stop_us
    state, rings : changed in place
    uncounted_of_65536 : of so many ticks of a market that counts, these are preceded by a skipped counter
    """
    span_us = stop_us - start_us
    for i in range(len(symbols)):
        symbol, count = symbols[i], counts[i]
        is_us, lot = state.is_us[symbol], state.lot[symbol]
        for j in range(count):
            number = state.ticks[symbol]
            word = _random_word(state.seed[symbol], number)
            slot = number & _RING_MASK

            time_us = start_us + (j * 16384 + _bits(word, 50, 14)) * span_us // (count * 16384)
            second = time_us // _SECOND_US
            if state.with_millis[symbol]:
                rings.event_us[symbol, slot] = time_us - time_us % MILLISECOND_US
            else:
                rings.event_us[symbol, slot] = second * _SECOND_US
            if second == state.second[symbol]:
                state.second_index[symbol] += 1
            else:
                state.second[symbol], state.second_index[symbol] = second, 0
            if uncounted_of_65536 > 0 and not is_us:
                draw = _bits(_random_word(~state.seed[symbol], number), 0, 16)
                state.skipped[symbol] += draw < uncounted_of_65536
            counted = number - state.day_first[symbol] + 1 + state.skipped[symbol]
            counter = state.second_index[symbol] if is_us else counted
            rings.sequence[symbol, slot] = (second << 32) | counter

            bid = state.bid_milli[symbol]
            price, direction = bid, SELL
            if _bits(word, 22, 1) == 1:
                price, direction = bid + _tick_size(is_us, bid), BUY
            share = _bits(word, 24, 14) / 16384.0
            volume = lot * (1 + np.int64(40.0 * share**8)) * (100 if is_us else 1)
            trade_type, sign = AUTOMATCH, _SIGN_AUTOMATCH
            if _bits(word, 38, 4) == 0:
                direction = NEUTRAL
            draw = _bits(word, 0, 10)
            if draw < _CROSSES_OF_1024:
                trade_type, sign, direction, volume = INTER_NONE_AUTOMATCH, _SIGN_CROSS, NEUTRAL, volume * 25
            elif draw < _CROSSES_OF_1024 + (_ODD_LOTS_OF_1024_US if is_us else _ODD_LOTS_OF_1024_HK):
                trade_type, sign = ODD_LOT, _SIGN_ODD_US if is_us else _SIGN_ODD_HK
                direction = NEUTRAL
                volume = 1 + _bits(word, 42, 8) % ((100 if is_us else lot) - 1)
            rings.price_milli[symbol, slot] = price
            rings.volume[symbol, slot] = volume
            rings.direction[symbol, slot] = direction
            rings.trade_type[symbol, slot] = trade_type
            rings.sign[symbol, slot] = sign

            state.bid_milli[symbol] = _moved_bid(state, symbol, word)
            state.ticks[symbol] = number + 1
