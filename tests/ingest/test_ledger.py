"""The account of ticks: when a hole opens, how it ends, what is written of it and what is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.columns import DELIVERY_CODE, PRICE, SEQUENCE, SYMBOL_ID, TS_EVENT_US
from codec.encode import encode_rows
from codec.markets import parse_symbol
from codec.records import Record
from codec.tables import DELIVERY, GAPS, TICKS
from ingest.lane import Lane, PipelineStats
from ingest.ledger import (
    CAUSE_DECODE_ERROR,
    CAUSE_JOURNAL_FULL,
    CAUSE_RECONNECT,
    LOSSES_MAX,
    Gap,
)

HK, US = "HK.00700", "US.AAPL"
START_S, DAY_S = 1795138200, 86_400
"""Friday 2026-11-20 09:30 in Hong Kong."""
OPENED_NS, SETTLED_NS = 1_795_138_201_000_000_000, 1_795_138_203_000_000_000


def at(number: int, *, day: int = 0) -> int:
    """The sequence of a day's tick, ten of them a second."""
    return (START_S + day * DAY_S + number // 10) << 32 | number


class Link:
    """A lane with one gateway, and what it writes.

    Attributes
    ----------
    rows : of the ledger
    records : of ticks
    wanted : symbols that must be pulled
    """

    def __init__(self, symbol: str = HK, *, begins_with: Iterable[int] = ()) -> None:
        self.symbol = symbol
        self.lane = Lane("futu", 4)
        self.lane.add_gateway("opend-1")
        self.id = self.lane.symbols.id_of(*parse_symbol(symbol))
        self.rows: list[dict[str, Any]] = []
        self.records: list[Record] = []
        self.wanted: list[int] = []
        self.now_ns = OPENED_NS
        self.lane.begin(self.id, "opend-1")
        if begins_with := list(begins_with):
            self.pull(begins_with)
            self.flush()
            self.rows.clear()

    def hear(self, sequences: Iterable[int], delivery: str = "realtime") -> None:
        ticks = self.lane.ticks
        for sequence in sequences:
            row, ticks.rows = ticks.rows, ticks.rows + 1
            ticks.narrow[SYMBOL_ID, row] = self.id
            ticks.wide[SEQUENCE, row] = sequence
            ticks.wide[TS_EVENT_US, row] = (sequence >> 32) * 1_000_000
            ticks.real[PRICE, row] = 1.0
            ticks.small[DELIVERY_CODE, row] = DELIVERY.code(delivery)

    def pull(self, sequences: Iterable[int], *, looks: bool = False) -> None:
        """A reply to GetTicker."""
        sequences, row = list(sequences), self.lane.ticks.rows
        self.hear(sequences, "pull")
        self.lane.mark_pull(self.id, row, len(sequences), "opend-1", looks=looks)

    def open(self, cause: str) -> None:
        self.lane.open_hole(self.id, cause, "opend-1")

    def flush(self) -> list[dict[str, Any]]:
        """Journal what was gathered; the rows of the ledger in it."""
        self.now_ns += 1_000_000_000
        taken = self.lane.take()
        self.records += [record for record in taken.encode(self.now_ns) if record.table == TICKS.name]
        taken.stored(PipelineStats(), self.now_ns)
        self.rows += taken.entries.rows
        self.wanted += taken.entries.wanted
        return taken.entries.rows


def said(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["cause"], row["state"], row["filled"], row["missing"], row["certainty"]) for row in rows]


# Where the exchange counts.


def test_an_outage_of_2500_ticks_of_which_the_gateway_still_has_1000() -> None:
    link = Link(begins_with=map(at, range(1, 5001)))
    link.open(CAUSE_RECONNECT)
    assert link.flush() == [], "most reconnects miss nothing"
    link.pull(map(at, range(6501, 7501)))
    [row] = link.flush()
    assert said([row]) == [("reconnect", "lost", 1000, 1500, "certain")]
    assert (row["from_sequence"], row["to_sequence"]) == (at(5000), at(6501))
    assert (row["from_ts"], row["to_ts"]) == ((at(5000) >> 32) * 10**6, (at(6501) >> 32) * 10**6)


def test_a_step_on_a_link_that_stands_is_pulled_at_once_and_filled() -> None:
    link = Link(begins_with=map(at, range(1, 11)))
    link.hear([at(14), at(15)])
    [row] = link.flush()
    assert said([row]) == [("sequence_step", "open", 0, 3, "certain")]
    assert (row["from_sequence"], row["to_sequence"]) == (at(10), at(14))
    assert link.wanted == [link.id]
    link.pull(map(at, range(1, 17)))
    [end] = link.flush()
    assert said([end]) == [("sequence_step", "filled", 4, 0, "certain")]
    assert end["gap_id"] == row["gap_id"]
    assert end["updated_at"] > row["updated_at"]
    assert dict(link.lane.book.gaps) | {"open": 0} == {"open": 0, "filled": 1}


def test_ticks_that_overtake_one_another_within_a_moment_are_no_hole() -> None:
    link = Link(begins_with=[at(1)])
    link.hear(map(at, (4, 2, 5, 3, 6)))
    assert link.flush() == []
    assert link.wanted == []


def test_a_tick_that_comes_late_by_itself_closes_the_hole() -> None:
    link = Link(begins_with=[at(1)])
    link.hear([at(3)])
    link.flush()
    link.hear([at(2)])
    assert said(link.flush()) == [("sequence_step", "filled", 0, 0, "certain")]


def test_a_reply_that_has_nothing_between_two_neighbours_refutes_the_step() -> None:
    link = Link(begins_with=map(at, range(1, 4)))
    link.hear([at(7)])
    link.flush()
    link.pull(map(at, (1, 2, 3, 7)))
    assert said(link.flush()) == [("sequence_step", "filled", 0, 0, "suspected")]
    link.hear([at(9)])
    assert said(link.flush()) == [("sequence_step", "open", 0, 1, "suspected")], "the counter is trusted no more"


def test_a_tick_that_was_no_row_is_missing_and_refutes_nothing() -> None:
    link = Link(begins_with=[at(1)])
    link.hear([at(3)])
    link.lane.account.flawed.add(link.id)
    link.pull(map(at, (1, 3)))
    assert said(link.flush()) == [("sequence_step", "lost", 0, 1, "certain")]


def test_what_is_newer_than_the_reply_is_pulled_again() -> None:
    link = Link(begins_with=map(at, range(1, 4)))
    link.hear(map(at, (5, 7)))
    link.flush()
    link.pull(map(at, range(1, 6)))
    assert link.flush() == []
    assert link.wanted == [link.id] * 2
    link.pull(map(at, range(1, 8)))
    assert said(link.flush()) == [("sequence_step", "filled", 2, 0, "certain")]


def test_a_new_day_begins_to_count_anew() -> None:
    link = Link(begins_with=map(at, range(1, 4)))
    link.hear(at(number, day=1) for number in (1, 2))
    assert link.flush() == []
    link.hear([at(4, day=2)])
    assert said(link.flush()) == [("sequence_step", "open", 0, 3, "certain")]
    link.pull([at(1, day=1), at(2, day=1), at(4, day=2)])
    assert said(link.flush()) == [("sequence_step", "filled", 0, 0, "suspected")], "it need not begin with one"
    link.hear([at(6, day=3)])
    assert link.flush() == []


def test_a_late_start_counts_what_was_before_it() -> None:
    link = Link()
    link.pull(map(at, range(301, 311)))
    [row] = link.flush()
    assert said([row]) == [("late_start", "lost", 10, 300, "certain")]
    assert (row["from_sequence"], row["to_sequence"]) == (None, at(301))


def test_who_was_there_from_the_first_tick_on_did_not_start_late() -> None:
    link = Link()
    link.hear(map(at, range(1, 4)))
    link.pull(map(at, range(1, 4)))
    assert link.flush() == []


def test_what_was_said_to_be_lost_and_comes_after_all_is_taken_off() -> None:
    link = Link(begins_with=[at(1)])
    link.hear([at(9)])
    link.flush()
    link.lane.give_up(link.id)
    [lost] = link.flush()
    assert said([lost]) == [("sequence_step", "lost", 0, 7, "certain")]
    link.pull(map(at, range(4, 10)))
    [row] = link.flush()
    assert said([row]) == [("sequence_step", "lost", 5, 2, "certain")]
    link.hear(map(at, (2, 3)))
    [row] = link.flush()
    assert said([row]) == [("sequence_step", "filled", 7, 0, "certain")]
    assert row["gap_id"] == lost["gap_id"]
    assert (link.lane.book.gaps["lost"], link.lane.book.gaps["filled"]) == (0, 1)


def test_what_is_kept_of_losses_is_bounded() -> None:
    link = Link(begins_with=[at(1)])
    for number in range(3, 103, 2):
        link.hear([at(number)])
        link.lane.give_up(link.id)
        link.flush()
    assert len(link.lane.book.ledger.losses[link.id]) == LOSSES_MAX


# A gateway that was started anew has forgotten what it had.


def test_an_empty_reply_leaves_it_to_the_next_tick_what_is_missing() -> None:
    link = Link(begins_with=map(at, range(1, 11)))
    link.open(CAUSE_RECONNECT)
    link.pull([])
    assert link.flush() == []
    link.hear(map(at, (16, 17)))
    [row] = link.flush()
    assert said([row]) == [("reconnect", "open", 0, 5, "certain")]
    assert link.wanted == [link.id], "by now the gateway may have more"
    link.pull(map(at, range(14, 18)))
    [row] = link.flush()
    assert said([row]) == [("reconnect", "lost", 2, 3, "certain")]
    assert (row["from_sequence"], row["to_sequence"]) == (at(10), at(14))
    link.hear([at(18)])
    assert link.flush() == []


def test_an_empty_reply_before_the_next_one_in_turn_missed_nothing() -> None:
    link = Link(begins_with=[at(1)])
    link.open(CAUSE_DECODE_ERROR)
    link.pull([])
    assert said(link.flush()) == [("decode_error", "open", 0, None, "suspected")]
    link.hear([at(2)])
    assert said(link.flush()) == [("decode_error", "filled", 0, 0, "certain")]
    assert link.wanted == []


def test_an_empty_reply_hides_no_step_that_is_known_already() -> None:
    link = Link(begins_with=[at(1)])
    link.hear([at(4)])
    link.open(CAUSE_RECONNECT)
    link.pull([])
    link.hear([at(7)])
    link.flush()
    link.pull([at(7)])
    link.flush()
    assert said(link.rows) == [("sequence_step", "open", 0, 4, "certain"), ("sequence_step", "lost", 0, 4, "certain")]


def test_a_symbol_that_never_traded_waits_for_its_first_tick() -> None:
    link = Link()
    link.open(CAUSE_DECODE_ERROR)
    link.pull([])
    link.hear([at(4)])
    link.flush()
    link.pull([at(4)])
    link.flush()
    assert said(link.rows)[-1] == ("decode_error", "lost", 0, 3, "certain")
    assert len({row["gap_id"] for row in link.rows}) == 1


def test_a_second_failure_asks_again_while_a_hole_waits() -> None:
    link = Link(begins_with=[at(1)])
    link.open(CAUSE_RECONNECT)
    link.pull([])
    link.open(CAUSE_RECONNECT)
    link.hear([at(4)])
    assert said(link.flush()) == [("reconnect", "open", 0, 2, "certain")]
    assert link.wanted == [], "a pull is on its way"
    link.lane.give_up(link.id)
    assert said(link.flush()) == [("reconnect", "lost", 0, 2, "certain")]


def test_pulls_that_fail_leave_it_to_the_next_tick_too() -> None:
    link = Link(begins_with=[at(1)])
    link.open(CAUSE_DECODE_ERROR)
    link.lane.give_up(link.id)
    link.open(CAUSE_RECONNECT)
    link.lane.give_up(link.id)
    link.hear([at(5)])
    link.flush()
    assert link.wanted == [link.id]
    link.lane.give_up(link.id)
    link.flush()
    assert said(link.rows) == [
        ("decode_error", "open", 0, None, "suspected"),
        ("decode_error", "lost", 0, 3, "certain"),
    ]


def test_a_symbol_that_leaves_waits_for_no_tick() -> None:
    link = Link(begins_with=[at(1)])
    link.open(CAUSE_DECODE_ERROR)
    link.lane.give_up(link.id, leaves=True)
    assert said(link.flush())[-1] == ("decode_error", "lost", 0, None, "suspected")


# Where it does not.


def test_a_pull_that_reaches_back_fills_the_hole() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.pull(map(at, (10, 20, 30)))
    assert said(link.flush()) == [("reconnect", "filled", 2, 0, "suspected")]


def test_a_reconnect_that_missed_nothing_is_not_written() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.flush()
    link.pull([at(10)])
    assert link.flush() == []
    assert link.lane.book.open_gaps == {}


def test_a_pull_that_does_not_reach_back_leaves_it_lost() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.pull(map(at, (20, 30)))
    [row] = link.flush()
    assert said([row]) == [("reconnect", "lost", 2, None, "suspected")]
    assert (row["from_sequence"], row["to_sequence"]) == (at(10), at(20))


def test_an_older_tick_that_we_never_had_is_no_reaching_back() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.pull(map(at, (5, 20)))
    assert link.flush()[0]["state"] == "lost"


def test_a_tick_behind_a_hole_is_never_journaled_without_it() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.hear([at(40)])
    assert said(link.flush()) == [("reconnect", "open", 0, None, "suspected")]
    link.pull(map(at, (10, 20, 40)))
    assert said(link.flush()) == [("reconnect", "filled", 1, 0, "suspected")]


def test_a_late_start_may_have_missed_anything() -> None:
    link = Link(US)
    link.pull(map(at, (30, 40)))
    [row] = link.flush()
    assert said([row]) == [("late_start", "lost", 2, None, "suspected")]
    assert (row["from_sequence"], row["to_sequence"]) == (None, at(30))


def test_a_symbol_that_was_never_traded_has_no_hole() -> None:
    link = Link(US)
    link.pull([])
    link.flush()
    link.lane.give_up(link.id, leaves=True)
    assert link.flush() == []


def test_a_late_start_of_which_the_gateway_has_nothing_is_told_with_the_first_tick() -> None:
    link = Link(US)
    link.pull([])
    assert link.flush() == []
    link.hear([at(30)])
    assert said(link.flush()) == [("late_start", "open", 0, None, "suspected")]
    assert link.wanted == [link.id]
    link.pull([at(30)])
    [row] = link.flush()
    assert said([row]) == [("late_start", "lost", 0, None, "suspected")]
    assert (row["from_sequence"], row["to_sequence"]) == (None, at(30))


def test_an_empty_reply_reaches_nothing() -> None:
    link = Link(US, begins_with=[at(10)])
    link.open(CAUSE_RECONNECT)
    link.pull([])
    [row] = link.flush()
    assert (row["state"], row["to_sequence"], row["missing"]) == ("lost", None, None)


def test_fifty_ticks_of_a_time_without_backend_may_not_be_all() -> None:
    link = Link(US, begins_with=[at(10)])
    link.hear(map(at, range(20, 69)), "by_disconnect")
    assert link.flush() == []
    link.hear(map(at, range(100, 150)), "by_disconnect")
    assert said(link.flush()) == [("by_disconnect_capped", "open", 0, None, "suspected")]
    assert link.wanted == [link.id]
    link.pull(map(at, range(60, 150)))
    assert said(link.flush())[0][:2] == ("by_disconnect_capped", "filled")


def test_fifty_ticks_of_a_time_without_backend_are_all_where_the_counter_says_so() -> None:
    link = Link(begins_with=[at(1)])
    link.hear(map(at, range(2, 52)), "by_disconnect")
    assert link.flush() == []
    link.hear(map(at, range(61, 111)), "by_disconnect")
    assert said(link.flush()) == [("by_disconnect_capped", "open", 0, 9, "certain")]


# Looking after silence, and polls.


@pytest.mark.parametrize("symbol", [HK, US])
def test_silence_is_a_hole_only_when_the_gateway_had_ticks(symbol: str) -> None:
    link = Link(symbol, begins_with=[at(1)])
    link.pull([at(1)], looks=True)
    assert link.flush() == []
    link.pull(map(at, (1, 2, 3)), looks=True)
    [row] = link.flush()
    assert said([row])[0][:4] == ("silence", "filled", 2, 0)
    assert row["from_sequence"] == at(1)


@pytest.mark.parametrize(("symbol", "missing", "certainty"), [(HK, 8, "certain"), (US, None, "suspected")])
def test_two_polls_that_do_not_overlap_have_a_hole_between_them(
    symbol: str, missing: int | None, certainty: str
) -> None:
    link = Link(symbol, begins_with=[at(1)])
    link.pull(map(at, (1, 2)))
    assert link.flush() == [], "they overlap"
    link.pull(map(at, (11, 12)))
    [row] = link.flush()
    assert said([row]) == [("backfill_capped", "lost", 2, missing, certainty)]
    assert (row["from_sequence"], row["to_sequence"]) == (at(2), at(11))


# Versions and names.


@pytest.mark.parametrize("symbol", [HK, US])
def test_a_decode_error_is_written_at_once_and_again_when_it_ends(symbol: str) -> None:
    link = Link(symbol, begins_with=[at(1)])
    link.open(CAUSE_DECODE_ERROR)
    assert said(link.flush()) == [("decode_error", "open", 0, None, "suspected")]
    assert link.lane.book.open_gaps == {"opend-1": 1}
    link.open(CAUSE_DECODE_ERROR)
    link.open(CAUSE_RECONNECT)
    assert link.flush() == [], "a symbol has one hole at a time"
    link.pull([at(1)])
    assert said(link.flush())[0][:4] == ("decode_error", "filled", 0, 0)


def test_a_cause_that_is_known_replaces_a_connection_that_merely_ended() -> None:
    link = Link(US, begins_with=[at(1)])
    link.open(CAUSE_RECONNECT)
    link.flush()
    link.open("gateway_restart")
    assert said(link.flush()) == [("gateway_restart", "open", 0, None, "suspected")]


def test_two_holes_of_one_moment_have_two_names() -> None:
    link = Link(US, begins_with=[at(1)])
    for _ in range(2):
        link.open(CAUSE_DECODE_ERROR)
        link.pull([at(1)])
    rows = link.flush()
    assert len({row["gap_id"] for row in rows}) == 2
    assert [row["state"] for row in rows] == ["open", "filled"] * 2


def test_the_first_record_behind_a_hole_names_it() -> None:
    link = Link(begins_with=[at(1)])
    link.hear([at(5)])
    [row] = link.flush()
    assert [record.gap_ids for record in link.records] == [(), (row["gap_id"],)]
    link.hear([at(6)])
    link.open(CAUSE_DECODE_ERROR)
    link.flush()
    assert link.records[-1].gap_ids == (), "once"


def test_a_hole_that_opens_before_its_symbol_trades_is_named_when_it_does() -> None:
    link = Link(US, begins_with=[at(1)])
    link.open(CAUSE_DECODE_ERROR)
    [row] = link.flush()
    link.hear([at(2)])
    link.flush()
    assert link.records[-1].gap_ids == (row["gap_id"],)


def test_the_name_of_a_hole_is_made_of_what_it_is() -> None:
    hole = Gap("futu", HK, "opend-1", CAUSE_RECONNECT, 1, 1000, OPENED_NS, OPENED_NS)
    same = Gap("futu", HK, "opend-1", CAUSE_RECONNECT, 1, 1000, OPENED_NS, SETTLED_NS, state="lost", filled=3)
    assert hole.gap_id == same.gap_id == "786d991d816861e53b9e9ad0"
    others = (
        Gap("moomoo", HK, "opend-1", CAUSE_RECONNECT, 1, 1000, OPENED_NS, OPENED_NS),
        Gap("futu", "HK.09988", "opend-1", CAUSE_RECONNECT, 1, 1000, OPENED_NS, OPENED_NS),
        Gap("futu", HK, "opend-1", CAUSE_DECODE_ERROR, 1, 1000, OPENED_NS, OPENED_NS),
        Gap("futu", HK, "opend-1", CAUSE_RECONNECT, 1, 1001, OPENED_NS, OPENED_NS),
        Gap("futu", HK, "opend-1", CAUSE_RECONNECT, 1, None, OPENED_NS, OPENED_NS),
        Gap("futu", HK, "opend-1", CAUSE_RECONNECT, 1, 1000, OPENED_NS + 1, OPENED_NS),
    )
    assert len({hole.gap_id, *(other.gap_id for other in others)}) == 1 + len(others)


sequences = st.none() | st.integers(-(2**60), 2**60)


@settings(deadline=None)
@given(
    had=sequences,
    to=sequences,
    missing=st.none() | st.integers(0, 2**40),
    cause=st.sampled_from((CAUSE_RECONNECT, CAUSE_DECODE_ERROR, CAUSE_JOURNAL_FULL)),
)
def test_every_version_of_a_hole_is_a_row_of_gaps(
    had: int | None, to: int | None, missing: int | None, cause: str
) -> None:
    gap = Gap("futu", HK, "g", cause, None, had, OPENED_NS, SETTLED_NS, None, to, 3, missing, "certain", "lost")
    row = gap.row()
    assert set(row) == {column.name for column in GAPS}
    [record] = encode_rows(GAPS, [row], 12)
    stored = pa.ipc.open_stream(record.value).read_all()
    for name in ("gap_id", "from_sequence", "to_sequence", "missing", "filled", "state"):
        assert stored.column(name).to_pylist() == [row[name]]
    assert stored.column("updated_at").cast(pa.int64()).to_pylist() == [SETTLED_NS]
    assert Gap.of_row(row) == gap
