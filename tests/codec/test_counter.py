"""What came in turn and what did not, against a slow twin; and that any cut of a buffer gives the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.counter import DISCONNECT_TICKS_MAX, OutOfTurn, TickFollower, Turn, place_of
from codec.markets import HK, US
from codec.symbols import SymbolTable
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of

START_S, DAY_S = 1795138200, 86_400


def table() -> SymbolTable:
    symbols = SymbolTable(4)
    symbols.id_of(HK, "00700")
    symbols.id_of(HK, "09988")
    symbols.id_of(US, "AAPL")
    return symbols


def day_of(sequence: int) -> int:
    return ((sequence >> 32) + 8 * 3600) // DAY_S


@dataclass
class Twin:
    """Row by row, with nothing but a dictionary."""

    def __post_init__(self) -> None:
        self.newest: dict[int, int] = {}
        self.run: tuple[int, int] = (-1, 0)

    def follow(self, ticks: list[Tick], fresh: list[bool], begin: int, end: int) -> list[tuple[str, int, int]]:
        """(turn, first row, sequence of the last row) of each."""
        turns: list[tuple[str, int, int]] = []
        late: tuple[int, int] | None = None
        run = (-1, 0, 0)
        for row in range(begin, end):
            tick = ticks[row]
            if tick.delivery == "by_disconnect":
                run = (tick.symbol_id, run[1], run[2] + 1) if run[0] == tick.symbol_id else (tick.symbol_id, row, 1)
                if run[2] == DISCONNECT_TICKS_MAX:
                    turns.append(("CAPPED", run[1], tick.sequence))
                    late = None
            else:
                run = (-1, 0, 0)
            if not fresh[row]:
                continue
            had = self.newest.get(tick.symbol_id)
            turn = "next" if tick.symbol_id == 2 else self._turn(had, tick.sequence)
            if turn == "LATE" and late is not None and late == (row - 1, tick.symbol_id):
                before = ticks[row - 1].sequence
                if place_of(tick.sequence) == place_of(before) + 1:
                    turns[-1] = (turns[-1][0], turns[-1][1], tick.sequence)
                    late = (row, tick.symbol_id)
                    continue
            if turn != "next":
                turns.append((turn, row, tick.sequence))
                late = (row, tick.symbol_id) if turn == "LATE" else None
            if tick.symbol_id == 2:
                self.newest[2] = tick.sequence if had is None else max(had, tick.sequence)
            elif turn != "LATE":
                self.newest[tick.symbol_id] = tick.sequence
        return turns

    def _turn(self, had: int | None, sequence: int) -> str:
        if had is None:
            return "FIRST"
        if day_of(sequence) != day_of(had):
            return "NEXT_DAY" if day_of(sequence) > day_of(had) else "LATE"
        step = (sequence & 0xFFFFFFFF) - (had & 0xFFFFFFFF)
        return "next" if step == 1 else "STEP" if step > 0 else "LATE"


def said(turns: list[OutOfTurn]) -> list[tuple[str, int, int]]:
    return [(turn.turn.name, turn.first_row, turn.last.sequence) for turn in turns]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[Tick, bool]]:
    """Ticks of three symbols, mostly in turn, some missing, late, of another day, or supplied in bulk."""
    counters, day, rows = [0, 0, 0], 0, []
    for _ in range(draw(st.integers(0, 25))):
        symbol = draw(st.integers(0, 2))
        move = draw(st.sampled_from(("on", "on", "on", "skip", "back", "day", "bulk")))
        if move == "day":
            day, counters = day + draw(st.integers(-1, 1)), [0, 0, 0]
        if move == "back":
            counters[symbol] = max(0, counters[symbol] - draw(st.integers(1, 6)))
        if move == "skip":
            counters[symbol] += draw(st.integers(1, 4))
        delivery = "by_disconnect" if move == "bulk" else draw(st.sampled_from(("realtime", "pull", "cache")))
        for _ in range(draw(st.integers(45, 55)) if move == "bulk" else draw(st.integers(1, 4))):
            counters[symbol] += 1
            sequence = (START_S + day * DAY_S + counters[symbol] // 7) << 32 | counters[symbol]
            rows.append((Tick(symbol, sequence, delivery=delivery), draw(st.integers(0, 9)) > 0))
    return rows


@examples(300)
@given(rows=streams(), cut=st.floats(0, 1))
def test_it_says_what_its_twin_says(rows: list[tuple[Tick, bool]], cut: float) -> None:
    ticks, fresh = [tick for tick, _ in rows], [is_fresh for _, is_fresh in rows]
    buffer, follower, twin = buffer_of(ticks), TickFollower(table(), has_counter=True), Twin()
    middle = int(cut * len(ticks))
    for begin, end in ((0, middle), (middle, len(ticks))):
        turns = follower.follow(buffer, np.array(fresh, np.bool_), begin, end)
        assert said(turns) == twin.follow(ticks, fresh, begin, end)
        for turn in turns:
            assert turn.first.sequence == ticks[turn.first_row].sequence
    for symbol in range(3):
        newest = follower.newest(symbol)
        assert (newest.sequence if newest else None) == twin.newest.get(symbol)
        of_symbol = [tick for tick, is_fresh in rows if is_fresh and tick.symbol_id == symbol]
        assert follower.rows(symbol) == len(of_symbol)
        assert follower.supplied(symbol) == sum(tick.delivery in ("by_disconnect", "cache") for tick in of_symbol)


def test_a_source_without_a_counter_has_nothing_out_of_turn() -> None:
    follower = TickFollower(table(), has_counter=False)
    buffer = buffer_of([Tick(0, START_S << 32 | number) for number in (1, 9, 4)])
    assert follower.follow(buffer, np.ones(3, np.bool_), 0, 3) == []
    newest = follower.newest(0)
    assert newest is not None
    assert newest.sequence == START_S << 32 | 9


def test_what_is_restored_goes_on_as_it_was() -> None:
    buffer = buffer_of([Tick(0, START_S << 32 | number) for number in (1, 2, 3, 5)])
    first = TickFollower(table(), has_counter=True)
    first.follow(buffer, np.ones(4, np.bool_), 0, 3)
    names, state = first.export()
    assert names == ["HK.00700"]
    other = TickFollower(table(), has_counter=True)
    other.restore(np.array([0], np.int32), state)
    [step] = other.follow(buffer, np.ones(4, np.bool_), 3, 4)
    assert (step.turn, step.before, step.first) == (Turn.STEP, first.newest(0), other.newest(0))
