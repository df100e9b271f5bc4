"""The ticks of the simulated market: generated here, kept for pulls, counted for the final truth.

What the rest of the simulator passes around is a `Spans`: numbers of ticks of symbols. Their
values stay in the rings until they are encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.markets import US
from ticktape.simulate.checksum import mix_ticks
from ticktape.simulate.symbols import Listing
from ticktape.simulate.tick_kernel import RING_TICKS, STEP_TICKS_MAX, Rings, SymbolState, trade


@dataclass(frozen=True, slots=True)
class Spans:
    """Ticks `first[i] .. first[i] + count[i] - 1` of symbol `symbol[i]`; all (n,) int64, counts > 0."""

    symbol: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.symbol)

    @property
    def ticks(self) -> int:
        """Ticks in all spans together."""
        return int(self.count.sum())

    def only(self, wanted: NDArray[np.bool_]) -> Spans:
        """The spans whose symbol's entry in `wanted`, (n_symbols,), is true."""
        keep = wanted[self.symbol]
        return Spans(self.symbol[keep], self.first[keep], self.count[keep])


def _seeds(seed: int, listings: Sequence[Listing]) -> NDArray[np.uint64]:
    """A stream for each symbol, from its name rather than its place in the list."""
    digests = (hashlib.sha256(f"{seed}/{listing.symbol}".encode()).digest() for listing in listings)
    return np.array([int.from_bytes(digest[:8], "little") for digest in digests], np.uint64)


class TickStore:
    """Per-symbol state and rings, and what was generated in all.

    Attributes
    ----------
    total : ticks generated
    checksum : (n_symbols,) uint64, over all ticks generated (ticktape/simulate/checksum.py)

    Parameters
    ----------
    uncounted : share of the ticks of a market that counts before which its counter skips one
    keeps : columns of the rings that `kept` can tell of, of all ticks
    sequenced : whether the gateway's ticks have sequences; without, checksums leave them out, and the
        turnover is price times volume
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        seed: int,
        *,
        uncounted: float = 0.0,
        keeps: Sequence[str] = (),
        sequenced: bool = True,
    ) -> None:
        self._uncounted_of_65536 = round(uncounted * 65536)
        self._keeps, self._sequenced = tuple(keeps), sequenced
        self._kept: list[tuple[NDArray[Any], ...]] = []
        size = len(listings)
        base_milli = np.array([listing.base_milli for listing in listings], np.int64)
        self.state = SymbolState(
            seed=_seeds(seed, listings),
            is_us=np.array([listing.market == US for listing in listings]),
            with_millis=np.array([listing.with_millis for listing in listings]),
            lot=np.array([listing.lot_size for listing in listings], np.int64),
            base_milli=base_milli,
            bid_milli=base_milli.copy(),
            ticks=np.zeros(size, np.int64),
            day_first=np.zeros(size, np.int64),
            skipped=np.zeros(size, np.int64),
            second=np.full(size, -1, np.int64),
            second_index=np.zeros(size, np.int64),
        )
        # Not zeroed: the system gives pages as they are touched, so idle symbols cost no memory.
        self.rings = Rings(
            event_us=np.empty((size, RING_TICKS), np.int64),
            sequence=np.empty((size, RING_TICKS), np.int64),
            price_milli=np.empty((size, RING_TICKS), np.int64),
            volume=np.empty((size, RING_TICKS), np.int64),
            direction=np.empty((size, RING_TICKS), np.uint8),
            trade_type=np.empty((size, RING_TICKS), np.uint8),
            sign=np.empty((size, RING_TICKS), np.uint8),
        )
        self.total = 0
        self.checksum = np.zeros(size, np.uint64)
        self.last_sequence = np.zeros(size, np.int64)

    def generate(self, symbols: NDArray[np.int64], counts: NDArray[np.int64], start_us: int, stop_us: int) -> Spans:
        """Generate ticks spread over start_us <= time < stop_us (see `tick_kernel.trade`)."""
        traded = counts > 0
        symbols, counts = symbols[traded], counts[traded]
        assert len(counts) == 0 or int(counts.max()) <= STEP_TICKS_MAX
        spans = Spans(symbols, self.state.ticks[symbols], counts)
        if len(spans):
            trade(symbols, counts, start_us, stop_us, self.state, self.rings, self._uncounted_of_65536)
            self._account(spans)
        return spans

    def start_day(self, symbols: NDArray[np.int64]) -> None:
        """Begin the day's counter of these symbols at 1 again."""
        self.state.day_first[symbols] = self.state.ticks[symbols]
        self.state.skipped[symbols] = 0

    def kept(self) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
        """The symbol's index and the columns of every tick generated, (total,) each, in order."""
        assert self._keeps, "they were not to be kept"
        if not self._kept:
            return np.empty(0, np.int32), {name: getattr(self.rings, name)[0, :0] for name in self._keeps}
        symbols, *columns = zip(*self._kept, strict=True)
        return np.concatenate(symbols), dict(zip(self._keeps, map(np.concatenate, columns), strict=True))

    def last(self, symbols: NDArray[np.int64], ticks_max: int) -> Spans:
        """Up to `ticks_max` newest ticks of each symbol, of those that have any."""
        assert 0 < ticks_max <= RING_TICKS - STEP_TICKS_MAX
        ticks = self.state.ticks[symbols]
        count = np.minimum(ticks, ticks_max)
        have = count > 0
        return Spans(symbols[have], (ticks - count)[have], count[have])

    def _account(self, spans: Spans) -> None:
        starts = np.cumsum(spans.count) - spans.count
        row = np.repeat(spans.symbol, spans.count)
        number = np.arange(len(row)) + np.repeat(spans.first - starts, spans.count)
        at = row * RING_TICKS + (number & (RING_TICKS - 1))
        rings = self.rings
        price_milli, volume = rings.price_milli.ravel()[at], rings.volume.ravel()[at]
        sequence = rings.sequence.ravel()[at]
        price, shares = price_milli / 1000.0, volume.astype(np.float64)
        mixed = mix_ticks(
            sequence if self._sequenced else np.zeros(len(row), np.int64),
            price,
            shares,
            price_milli * volume / 1000.0 if self._sequenced else price * shares,
            rings.direction.ravel()[at],
            rings.event_us.ravel()[at],
        )
        self.checksum[spans.symbol] += np.add.reduceat(mixed, starts)
        self.last_sequence[spans.symbol] = sequence[starts + spans.count - 1]
        self.total += len(row)
        if self._keeps:
            self._kept.append((row.astype(np.int32), *(getattr(rings, name).ravel()[at] for name in self._keeps)))
