"""Records counted for a day: copies, waiting ones, other days, and what the worker's own count says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from codec.arrow import batch_of_rows, ipc_stream
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.tables import TICKS
from protos.opend import ticker_pb2
from sinks.record_scan import ScannedRecord
from tests.ingest import wire
from tests.support.records import make_record
from ticktape.audit import logged as logged_module
from ticktape.audit.logged import LogTally
from ticktape.audit.refused import refused_sequences

DAY = 20_777
KEY = ("futu", "HK.00700")
OTHER = ("futu", "US.AAPL")


def scanned(
    rows: Sequence[tuple[str, int, int]],
    offset: int,
    *,
    journal_offset: int | None = None,
    rows_total: int | None = None,
    waits: bool = False,
) -> ScannedRecord:
    """A record of ticks (symbol, sequence, day) at an offset of partition 0."""
    values = [
        {
            "source": "futu", "symbol": symbol, "trade_date": day, "ts_event": 1, "sequence": sequence, "ordinal": 0,
            "price": 1.0, "volume": 1.0, "turnover": 1.0, "direction": "buy", "trade_type": 1, "condition": "",
            "session": "regular", "delivery": "realtime", "ts_recv": 1, "gateway": "g",
        }
        for symbol, sequence, day in rows
    ]  # fmt: skip
    batch: pa.RecordBatch = batch_of_rows(TICKS, values)
    day_ns = DAY * 86_400 * 1_000_000_000
    record = replace(make_record(ipc_stream(batch), rows=len(rows)), first_ts_ns=day_ns, last_ts_ns=day_ns)
    at = offset if journal_offset is None else journal_offset
    return ScannedRecord("t", 0, offset, "j", at, rows_total, waits, record)


def test_only_rows_of_the_day_count_and_each_for_its_symbol() -> None:
    tally = LogTally(DAY, {("t", 0): {0: 3}})
    tally.add(scanned([(KEY[1], 1, DAY), (OTHER[1], 1, DAY), (KEY[1], 2, DAY), (KEY[1], 3, DAY + 1)], 0))
    tally.add(scanned([(KEY[1], 9, DAY - 1)], 1))
    assert tally.rows == {KEY: 2, OTHER: 1}
    assert tally.rows_by_journal == {("j", KEY): 2, ("j", OTHER): 1}
    assert tally.suspects() == []


def test_copies_of_a_record_count_once_and_one_of_them_stored_is_enough() -> None:
    rows = [(KEY[1], 1, DAY), (KEY[1], 2, DAY)]
    tally = LogTally(DAY, {("t", 0): {5: 1, 7: 1}})
    tally.add(scanned(rows, 5, journal_offset=50))
    tally.add(scanned([(KEY[1], 3, DAY)], 6, journal_offset=51))
    tally.add(scanned(rows, 7, journal_offset=50))
    assert (tally.rows, tally.copies) == ({KEY: 3}, 1)
    assert [logged.record.offset for logged in tally.suspects()] == [6]


def test_a_record_that_waits_is_no_suspect() -> None:
    tally = LogTally(DAY, {})
    tally.add(scanned([(KEY[1], 1, DAY)], 0, waits=True))
    assert (tally.waiting, tally.suspects()) == ({KEY: 1}, [])


def test_too_many_suspects_are_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_module, "SUSPECT_ROWS_MAX", 3)
    tally = LogTally(DAY, {})
    for offset in range(3):
        tally.add(scanned([(KEY[1], offset, DAY), (KEY[1], offset + 10, DAY)], offset))
    assert (len(tally.suspects()), tally.not_looked_at) == (1, 4)


@pytest.mark.parametrize(
    ("totals", "jumps"),
    [([1, 2, 3], []), ([1, 3, 4], [(("t", 0), 1, 1)]), ([1, 2, 2, 1, 3], []), ([5, 6], [])],
)
def test_a_step_of_the_workers_count_is_a_loss(totals: list[int], jumps: list[object]) -> None:
    tally = LogTally(DAY, {})
    for offset, total in enumerate(totals):
        tally.add(scanned([(KEY[1], offset, DAY)], offset, rows_total=total))
    assert tally.jumps == jumps


def test_a_refused_tick_is_named_by_its_dead_letter() -> None:
    ticks: list[ticker_pb2.Ticker] = wire.make_ticks(range(3))
    pushed, pulled = wire.push_frame(KEY[1], ticks), wire.pull_frame(OTHER[1], ticks, serial=1)
    in_json = '{"retType": 0, "s2c": {"security": {"market": 1, "code": "00700"}, "tickerList": [{"sequence": "77"}]}}'
    letters = [
        ("tick 1: the price is infinite or not a number", pushed),
        ("tick 2: the time cannot be read", pulled),
        ("tick 7: the time cannot be read", pulled),
        ("no tick at all", pushed),
        ("tick 0: cut off", pushed[:-3]),
        ("tick 0: of something else", b"XX" * 40),
        ("tick 0: a price is NaN", pack_frame(ProtoId.UPDATE_TICKER, 0, in_json.encode(), BodyFormat.JSON)),
        ("tick 0: cut off", pack_frame(ProtoId.UPDATE_TICKER, 0, in_json[:-2].encode(), BodyFormat.JSON)),
    ]
    assert refused_sequences(letters) == {KEY[1]: {wire.sequence_of(1), 77}, OTHER[1]: {wire.sequence_of(2)}}
