"""Silence: which symbols have been quiet for longer than is their way, in a market that trades.

Every `LOOK_EVERY_S` each symbol either had ticks or had none; looks without any in a row are a run. What is
unusual depends on the symbol: its own runs of late are counted by length, in doublings, and a run is
too long once it is twice as long as the longest kind that it had. If runs were drawn from one and the
same pot, the next of n would be longer than all of them once in n + 1 times, whatever the pot: about
once a day for each symbol, and with the doubling more rarely. A false alarm costs one GetTicker.

A symbol of which too few runs are known is looked after every `QUIET_S_MAX`. Pure: time goes in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LOOK_EVERY_S = 1.0
QUIET_S_MAX = 1800.0
"""No symbol is left alone for longer while its market trades."""
RUNS_MIN = 20
"""Runs that must be known before their lengths say anything."""
_LENGTHS = 12
"""Runs of up to 2^11 looks are told apart: longer than `QUIET_S_MAX`."""
_FORGET_EVERY = 23_400
"""Looks after which the counts of runs are halved: a trading day in New York."""


class SilenceWatch:
    """The rhythm of some symbols.

    Parameters
    ----------
    trades : whether a market, by its number, trades at an instant, unix seconds
    """

    def __init__(self, trades: Callable[[int, float], bool]) -> None:
        self._trades = trades
        self._ids: NDArray[np.int32] = np.empty(0, np.int32)
        self._markets: NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._quiet: NDArray[np.int64] = np.empty(0, np.int64)
        self._alarm: NDArray[np.int64] = np.empty(0, np.int64)
        self._runs: NDArray[np.int64] = np.empty((0, _LENGTHS), np.int64)
        self._looks = 0

    def follow(self, symbol_ids: NDArray[np.int32], markets: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """These symbols, (n,) ascending, are subscribed; `rows` is how many of each have come so far."""
        if np.array_equal(symbol_ids, self._ids):
            return
        runs = np.zeros((len(symbol_ids), _LENGTHS), np.int64)
        _, new, old = np.intersect1d(symbol_ids, self._ids, assume_unique=True, return_indices=True)
        runs[new] = self._runs[old]
        self._ids, self._markets, self._runs = symbol_ids, markets, runs
        self._rows = rows
        self._quiet = np.zeros(len(symbol_ids), np.int64)
        self._alarm = self._limits()

    def rest(self) -> None:
        """Nothing is heard just now, and that is no silence: runs begin anew."""
        self._quiet[:] = 0
        self._alarm = self._limits()

    def look(self, rows: NDArray[np.int64], unix_s: float) -> NDArray[np.int32]:
        """One look, `LOOK_EVERY_S` after the last: the symbols, by id, that have been quiet for too long.

        A symbol is told again only when it has been quiet for twice as long.
        """
        self._looks += 1
        if self._looks % _FORGET_EVERY == 0:
            self._runs //= 2
        open_ = {market: self._trades(market, unix_s) for market in np.unique(self._markets).tolist()}
        trading = np.array([open_[market] for market in self._markets.tolist()], np.bool_)
        heard = rows != self._rows
        self._rows = rows
        ended = np.flatnonzero(heard & trading)
        np.add.at(self._runs, (ended, _length(self._quiet[ended])), 1)
        self._quiet[heard | ~trading] = 0
        self._quiet[~heard & trading] += 1
        begun = self._quiet <= 1
        self._alarm[begun] = self._limits()[begun]
        late = self._quiet >= self._alarm
        self._alarm[late] = 2 * self._quiet[late]
        silent: NDArray[np.int32] = self._ids[late]
        return silent

    def _limits(self) -> NDArray[np.int64]:
        """(n,) looks without a tick that are too many for each symbol."""
        longest = _LENGTHS - 1 - np.argmax(self._runs[:, ::-1] > 0, axis=1)
        most = int(QUIET_S_MAX / LOOK_EVERY_S)
        own = np.minimum(np.left_shift(2, longest), most)
        limits: NDArray[np.int64] = np.where(self._runs.sum(axis=1) < RUNS_MIN, most, np.maximum(own, 2))
        return limits


def _length(quiet: NDArray[np.int64]) -> NDArray[np.int64]:
    """The kind of each run: 0 for none, k for 2^(k-1) to 2^k - 1 looks."""
    kinds: NDArray[np.int64] = np.minimum(np.ceil(np.log2(quiet + 1)).astype(np.int64), _LENGTHS - 1)
    return kinds
