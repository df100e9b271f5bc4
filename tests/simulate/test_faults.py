"""Faults: read from the command line, seeded, and within what a client can make good."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.opend.protocol import HEADER_BYTES, pack_frame
from ticktape.simulate.faults import (
    BAD_SHA1,
    DUPLICATE,
    LATE_TICKS_MAX,
    MID_FRAME_CLOSE,
    REORDER,
    BadFault,
    Faults,
    Later,
    cut_inside_a_frame,
)
from ticktape.simulate.tick_kernel import STEP_TICKS_MAX
from ticktape.simulate.tick_store import Spans

DEDUP_WINDOW_TICKS = 4096
"""What a client must remember a symbol (contract of the pipeline)."""


def test_strengths_are_read_and_default() -> None:
    faults = Faults.parse("duplicate=0.5, split,bad-sha1=2", seed=1)
    assert dict(faults.strength) == {"duplicate": 0.5, "split": 0.05, "bad-sha1": 2.0}
    assert DUPLICATE in faults
    assert MID_FRAME_CLOSE not in faults
    assert not Faults.parse("", seed=1).strength


@pytest.mark.parametrize(
    "text", ["duplicates", "duplicate=much", "duplicate=1.5", "bad-sha1=0", "split=nan", "split=-1"]
)
def test_what_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(BadFault, match=text.split("=")[0]):
        Faults.parse(text, seed=1)


def test_a_fault_draws_the_same_whatever_else_is_on() -> None:
    alone, among = Faults.parse("bad-sha1", 3), Faults.parse("duplicate,bad-sha1,split", 3)
    draws = []
    for faults in (alone, among):
        draws.append([faults.strikes(BAD_SHA1, 0.1) for _ in range(200)])
        assert 5 < sum(draws[-1]) < 40
    assert draws[0] == draws[1]
    assert not any(alone.strikes(MID_FRAME_CLOSE, 1.0) for _ in range(50))


@pytest.mark.parametrize("ticks_a_step", [1, 30, STEP_TICKS_MAX])
def test_repeats_are_the_share_asked_for_and_never_old(ticks_a_step: int) -> None:
    """Whatever the rate, a repeat comes while the symbol's ring and any client's window hold its original."""
    repeats, steps, symbols = Later(np.random.default_rng(1)), 400, 3
    ticks = np.zeros(symbols, np.int64)
    seen: list[tuple[int, int]] = []
    for step in range(steps + 100):
        due = repeats.due(ticks)
        assert due.count.tolist() == [1] * len(due)
        for symbol, number in zip(due.symbol.tolist(), due.first.tolist(), strict=True):
            assert 0 <= ticks[symbol] - number - 1 <= LATE_TICKS_MAX + STEP_TICKS_MAX < DEDUP_WINDOW_TICKS
            seen.append((symbol, number))
        if step < steps:
            repeats.choose(Spans(np.arange(symbols), ticks.copy(), np.full(symbols, ticks_a_step)), 0.05)
            ticks += ticks_a_step
    assert len(set(seen)) == len(seen)
    expected = 0.05 * int(ticks.sum())
    assert abs(len(seen) - expected) < 5 * expected**0.5


def test_what_comes_late_is_not_lost_and_not_pushed_in_time() -> None:
    later, spans = Later(np.random.default_rng(1)), Spans(np.array([3, 5]), np.array([10, 0]), np.array([40, 60]))
    in_time = _ticks(later.choose(spans, 0.3))
    assert 50 < len(in_time) < 90
    ticks = np.full(6, 100)
    first = _ticks(later.due(ticks))
    late = first + [tick for _ in range(5) for tick in _ticks(later.due(ticks))]
    rest = _ticks(later.due(ticks, all_of_them=True))
    assert len(late) > 0
    assert len(rest) > 0
    assert sorted(in_time + late + rest) == sorted(_ticks(spans))
    assert len(later.due(ticks, all_of_them=True)) == 0
    assert len(later.choose(spans, 1.0)) == 0, "as a planned one does"


def _ticks(spans: Spans) -> list[tuple[int, int]]:
    return [
        (symbol, number)
        for symbol, first, count in zip(spans.symbol.tolist(), spans.first.tolist(), spans.count.tolist(), strict=True)
        for number in range(first, first + count)
    ]


def test_a_planned_reorder_takes_a_whole_step() -> None:
    faults = Faults.parse("", seed=1, plan="1:reorder")
    shares = []
    for now_s in (0.0, 1.0, 2.0):
        faults.arm(now_s)
        shares.append(faults.share(REORDER))
    assert shares == [0.0, 1.0, 0.0]
    assert faults.struck == {REORDER: 1}
    assert Faults.parse("reorder=0.25", seed=1).share(REORDER) == 0.25


@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.integers())
def test_a_cut_leaves_a_frame_unfinished(sizes: list[int], seed: int) -> None:
    frames = [pack_frame(3011, serial, bytes(size)) for serial, size in enumerate(sizes)]
    cut = cut_inside_a_frame(b"".join(frames), random.Random(seed))
    edges = np.cumsum([0, *map(len, frames)]).tolist()
    assert 0 < cut < edges[-1]
    assert cut not in edges
    assert min(len(frame) for frame in frames) > HEADER_BYTES


def test_a_planned_fault_strikes_once_at_its_time_whatever_else_is_on() -> None:
    faults = Faults.parse("", seed=1, plan="20:bad-sha1, 1.5:mid-frame-close,20:bad-sha1")
    assert [fault for _, fault in faults.planned] == [MID_FRAME_CLOSE, BAD_SHA1, BAD_SHA1]
    struck = []
    for now_s in (0.0, 1.0, 2.0, 19.9, 20.0, 20.1, 20.2):
        faults.arm(now_s)
        struck.append([fault for fault in (MID_FRAME_CLOSE, BAD_SHA1) if faults.strikes(fault, 0.1)])
    assert struck == [[], [], [MID_FRAME_CLOSE], [], [BAD_SHA1], [BAD_SHA1], []]
    assert faults.struck == {MID_FRAME_CLOSE: 1, BAD_SHA1: 2}


@pytest.mark.parametrize("plan", ["bad-sha1", "soon:bad-sha1", "1:duplicate", "1:nothing"])
def test_a_senseless_plan_is_refused(plan: str) -> None:
    with pytest.raises(BadFault):
        Faults.parse("", seed=1, plan=plan)
