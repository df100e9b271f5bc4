"""The simulated market's ticks as LongPort shows them: its spelling of symbols, its sequences, its packets.

A sequence is a push's, not a trade's. Each symbol's grow by odd steps; a restart sets them back, and none is
ever given twice: their last ten bits count the restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codec.clock import DAY_FIRST, DAY_LAST, MarketClock, UsDays
from codec.longport.protocol import PUSH_HEADER_BYTES
from codec.markets import US
from ticktape.simulate.longport_encode import (
    BODY_OVERHEAD_BYTES_MAX,
    TRADE_BYTES_MAX,
    Labels,
    Times,
    encode_pulled,
    encode_pushes,
    sessions_of,
)
from ticktape.simulate.longport_packets import Packets
from ticktape.simulate.symbols import Listing, list_symbols
from ticktape.simulate.tick_kernel import Rings
from ticktape.simulate.tick_store import Spans

_SEQUENCE_FIRST = 160_808_750_000
"""Times 1024: about the vendor's own example."""
_STEP_MAX = 1000
_RESTART_BITS = 10
_SET_BACK_MAX = 1_000_000
_US_CLOSE_S = 16 * 3600
"""Every day, as the simulated market trades every day."""


def wire_symbol(listing: Listing) -> str:
    """`700.HK`, `BRK.B.US`."""
    return f"{listing.code}.US" if listing.market == US else f"{listing.code.lstrip('0')}.HK"


def list_longport_symbols(count: int) -> tuple[Listing, ...]:
    """As `list_symbols`; times are whole seconds, as LongPort's are."""
    return tuple(replace(listing, with_millis=False) for listing in list_symbols(count))


class Sequences:
    """The next sequence of each symbol's pushes."""

    def __init__(self, symbols: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._counter = np.full(symbols, _SEQUENCE_FIRST, np.int64)
        self._restarts = np.zeros(symbols, np.int64)

    def take(self, symbol: NDArray[np.int64]) -> NDArray[np.int64]:
        """A sequence for each packet; packets of one symbol stand together."""
        if len(symbol) == 0:
            return np.empty(0, np.int64)
        steps = self._rng.integers(1, _STEP_MAX + 1, len(symbol))
        total = np.cumsum(steps)
        first = np.flatnonzero(np.diff(symbol, prepend=-1))
        before = np.repeat(total[first] - steps[first], np.diff(np.append(first, len(symbol))))
        counter = self._counter[symbol] + total - before
        self._counter[symbol] = counter  # the last of each symbol stays
        return (counter << _RESTART_BITS) | self._restarts[symbol]

    def restart(self, symbol: int) -> bool:
        """Let the next sequences of a symbol be lower than its last; False once it was done too often."""
        if self._restarts[symbol] + 1 == 1 << _RESTART_BITS:
            return False
        self._restarts[symbol] += 1
        self._counter[symbol] -= self._rng.integers(_STEP_MAX, _SET_BACK_MAX)
        return True


class TradeEncoder:
    """Owns what the kernels need beside the ticks.

    Attributes
    ----------
    sequences : of the pushes
    """

    def __init__(
        self, listings: Sequence[Listing], rings: Rings, trades_per_push_max: int, rng: np.random.Generator
    ) -> None:
        self._rings, self._trades_per_push_max = rings, trades_per_push_max
        self.sequences = Sequences(len(listings), rng)
        clock = MarketClock(UsDays.from_closes(np.full(DAY_LAST - DAY_FIRST, _US_CLOSE_S)))
        self._times = Times(clock.markets, clock.changes, clock.cached, clock.us_days)
        texts = [wire_symbol(listing).encode() for listing in listings]
        width = 2 + max(map(len, texts))
        rows = b"".join((bytes((0x0A, len(text))) + text).ljust(width, b"\0") for text in texts)
        self._labels = Labels(
            np.frombuffer(rows, np.uint8).reshape(len(texts), width),
            np.array([2 + len(text) for text in texts], np.int64),
            np.array([listing.market for listing in listings], np.int64),
        )
        self._body_bytes_max = width + BODY_OVERHEAD_BYTES_MAX

    def pushes(self, spans: Spans, unsequenced: NDArray[np.bool_] | None = None) -> Packets:
        """Pushes of these trades, each with a new sequence.

        `unsequenced`, as long as `pushes_of(spans)` says, tells which have none.
        """
        symbol = np.repeat(spans.symbol, self._pushes_by_span(spans))
        sequence = self.sequences.take(symbol)
        if unsequenced is not None:
            sequence[unsequenced] = 0
        packet_bytes_max = PUSH_HEADER_BYTES + self._body_bytes_max
        out = np.empty(len(symbol) * packet_bytes_max + spans.ticks * TRADE_BYTES_MAX, np.uint8)
        at = np.empty(len(symbol) + 1, np.int64)
        at[-1] = encode_pushes(
            spans.symbol,
            spans.first,
            spans.count,
            self._trades_per_push_max,
            sequence,
            self._rings,
            self._labels,
            self._times,
            out,
            at,
        )
        return Packets(out[: at[-1]], at, symbol, sequence)

    def pushes_of(self, spans: Spans) -> int:
        """How many pushes `spans` make."""
        return int(self._pushes_by_span(spans).sum())

    def pulled(self, spans: Spans, symbol: int) -> bytes:
        """The body of a reply: the trades of one span, oldest first, or of none."""
        first, count = (int(spans.first[0]), int(spans.count[0])) if len(spans) else (0, 0)
        out = np.empty(self._body_bytes_max + count * TRADE_BYTES_MAX, np.uint8)
        size = encode_pulled(symbol, first, count, self._rings, self._labels, self._times, out)
        return out[:size].tobytes()

    def sessions(self, symbols: NDArray[np.int32], event_us: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n,) TradeSession of trades, by their symbol's index and time."""
        result = np.empty(len(symbols), np.uint8)
        sessions_of(symbols, event_us, self._labels, self._times, result)
        return result

    def _pushes_by_span(self, spans: Spans) -> NDArray[np.int64]:
        pushes: NDArray[np.int64] = -(-spans.count // self._trades_per_push_max)
        return pushes
