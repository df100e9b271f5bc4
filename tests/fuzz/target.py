"""What the fuzzer runs: a decoder, inputs that suit it, and what it must be true of its outcome."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codec.clock import DAY_FIRST, DAY_LAST, UTC_S_MAX, UTC_S_MIN, MarketClock
from codec.columns import TickBuffer
from codec.flow_columns import FlowBuffer
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, DIRECTION, PERIOD, SESSION, EnumKind
from tests.fuzz.guarded import GuardedMemory

RECV_NS = 1_795_138_200_123_456_789
GATEWAY_ID = 7
PARTITIONS = 12

_ROWS_BEFORE = 2
"""Rows of a buffer that are there before a call, and must be there afterwards."""

_CORPUS_EXAMPLES = 50


class Reader(Protocol):
    """A decoder with its state, fresh for each case."""

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        """What comes of source[start:stop], positions counted from `start`, in values that compare equal."""


class Target(ABC):
    """One way by which wire bytes come in.

    Attributes
    ----------
    name : for `--kernel`
    bodies : sound bodies, or what a sound input is made of
    """

    name: str

    def __init__(self, corpus_seed: int) -> None:
        self.bodies = self.corpus(corpus_seed)

    @abstractmethod
    def corpus(self, corpus_seed: int) -> list[bytes]: ...

    @abstractmethod
    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        """A fresh decoder whose arrays are guarded and whose outputs hold `fill` in each byte.

        `chance` draws its limits: the same one, the same limits.
        """

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        """An input that holds `bodies`, with headers that are right."""
        return b"".join(bodies)

    @abstractmethod
    def hostile(self, chance: random.Random) -> bytes:
        """A body that asks for too much."""

    def check(self, data: bytes) -> bool:
        """Compare with the oracle what comes of `data` alone; False where there is none."""
        return False


def collected(corpus_seed: int, *strategies: st.SearchStrategy[bytes], count: int = _CORPUS_EXAMPLES) -> list[bytes]:
    """Examples of each strategy, the same for the same seed."""
    found: list[bytes] = []
    for strategy in strategies:

        @seed(corpus_seed)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def collect(example: bytes) -> None:
            found.append(example)

        collect()
    return sorted(set(found))


class Blocks:
    """The blocks of a guarded buffer: filled with a byte, looked at after a call, and taken out.

    `unwritten` puts zeros where the decoder writes nothing.

    Attributes
    ----------
    first : the row where the next call begins
    """

    def __init__(self, buffer: TickBuffer | FlowBuffer, fill: int, unwritten: Callable[[Any], None]) -> None:
        self._blocks: tuple[NDArray[Any], ...] = (buffer.wide, buffer.real, buffer.narrow, buffer.small)
        self._buffer, self._fill, self._unwritten = buffer, fill, unwritten
        self.renew()

    def renew(self, *, empty: bool = False) -> None:
        """As before a call, with no rows at all if `empty`."""
        for block in self._blocks:
            block.view(np.uint8).reshape(-1)[:] = self._fill
        self._unwritten(self._buffer)
        self._buffer.rows = self.first = 0 if empty else _ROWS_BEFORE
        self._before = self._bytes(0, self.first)

    def _bytes(self, first: int, stop: int) -> tuple[bytes, ...]:
        return tuple(block[:, first:stop].tobytes() for block in self._blocks)

    def taken(self) -> tuple[bytes, ...]:
        """The new rows as bytes."""
        assert self._bytes(0, self.first) == self._before, "rows from before the call were changed"
        rows = self._buffer.rows
        assert self.first <= rows <= self._buffer.capacity, f"{rows} rows of {self._buffer.capacity}"
        return self._bytes(self.first, rows)


def shortened_to_one_of(chance: random.Random, array: NDArray[Any], *lengths: int) -> NDArray[Any]:
    """The beginning of an array into which a decoder may write only so much: then it is soon full."""
    return array[: chance.choice((*lengths, len(array)))].copy()


def nothing_unwritten(buffer: object) -> None: ...


def _within(values: NDArray[Any], low: int, stop: int) -> bool:
    return bool(((values >= low) & (values < stop)).all())


_DAY_US = 86_400_000_000


def check_ticks(ticks: TickBuffer, first: int, symbols: SymbolTable) -> None:
    """Each row from `first` on holds what the columns of `ticks` may hold."""
    if ticks.rows == first:
        return
    _check_times_and_symbols(ticks, first, symbols)
    assert _finite(ticks, first, "price", "volume", "turnover")
    assert _listed(ticks, first, direction=DIRECTION, session=SESSION, delivery=DELIVERY)
    assert _within(ticks.column("condition")[first:], 0, 128 + 256)


def check_lines(lines: FlowBuffer, first: int, symbols: SymbolTable) -> None:
    """Each row from `first` on holds what the columns of `capital_flow` may hold."""
    if lines.rows == first:
        return
    _check_times_and_symbols(lines, first, symbols)
    assert _finite(lines, first, "net_inflow")
    assert not np.isinf(lines.real[:, first : lines.rows]).any()
    assert _listed(lines, first, period=PERIOD)


def _check_times_and_symbols(buffer: TickBuffer | FlowBuffer, first: int, symbols: SymbolTable) -> None:
    def new(name: str) -> NDArray[Any]:
        return buffer.column(name)[first:]

    assert _within(new("symbol"), 0, len(symbols.names))
    # Local days and clocks run up to a day beside UTC's; an overnight session belongs to a day some days ahead.
    assert _within(new("ts_event"), UTC_S_MIN * 1_000_000 - _DAY_US, UTC_S_MAX * 1_000_000 + _DAY_US)
    assert _within(new("trade_date"), DAY_FIRST - 2, DAY_LAST + 8)
    assert _within(new("ts_recv"), RECV_NS, RECV_NS + 1)
    assert _within(new("gateway"), GATEWAY_ID, GATEWAY_ID + 1)


def _finite(buffer: TickBuffer | FlowBuffer, first: int, *names: str) -> bool:
    return all(bool(np.isfinite(buffer.column(name)[first:]).all()) for name in names)


def _listed(buffer: TickBuffer | FlowBuffer, first: int, **kinds: EnumKind) -> bool:
    return all(
        set(buffer.column(name)[first:].tolist()) <= {code for _, code in kind.members} for name, kind in kinds.items()
    )
