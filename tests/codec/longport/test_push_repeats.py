"""Pushes under one sequence: the window judges each as a whole (contract.md, ticks, LongPort)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.columns import ORDINAL
from codec.conditions import ConditionTable
from codec.longport.trade_window import TradeWindow
from codec.markets import US
from codec.symbols import SymbolTable
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of

Push = tuple[int, int, tuple[float, ...]]
"""Symbol id, sequence, the prices of its trades."""

SYMBOLS = 2

_pushes: st.SearchStrategy[Push] = st.tuples(
    st.integers(0, SYMBOLS - 1),
    st.integers(1, 4),
    st.lists(st.sampled_from([1.0, 2.0]), min_size=1, max_size=4).map(tuple),
)


class Oracle:
    """Every push of each (symbol, sequence), with the ordinal of its first trade."""

    def __init__(self) -> None:
        self.pushes: dict[tuple[int, int], list[tuple[tuple[float, ...], int]]] = defaultdict(list)

    def judge(self, push: Push) -> list[int | None]:
        symbol, sequence, prices = push
        known = self.pushes[symbol, sequence]
        if prices in [other for other, _ in known]:
            return [None] * len(prices)
        first = max((begin + len(other) for other, begin in known), default=0)
        known.append((prices, first))
        return [first + place for place in range(len(prices))]


def table() -> SymbolTable:
    symbols = SymbolTable(12)
    for number in range(SYMBOLS):
        symbols.id_of(US, f"T{number}")
    return symbols


def judge(window: TradeWindow, pushes: list[Push], *, mark: bool = True) -> tuple[list[int | None], int]:
    """Ordinals of the fresh trades, None for a repeat, and the conflicts."""
    buffer = buffer_of([Tick(symbol, sequence, price) for symbol, sequence, prices in pushes for price in prices])
    buffer.narrow[ORDINAL, : buffer.rows] = [place for _, _, prices in pushes for place in range(len(prices))]
    verdict = window.test(buffer)
    ordinals = [int(ordinal) if fresh else None for fresh, ordinal in zip(verdict.fresh, verdict.ordinals, strict=True)]
    assert verdict.fresh_rows == sum(ordinal is not None for ordinal in ordinals)
    if mark:
        window.mark(buffer, verdict)
    return ordinals, verdict.conflicts


@examples(300)
@given(batches=st.lists(st.lists(_pushes, max_size=8), max_size=5), restarts=st.booleans())
def test_pushes(batches: list[list[Push]], restarts: bool) -> None:
    oracle, window = Oracle(), TradeWindow(table(), ConditionTable())
    for batch in batches:
        assert judge(window, batch, mark=False) == judge(window, batch, mark=False)
        found, _ = judge(window, batch)
        assert found == [ordinal for push in batch for ordinal in oracle.judge(push)]
        if restarts:
            exported, window = window.export(), TradeWindow(table(), ConditionTable())
            window.restore(exported)


def test_equal_trades_of_one_push_are_no_repeats_and_the_push_again_is() -> None:
    window = TradeWindow(table(), ConditionTable())
    push: Push = (0, 7, (1.0, 1.0, 1.0))
    assert judge(window, [push, push]) == ([0, 1, 2, None, None, None], 0)
    assert judge(window, [push]) == ([None] * 3, 0)


def test_another_payload_goes_on_from_the_highest_ordinal() -> None:
    window = TradeWindow(table(), ConditionTable())
    assert judge(window, [(0, 7, (1.0, 2.0))]) == ([0, 1], 0)
    assert judge(window, [(0, 7, (1.0,)), (0, 7, (1.0, 2.0, 2.0))]) == ([2, 3, 4, 5], 2)
    assert judge(window, [(0, 7, (1.0,)), (1, 7, (1.0,))]) == ([None, 0], 0)


def test_a_refused_trade_leaves_its_place_empty() -> None:
    window = TradeWindow(table(), ConditionTable())
    buffer = buffer_of([Tick(0, 7, 1.0), Tick(0, 7, 2.0), Tick(0, 8, 1.0)])
    buffer.narrow[ORDINAL, :3] = [1, 3, 2]
    verdict = window.test(buffer)
    assert verdict.ordinals.tolist() == [1, 3, 2]
    assert verdict.conflicts == 0


@pytest.mark.parametrize("again", [(1.0, 2.0), (1.0,)])
def test_what_was_read_back_from_the_journal_counts(again: tuple[float, ...]) -> None:
    window = TradeWindow(table(), ConditionTable())
    buffer = buffer_of([Tick(0, 7, 1.0), Tick(0, 7, 2.0)])
    ordinals = np.array([0, 1], np.uint32)
    buffer.narrow[ORDINAL, :2] = ordinals
    window.mark_journaled(buffer, ordinals)
    expected = [None, None] if again == (1.0, 2.0) else [2]
    assert judge(window, [(0, 7, again)])[0] == expected
