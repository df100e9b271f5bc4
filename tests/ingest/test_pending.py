"""Requests that wait: each is answered or late once, whatever is held meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.pending import PendingRequests

Steps = list[tuple[str, int, int, int]]

_steps = st.lists(
    st.tuples(
        st.sampled_from(("add", "answer", "wait", "hold")), st.integers(1, 4), st.integers(1, 2), st.integers(0, 9)
    ),
    max_size=40,
)


@given(steps=_steps)
def test_each_request_is_answered_or_late_once(steps: Steps) -> None:
    pending = PendingRequests[int]()
    left: dict[int, tuple[int, int]] = {}  # by number: the call, and how long its answer may still take
    now_ns = 0
    for step, number, call, ns in steps:
        if step == "add":
            pending.add(number, call, now_ns + ns)
            left[number] = (call, ns)
        elif step == "answer":
            waits = left.get(number, (None, 0))[0] == call
            assert pending.has(number, call) is waits
            assert pending.take(number, call) is waits
            if waits:
                del left[number]
        elif step == "hold":
            now_ns += ns
            pending.postpone(ns)
        else:
            now_ns += ns
            left = {each: (asked, rest - ns) for each, (asked, rest) in left.items()}
            late = {each: asked for each, (asked, rest) in left.items() if rest <= 0}
            assert dict(pending.take_late(now_ns)) == late
            left = {each: waits for each, waits in left.items() if each not in late}
        assert len(pending) == len(left)
        assert sorted(pending.deadlines_ns()) == sorted(now_ns + rest for _, rest in left.values())
    pending.clear()
    assert pending.deadlines_ns() == []
