"""Holes of a source whose pulled trades have no sequence: settled by time, and by what was there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codec.clock import MarketClock
from codec.columns import DELIVERY_CODE, ORDINAL, PRICE, SEQUENCE, SYMBOL_ID, TS_EVENT_US, TS_RECV_NS
from codec.counter import LATE_S, TickFollower
from codec.markets import parse_symbol
from codec.records import Record
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, TICKS
from ingest.coverage import CoverageKeeper
from ingest.lane import Lane, PipelineStats
from ingest.ledger import CAUSE_RECONNECT
from ingest.seen import replay_record
from tests.ingest.journal import rows_of

SYMBOL = "HK.00700"
START_S = 1_795_138_200
SECOND_US = 1_000_000


class Link:
    """A lane of LongPort with one gateway. Seconds count from `START_S`."""

    def __init__(self, *, begins_with: tuple[int, ...] = ()) -> None:
        self.lane = Lane("longport", 4)
        self.lane.add_gateway("lp")
        self.id = self.lane.symbols.id_of(*parse_symbol(SYMBOL))
        self.records: list[Record] = []
        self.now_ns = START_S * 10**9
        self.sequence = 100
        self.lane.begin(self.id, "lp")
        if begins_with:
            self.pull(*begins_with)
            self.flush()
            self.records.clear()

    def _read(self, sequence: int, seconds: tuple[int, ...], delivery: str) -> None:
        ticks = self.lane.ticks
        for place, second in enumerate(seconds):
            row, ticks.rows = ticks.rows, ticks.rows + 1
            ticks.narrow[SYMBOL_ID, row], ticks.narrow[ORDINAL, row] = self.id, place
            ticks.wide[SEQUENCE, row] = sequence
            ticks.wide[TS_EVENT_US, row] = (START_S + second) * SECOND_US
            ticks.real[PRICE, row] = 1.0
            ticks.small[DELIVERY_CODE, row] = DELIVERY.code(delivery)

    def push(self, *seconds: int) -> None:
        self.sequence -= 1  # they may run backwards
        self._read(self.sequence, seconds, "realtime")

    def pull(self, *seconds: int, full: bool = False, opened: int | None = None) -> None:
        row = self.lane.ticks.rows
        self._read(0, seconds, "pull")
        self.lane.mark_pull(self.id, row, len(seconds), "lp", full=full, opened=opened)

    def open(self) -> None:
        self.lane.open_hole(self.id, CAUSE_RECONNECT, "lp")

    def opened(self) -> int:
        return self.lane.opened(parse_symbol(SYMBOL))

    def flush(self) -> list[dict[str, Any]]:
        """The rows of the ledger."""
        self.now_ns += 10**9
        taken = self.lane.take()
        self.records += [record for record in taken.encode(self.now_ns) if record.table == TICKS.name]
        taken.stored(PipelineStats(), self.now_ns)
        return taken.entries.rows

    def stored(self) -> list[int]:
        """Seconds of the trades in the journal since the beginning."""
        return [row["ts_event"] // SECOND_US - START_S for record in self.records for row in rows_of(record)]


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    ends = [None if row[name] is None else row[name] // SECOND_US - START_S for name in ("from_ts", "to_ts")]
    return row["cause"], row["state"], row["filled"], row["missing"], *ends


@pytest.mark.parametrize(
    ("reply", "ends"),
    [
        ((1, 5, 9, 12, 20), ("filled", 1, 0, 5, None)),
        ((6, 9, 12, 20), ("filled", 1, 0, 5, None)),  # of 7 and 8 nothing came late
        ((7, 9, 12, 20), ("lost", 1, None, 5, 12)),  # 7 is cut, and something of it may have been late
        ((9, 12, 20), ("lost", 1, None, 5, 12)),
        ((5, 12, 20), ("lost", 1, None, 5, 12)),  # 9 should be there and is not: whatever this is, it proves nothing
    ],
)
def test_a_reply_that_goes_back_far_enough_fills_the_hole(reply: tuple[int, ...], ends: tuple[Any, ...]) -> None:
    link = Link(begins_with=(1, 5, 9))
    link.open()
    link.push(20)
    [row] = link.flush()
    assert said(row) == ("reconnect", "open", 0, None, 5, None)
    link.pull(*reply, full=True)
    rows = link.flush()
    assert [said(row)[1:] for row in rows] == [ends]
    assert 12 in link.stored()


def test_what_is_lost_lies_between_two_trades_that_are_stored() -> None:
    link = Link(begins_with=(1, 5))
    link.open()
    link.pull(7, 7, 8, 9, full=True)
    [row] = link.flush()
    assert said(row) == ("reconnect", "lost", 2, None, 1, 8)
    assert link.stored() == [8, 9]
    assert row["to_sequence"] in [each["sequence"] for record in link.records for each in rows_of(record)]


def test_where_the_reply_brings_nothing_new_the_newest_trade_ends_what_is_lost() -> None:
    link = Link(begins_with=(1, 5))
    link.open()
    link.push(8, 9)
    link.flush()
    link.pull(7, 8, 9, full=True)
    [row] = link.flush()
    assert said(row) == ("reconnect", "lost", 0, None, 1, 9)
    assert row["to_sequence"] == link.sequence


@pytest.mark.parametrize(("second", "to"), [(5, 5), (9, None)])
def test_a_reply_of_one_cut_second_says_nothing(second: int, to: int | None) -> None:
    link = Link(begins_with=(1, 5))
    link.open()
    link.pull(second, second, second, full=True)
    [row] = link.flush()
    assert said(row) == ("reconnect", "lost", 0, None, 1, to)
    assert link.stored() == []


def test_a_reply_that_came_before_the_hole_does_not_settle_it() -> None:
    link = Link(begins_with=(1, 5))
    link.open()
    before = link.opened()
    link.open()  # and again, while the reply is held
    link.push(9)
    link.flush()
    link.pull(1, 5, 6, opened=before)
    assert link.flush() == []
    assert link.stored() == [9, 6], "its trades are as good as any"
    link.pull(1, 5, 6, 8, 9, opened=link.opened())
    [row] = link.flush()
    assert said(row)[:4] == ("reconnect", "filled", 2, 0)


def test_a_reply_that_came_before_a_hole_that_was_never_opened_opens_none() -> None:
    link = Link(begins_with=(1, 5))
    before = link.opened()
    link.open()
    link.pull(1, 5)
    assert link.flush() == []
    link.pull(4, 6, opened=before)
    assert link.flush() == []


@pytest.mark.parametrize("seconds", [(3, 1, 4), (1, 3, 4), (4, 3, 1)])
def test_the_newest_trade_is_the_one_dated_last_and_what_is_settled_is_older(seconds: tuple[int, ...]) -> None:
    link = Link()
    for second in seconds:
        link.push(second)
    link.flush()
    follower = link.lane.book.follower
    newest, settled = follower.newest(link.id), follower.settled(link.id)
    assert newest is not None
    assert settled is not None
    assert newest.ts_us == (START_S + 4) * SECOND_US
    assert newest.ts_us - settled.ts_us >= LATE_S * SECOND_US


def test_the_state_of_an_older_version_is_taken() -> None:
    link = Link(begins_with=(1, 5))
    names, state = link.lane.book.follower.export()
    symbols = SymbolTable(4)
    other = TickFollower(symbols, has_counter=False)
    [name] = names
    ids = [symbols.id_of(*parse_symbol(name))]
    other.restore(np.array(ids, np.int32), state[:, :5])
    assert other.newest(ids[0]) == link.lane.book.follower.newest(link.id)


def test_two_pushes_of_one_sequence_are_told_apart_after_a_restart() -> None:
    link = Link(begins_with=(1,))
    for moment, second in enumerate((5, 6)):
        link.push(second)
        link.lane.ticks.wide[SEQUENCE, link.lane.ticks.rows - 1] = 7
        link.lane.ticks.wide[TS_RECV_NS, link.lane.ticks.rows - 1] = moment
    link.flush()
    other = Link()
    lanes = {"longport": other.lane}
    for record in link.records:
        replay_record(record, lanes, {}, CoverageKeeper(lanes, MarketClock()))
    for second in (5, 6):
        other.push(second)
        other.lane.ticks.wide[SEQUENCE, other.lane.ticks.rows - 1] = 7
    other.flush()
    assert other.stored() == []


def test_a_sale_condition_tells_trades_apart_after_a_restart_too() -> None:
    link = Link(begins_with=(1,))
    link.push(5)
    link.lane.ticks.column("condition")[:] = link.lane.conditions.id_of("a long one")
    link.flush()
    other = Link()
    other.lane.conditions.id_of("another")
    for record in link.records:
        lanes = {"longport": other.lane}
        replay_record(record, lanes, {}, CoverageKeeper(lanes, MarketClock()))
    other.pull(5)
    other.lane.ticks.column("condition")[:] = other.lane.conditions.id_of("a long one")
    other.pull(5)
    other.flush()
    [row] = [row for record in other.records for row in rows_of(record)]
    assert row["condition"] == ""
