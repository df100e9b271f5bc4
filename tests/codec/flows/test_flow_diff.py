"""What is new in a poll, against a dictionary of what was published."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.flow_columns import FlowBuffer
from codec.flow_diff import LINES_MAX, FlowDiff
from codec.markets import HK
from codec.symbols import SymbolTable
from tests.codec.examples import examples

SYMBOLS = 3
DAY_US = 86_400_000_000
NULL = float("nan")


class Line(NamedTuple):
    symbol_id: int
    period: int
    ts_event_us: int
    amounts: tuple[float, ...]
    recv_ns: int = 0

    @property
    def key(self) -> tuple[int, int, int]:
        return self.symbol_id, self.period, self.ts_event_us

    @property
    def bits(self) -> bytes:
        return np.array(self.amounts).tobytes()


def buffer_of(lines: list[Line]) -> FlowBuffer:
    flows = FlowBuffer(max(1, len(lines)))
    flows.rows = len(lines)
    for row, line in enumerate(lines):
        flows.column("symbol")[row] = line.symbol_id
        flows.column("period")[row] = line.period
        flows.column("ts_event")[row] = line.ts_event_us
        flows.column("trade_date")[row] = line.ts_event_us // DAY_US
        flows.column("ts_recv")[row] = line.recv_ns
        flows.real[:, row] = line.amounts
    return flows


def table() -> SymbolTable:
    symbols = SymbolTable(12)
    for number in range(SYMBOLS):
        symbols.id_of(HK, f"{number:05d}")
    return symbols


class DiffOracle:
    """Everything ever published; nothing is forgotten."""

    def __init__(self) -> None:
        self.published: dict[tuple[int, int, int], bytes] = {}

    def test(self, lines: list[Line]) -> list[bool]:
        latest = dict(self.published)
        fresh = []
        for place, line in enumerate(lines):
            same_key = [other for other in lines[place + 1 :] if other.key == line.key]
            superseded = bool(same_key) and same_key[0].recv_ns == line.recv_ns
            fresh.append(not superseded and latest.get(line.key) != line.bits)
            if fresh[-1]:
                latest[line.key] = line.bits
        return fresh

    def mark(self, lines: list[Line], fresh: list[bool]) -> None:
        for line, is_fresh in zip(lines, fresh, strict=True):
            if is_fresh:
                self.published[line.key] = line.bits


amounts = st.sampled_from(
    [(1.0,) * 6, (1.0, NULL, 1.0, 1.0, 1.0, 1.0), (0.0,) * 6, (0.0, 0.0, 0.0, 0.0, 0.0, -0.0), (1.0,) + (NULL,) * 5]
)
lines = st.builds(
    Line,
    st.integers(0, SYMBOLS - 1),
    st.integers(1, 4),
    st.integers(0, 4).map(lambda minute: 20777 * DAY_US + minute * 60_000_000),
    amounts,
)


@st.composite
def batches(draw: st.DrawFn) -> list[list[Line]]:
    """Batches of one or more replies each; a reply has one ts_recv, later ones later ones."""
    replies = draw(st.lists(st.lists(lines, max_size=8), max_size=8))
    stamped = [[line._replace(recv_ns=place) for line in reply] for place, reply in enumerate(replies)]
    joined: list[list[Line]] = [[]]
    for reply in stamped:
        joined[-1] += reply
        if draw(st.booleans()):
            joined.append([])
    return joined


@examples(400)
@given(drawn=batches(), unmarked=st.frozensets(st.integers(0, 7)), moves=st.integers(0, 8))
def test_new_and_changed_lines(drawn: list[list[Line]], unmarked: frozenset[int], moves: int) -> None:
    """`unmarked` batches never become durable; after `moves` batches the state goes to another process."""
    symbols, oracle = table(), DiffOracle()
    diff = FlowDiff(symbols)
    for place, batch in enumerate(drawn):
        if place == moves:
            exported, symbols = diff.export(), table()
            diff = FlowDiff(symbols)
            diff.restore(exported)
        flows, expected = buffer_of(batch), oracle.test(batch)
        verdict = diff.test(flows)
        assert verdict.fresh.tolist() == expected
        assert verdict.fresh_rows == sum(expected)
        if place not in unmarked:
            diff.mark(flows, verdict)
            oracle.mark(batch, expected)


def day(date: int, count: int = 331, amount: float = 1.0) -> list[Line]:
    return [Line(0, 1, date * DAY_US + minute * 60_000_000, (amount,) * 6) for minute in range(count)]


def fresh_rows(diff: FlowDiff, batch: list[Line]) -> int:
    flows = buffer_of(batch)
    verdict = diff.test(flows)
    diff.mark(flows, verdict)
    return verdict.fresh_rows


def test_a_growing_day() -> None:
    diff = FlowDiff(table())
    assert [fresh_rows(diff, day(20777, count)) for count in (1, 2, 2, 330, 331)] == [1, 1, 0, 328, 1]
    changed = day(20777)
    changed[330] = changed[330]._replace(amounts=(2.0,) * 6)
    assert [fresh_rows(diff, changed), fresh_rows(diff, changed)] == [1, 0]


def test_the_day_before_is_known_and_older_ones_are_forgotten() -> None:
    diff = FlowDiff(table())
    for date in (20776, 20777, 20778):
        assert fresh_rows(diff, day(date)) == 331
    assert fresh_rows(diff, day(20777)) == 0
    assert len(diff._pages[0, 1].event_us) == 2 * 331
    assert diff._pages[0, 1].event_us.base is None, "no view that holds on to what was forgotten"


def test_days_are_not_forgotten_for_newer_days() -> None:
    """The year that each poll of days brings."""
    diff = FlowDiff(table())
    year = [Line(0, 2, date * DAY_US, (1.0,) * 6) for date in range(20000, 20365)]
    assert [fresh_rows(diff, year), fresh_rows(diff, year)] == [365, 0]


def test_lines_are_bounded() -> None:
    diff = FlowDiff(table())
    assert fresh_rows(diff, [Line(0, 2, date, (1.0,) * 6) for date in range(LINES_MAX)]) == LINES_MAX
    assert fresh_rows(diff, [Line(0, 2, LINES_MAX + date, (1.0,) * 6) for date in range(10)]) == 10
    assert len(diff._pages[0, 2].event_us) == LINES_MAX
    assert fresh_rows(diff, [Line(0, 2, date, (1.0,) * 6) for date in range(5, 15)]) == 5


def test_rows_read_back_from_the_journal_are_known() -> None:
    diff = FlowDiff(table())
    versions = [day(20777, 2), day(20777, 2, amount=2.0)]
    flows = buffer_of([line._replace(recv_ns=place) for place, version in enumerate(versions) for line in version])
    diff.mark_journaled(flows)
    assert fresh_rows(diff, versions[1]) == 0
    assert fresh_rows(diff, versions[0]) == 2


def test_what_is_no_export_is_refused() -> None:
    with pytest.raises(ValueError, match="pickled"):
        FlowDiff(table()).restore(b"not an export")
