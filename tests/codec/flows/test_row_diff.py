"""What is new in a poll of a small table, against a dictionary of what was published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.row_diff import KEYS_MIN, RowDiff
from codec.tables import ARK_DYNAMIC, CAPITAL_FLOW_SUMMARY, Kind
from tests.codec.examples import examples

NUMBERS = [column.name for column in CAPITAL_FLOW_SUMMARY if column.kind is Kind.FLOAT64]


def summary(symbol: str, ts_event: int, amount: float | None, recv_ns: int, gateway: str = "flows") -> dict[str, Any]:
    row: dict[str, Any] = {"source": "flow-list", "symbol": symbol, "trade_date": 20777, "ts_event": ts_event}
    return row | dict.fromkeys(NUMBERS, amount) | {"ts_recv": recv_ns, "gateway": gateway}


def ark(symbol: str, shares: int, recv_ns: int) -> dict[str, Any]:
    return {
        "source": "futu",
        "symbol": symbol,
        "dynamic_type": "recent_transaction",
        "transaction_count": 1,
        "net_shares": shares,
        "last_transaction_time": "2026-06-22",
        "ts_recv": recv_ns,
        "gateway": "opend-1",
    }


polls = st.lists(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 3), st.sampled_from([0.0, 1.0, None])), max_size=5),
    max_size=8,
)


@examples(300)
@given(drawn=polls, unmarked=st.frozensets(st.integers(0, 7)), moves=st.integers(0, 8))
def test_new_and_changed_rows(
    drawn: list[list[tuple[str, int, float | None]]], unmarked: frozenset[int], moves: int
) -> None:
    diff = RowDiff(CAPITAL_FLOW_SUMMARY)
    published: dict[tuple[str, int], float | None] = {}
    for place, poll in enumerate(drawn):
        if place == moves:
            exported, diff = diff.export(), RowDiff(CAPITAL_FLOW_SUMMARY)
            diff.restore(exported)
        last = {(symbol, at): amount for symbol, at, amount in poll}
        expected = {key: amount for key, amount in last.items() if key not in published or published[key] != amount}
        rows = diff.fresh(summary(symbol, at, amount, place) for symbol, at, amount in poll)
        assert {(row["symbol"], row["ts_event"]): row["main_net_inflow"] for row in rows} == expected
        assert len(rows) == len(expected)
        if place not in unmarked:
            diff.mark(rows)
            published |= expected


def test_versions_of_two_replies_in_one_batch_are_both_told() -> None:
    diff = RowDiff(ARK_DYNAMIC)
    rows = [ark("US.TSLA", 1, 1), ark("US.TSLA", 2, 2), ark("US.TSLA", 2, 3), ark("US.TSLA", 1, 4)]
    assert [row["ts_recv"] for row in diff.fresh(rows)] == [1, 2, 4]


def test_when_and_by_whom_does_not_make_another_row() -> None:
    diff = RowDiff(CAPITAL_FLOW_SUMMARY)
    diff.mark([summary("HK.00700", 1, 5.0, 1)])
    assert diff.fresh([summary("HK.00700", 1, 5.0, 2, gateway="other")]) == []


def test_keys_are_bounded_and_the_one_changed_longest_ago_goes() -> None:
    diff = RowDiff(CAPITAL_FLOW_SUMMARY)
    for at in range(KEYS_MIN):
        diff.mark([summary("HK.00700", at, 1.0, at)])
    diff.mark([summary("HK.00700", 0, 2.0, 98), summary("HK.00700", KEYS_MIN, 1.0, 99)])
    known = [summary("HK.00700", at, 1.0, 100) for at in range(2, KEYS_MIN + 1)]
    assert diff.fresh([summary("HK.00700", 0, 2.0, 100), *known]) == []
    assert len(diff.fresh([summary("HK.00700", 1, 1.0, 100)])) == 1


@pytest.mark.parametrize("how", ["polls", "a snapshot", "the journal's record"])
def test_a_list_of_many_times_is_remembered_whole(how: str) -> None:
    """A server may send the whole day in each answer: none of it is published twice, after a restart either."""
    day = [summary("HK.00700", at, 1.0, 1) for at in range(331)]
    diff = RowDiff(CAPITAL_FLOW_SUMMARY)
    diff.mark(diff.fresh(day))
    if how == "a snapshot":
        exported, diff = diff.export(), RowDiff(CAPITAL_FLOW_SUMMARY)
        diff.restore(exported)
    elif how == "the journal's record":
        diff = RowDiff(CAPITAL_FLOW_SUMMARY)
        diff.mark(day)
    for recv_ns in (2, 3):
        again = [row | {"ts_recv": recv_ns} for row in day]
        assert diff.fresh(again) == []
        new = summary("HK.00700", 331 + recv_ns, 1.0, recv_ns)
        assert diff.fresh([*again, new]) == [new]
        diff.mark([new])


def test_what_is_no_export_is_refused() -> None:
    with pytest.raises(ValueError, match="literal"):
        RowDiff(ARK_DYNAMIC).restore(b"not an export")
