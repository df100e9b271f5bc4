"""The loss ledger: when a hole opens, how it ends, and how it is written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from codec.encode import encode_rows
from codec.tables import GAPS
from ingest.ledger import (
    CAUSE_DECODE_ERROR,
    CAUSE_JOURNAL_FULL,
    CAUSE_RECONNECT,
    Gap,
    LossLedger,
    PullOutcome,
)

SYMBOL = "HK.00700"
HAD = 1000
"""Sequence of the last row before the hole."""
HAD_TS = 1_795_138_200_000_000
OPENED_NS, SETTLED_NS = 1_795_138_201_000_000_000, 1_795_138_203_000_000_000


def ledger() -> LossLedger:
    return LossLedger("futu", "opend-1")


def open_hole(book: LossLedger, cause: str, *, had: int | None = HAD, now_ns: int = OPENED_NS) -> list[dict[str, Any]]:
    ts = HAD_TS if had is not None else None
    return book.open(SYMBOL, cause, from_sequence=had, from_ts=ts, now_ns=now_ns)


def settle(book: LossLedger, outcome: PullOutcome, *, now_ns: int = SETTLED_NS) -> list[dict[str, Any]]:
    """A reply came, and its rows were journaled at `now_ns`."""
    return book.settle(outcome, book.take(outcome.symbol), now_ns)


def reply(first: int | None, *, fresh: int = 3) -> PullOutcome:
    """A pull whose oldest row has the sequence `first`; None for an empty one."""
    return PullOutcome(SYMBOL, 0 if first is None else fresh, first, None if first is None else HAD_TS + first)


def test_a_reconnect_hole_that_the_pull_closes_is_filled() -> None:
    book = ledger()
    assert open_hole(book, CAUSE_RECONNECT) == [], "most reconnects miss nothing"
    assert book.open_gaps == 1
    [row] = settle(book, reply(HAD - 5, fresh=3))
    assert (row["state"], row["filled"], row["missing"], row["cause"]) == ("filled", 3, 0, "reconnect")
    assert (row["from_sequence"], row["from_ts"]) == (HAD, HAD_TS)
    assert (row["opened_at"], row["updated_at"]) == (OPENED_NS, SETTLED_NS)
    assert (book.open_gaps, book.counts) == (0, {"filled": 1, "lost": 0})


def test_reaching_the_very_last_row_is_reaching_back() -> None:
    book = ledger()
    open_hole(book, CAUSE_RECONNECT)
    [row] = settle(book, reply(HAD))
    assert row["state"] == "filled"


def test_a_reconnect_that_missed_nothing_is_not_written() -> None:
    book = ledger()
    open_hole(book, CAUSE_RECONNECT)
    assert settle(book, reply(HAD - 5, fresh=0)) == []
    assert (book.open_gaps, book.counts) == (0, {"filled": 0, "lost": 0})


def test_a_pull_that_does_not_reach_back_leaves_the_hole_lost() -> None:
    book = ledger()
    open_hole(book, CAUSE_RECONNECT)
    [row] = settle(book, reply(HAD + 1, fresh=1000))
    assert (row["state"], row["filled"], row["missing"]) == ("lost", 1000, None)
    assert (row["from_sequence"], row["to_sequence"], row["to_ts"]) == (HAD, HAD + 1, HAD_TS + HAD + 1)
    assert book.counts == {"filled": 0, "lost": 1}


def test_an_empty_pull_reaches_nothing() -> None:
    book = ledger()
    open_hole(book, CAUSE_RECONNECT)
    [row] = settle(book, reply(None))
    assert (row["state"], row["to_sequence"], row["to_ts"]) == ("lost", None, None)


def test_who_had_nothing_loses_nothing_by_a_reconnect() -> None:
    book = ledger()
    assert open_hole(book, CAUSE_RECONNECT, had=None) == []
    assert book.open_gaps == 0
    assert settle(book, reply(5)) == []


def test_a_decode_error_is_written_at_once_and_again_when_it_ends() -> None:
    book = ledger()
    [opened] = open_hole(book, CAUSE_DECODE_ERROR)
    assert (opened["state"], opened["missing"], opened["filled"]) == ("open", None, 0)
    [row] = settle(book, reply(HAD, fresh=0))
    assert (row["state"], row["missing"], row["filled"]) == ("filled", 0, 0)
    assert row["gap_id"] == opened["gap_id"]
    assert row["updated_at"] > opened["updated_at"]


def test_one_hole_a_symbol_and_cause() -> None:
    book = ledger()
    assert len(open_hole(book, CAUSE_DECODE_ERROR)) == 1
    assert open_hole(book, CAUSE_DECODE_ERROR, now_ns=OPENED_NS + 1) == []
    open_hole(book, CAUSE_RECONNECT)
    assert book.open_gaps == 2
    assert len(settle(book, reply(HAD + 1))) == 2
    assert settle(book, reply(HAD + 1)) == []


def test_a_filled_row_is_counted_for_one_hole_only() -> None:
    book = ledger()
    open_hole(book, CAUSE_DECODE_ERROR)
    open_hole(book, CAUSE_RECONNECT)
    rows = settle(book, reply(HAD, fresh=7))
    assert sum(int(row["filled"]) for row in rows) == 7


def test_a_hole_ends_with_a_reply_that_came_after_it() -> None:
    """The reply to an earlier pull may still be on its way to the journal when a hole opens."""
    book = ledger()
    open_hole(book, CAUSE_DECODE_ERROR)
    earlier = book.take(SYMBOL)
    [second] = open_hole(book, CAUSE_DECODE_ERROR, now_ns=OPENED_NS + 10)
    assert book.open_gaps == 2
    [row] = book.settle(reply(HAD), earlier, SETTLED_NS)
    assert row["gap_id"] != second["gap_id"]
    assert book.open_gaps == 1
    [row] = settle(book, reply(HAD + 1))
    assert (row["gap_id"], row["state"]) == (second["gap_id"], "lost")


def test_symbols_do_not_mix() -> None:
    book = ledger()
    open_hole(book, CAUSE_DECODE_ERROR)
    other = PullOutcome("HK.09988", 5, 1, 1)
    assert settle(book, other) == []
    assert book.open_gaps == 1


def test_the_name_of_a_hole_is_made_of_what_it_is() -> None:
    hole = Gap("futu", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, HAD, OPENED_NS, OPENED_NS)
    same = Gap("futu", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, HAD, OPENED_NS, SETTLED_NS, state="lost", filled=3)
    assert hole.gap_id == same.gap_id == "786d991d816861e53b9e9ad0"
    others = (
        Gap("moomoo", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, HAD, OPENED_NS, OPENED_NS),
        Gap("futu", "HK.09988", "opend-1", CAUSE_RECONNECT, HAD_TS, HAD, OPENED_NS, OPENED_NS),
        Gap("futu", SYMBOL, "opend-1", CAUSE_DECODE_ERROR, HAD_TS, HAD, OPENED_NS, OPENED_NS),
        Gap("futu", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, HAD + 1, OPENED_NS, OPENED_NS),
        Gap("futu", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, None, OPENED_NS, OPENED_NS),
        Gap("futu", SYMBOL, "opend-1", CAUSE_RECONNECT, HAD_TS, HAD, OPENED_NS + 1, OPENED_NS),
    )
    assert len({hole.gap_id, *(other.gap_id for other in others)}) == 1 + len(others)


sequences = st.none() | st.integers(-(2**60), 2**60)


@given(
    had=sequences,
    first=sequences,
    fresh=st.integers(0, 1000),
    cause=st.sampled_from((CAUSE_RECONNECT, CAUSE_DECODE_ERROR, CAUSE_JOURNAL_FULL)),
)
def test_every_version_of_a_hole_is_a_row_of_gaps(had: int | None, first: int | None, fresh: int, cause: str) -> None:
    book = ledger()
    rows = [*open_hole(book, cause, had=had), *settle(book, reply(first, fresh=fresh))]
    if not rows:
        return
    assert all(set(row) == {column.name for column in GAPS} for row in rows)
    [record] = encode_rows(GAPS, rows, 12)
    stored = pa.ipc.open_stream(record.value).read_all()
    assert record.rows == stored.num_rows == len(rows)
    for name in ("gap_id", "from_sequence", "to_sequence", "missing", "filled", "state"):
        assert stored.column(name).to_pylist() == [row[name] for row in rows]
    assert stored.column("updated_at").cast(pa.int64()).to_pylist() == [row["updated_at"] for row in rows]
