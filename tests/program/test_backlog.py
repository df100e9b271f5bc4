"""The age of what waits, against a list that remembers the time of every row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.backlog import _NOTES_MAX, _STEP_S, Backlog

steps = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.floats(0, 1)), max_size=60)


@given(steps)
def test_the_age_is_that_of_the_oldest_row_left_to_within_a_step(steps: list[tuple[int, float, float]]) -> None:
    backlog, born_s, done, now_s = Backlog(), list[float](), 0, 0.0
    for rows, waited_s, share in steps:
        now_s += waited_s
        born_s += [now_s] * rows
        backlog.note(len(born_s), now_s)
        done = max(done, int(share * len(born_s)))
        expected_s = now_s - born_s[done] if done < len(born_s) else 0.0
        assert backlog.age_s(done, now_s) == pytest.approx(expected_s, abs=_STEP_S)


def test_a_long_outage_costs_no_more_memory() -> None:
    backlog = Backlog()
    for second in range(5 * _NOTES_MAX):
        backlog.note(second + 1, float(second))
    assert len(backlog._notes) <= _NOTES_MAX
    now_s = 5.0 * _NOTES_MAX
    assert backlog.age_s(0, now_s) == pytest.approx(now_s, abs=16)
    assert backlog.age_s(3 * _NOTES_MAX, now_s) == pytest.approx(2 * _NOTES_MAX, abs=16)
    assert backlog.age_s(5 * _NOTES_MAX, now_s) == 0
