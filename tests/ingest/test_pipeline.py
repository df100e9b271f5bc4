"""From decoded ticks to records, with a journal that fills up, breaks and comes back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from codec.bits import PAD_BYTES
from codec.columns import BATCH_TICKS_MAX
from codec.markets import parse_symbol
from codec.partition import partition_of
from codec.records import RecordKind
from codec.tables import DEAD_LETTERS, GAPS, TICKS
from ingest import pipeline as pipeline_module
from ingest.lane import Lane
from ingest.ledger import CAUSE_DECODE_ERROR, Gap
from ingest.letters import PAYLOAD_BYTES_MAX
from ingest.pipeline import FLUSH_ROWS, LINGER_S, WAITING_ROWS_MAX, TickPipeline
from protos.opend import ticker_pb2
from tests.ingest import wire
from tests.ingest.journal import Broken, MemoryJournal, rows_of, until
from tests.ingest.talk import RECV_NS, make_decoder
from tests.support.guards import with_and_without

PARTITIONS = 12
SYMBOLS = ("HK.00700", "HK.09988", "HK.00005")
DRAIN_S = 5.0


class Feed:
    """A pipeline with one gateway, whose frames come from the test."""

    def __init__(self, journal: MemoryJournal, *, source: str = "futu") -> None:
        self.journal = journal
        self.pipeline = TickPipeline(journal.append, partition_count=PARTITIONS, windows=journal)
        self.lane: Lane = self.pipeline.lane(source)
        self._decoder = make_decoder(self.lane.symbols)
        self.lane.add_gateway("opend-1")
        self.heard = 0

    def hear(self, *frames: bytes) -> bool:
        """Decode whole frames into the lane, as a connection does; False if there was no room for all."""
        data = b"".join(frames)
        source = np.frombuffer(bytearray(data + bytes(PAD_BYTES)), np.uint8)
        rows_before = self.lane.ticks.rows
        decoded = self._decoder.decode(source, 0, len(data), RECV_NS, self.lane.ticks)
        self.heard += self.lane.ticks.rows - rows_before
        self.pipeline.gathered(self.lane)
        return not decoded.needs_room

    def hear_pull(self, symbol: str, ticks: Sequence[ticker_pb2.Ticker]) -> None:
        first_row = self.lane.ticks.rows
        assert self.hear(wire.pull_frame(symbol, ticks, serial=9))
        self.lane.mark_pull(self.lane.symbols.id_of(*parse_symbol(symbol)), first_row, len(ticks), "opend-1")
        self.pipeline.gathered(self.lane)

    async def stored(self) -> None:
        """Until everything heard so far is in the journal, and remembered."""
        await until(lambda: self.pipeline.stats.received_rows[TICKS.name] == self.heard)


@pytest.fixture
def journal() -> Iterator[MemoryJournal]:
    """Sound again at the end: a pipeline that waits for that would outlive its test."""
    journal = MemoryJournal()
    yield journal
    journal.full = journal.breaks = journal.breaks_after = False


async def start(journal: MemoryJournal) -> Feed:
    feed = Feed(journal)
    await feed.pipeline.start()
    return feed


def push(numbers: range | Sequence[int], symbol: str = SYMBOLS[0]) -> bytes:
    return wire.push_frame(symbol, wire.make_ticks(numbers))


def sequences(numbers: range | Sequence[int]) -> list[int]:
    return [wire.sequence_of(number) for number in numbers]


def gap_row(symbol: str = SYMBOLS[0], number: int = 0) -> dict[str, object]:
    return Gap("futu", symbol, "opend-1", CAUSE_DECODE_ERROR, None, number, RECV_NS, RECV_NS).row()


def dead_letter_row(payload: bytes = b"x") -> dict[str, object]:
    return {
        "gateway": "opend-1",
        "feed": "ticks",
        "reason": "bad_row",
        "detail": "tick 7: the price is infinite or not a number",
        "payload": payload,
        "payload_bytes": len(payload),
        "ts_recv": RECV_NS,
    }


# What is stored.


async def test_rows_are_what_was_sent_in_the_order_of_their_partition(journal: MemoryJournal) -> None:
    feed = await start(journal)
    sent: dict[int, list[tuple[str, ticker_pb2.Ticker]]] = {}
    for number in range(300):
        symbol, tick = SYMBOLS[number % 3], wire.make_tick(number)
        sent.setdefault(partition_of(symbol, PARTITIONS), []).append((symbol, tick))
        feed.hear(wire.push_frame(symbol, [tick]))
        if number % 100 == 50:
            await feed.stored()
    await feed.pipeline.stop(DRAIN_S)

    assert len(sent) > 1
    for partition, expected in sent.items():
        rows = [row for record in journal.of(TICKS.name) if record.partition == partition for row in rows_of(record)]
        assert [as_sent(row) for row in rows] == [as_expected(symbol, tick) for symbol, tick in expected]
    for record in journal.of(TICKS.name):
        rows = rows_of(record)
        assert (record.table, record.kind) == (TICKS.name, RecordKind.LIVE)
        assert record.first_ts_ns == min(row["ts_event"] for row in rows) * 1000
        assert record.last_ts_ns == max(row["ts_event"] for row in rows) * 1000
        assert record.recv_ns == RECV_NS


def as_sent(row: dict[str, Any]) -> tuple[object, ...]:
    names = ("symbol", "sequence", "price", "volume", "turnover", "direction", "trade_type", "condition", "delivery")
    fixed = (row["source"], row["gateway"], row["ordinal"], row["session"], row["ts_recv"], str(row["trade_date"]))
    return (*(row[name] for name in names), row["ts_event"], row["ts_gateway"], *fixed)


def as_expected(symbol: str, tick: ticker_pb2.Ticker) -> tuple[object, ...]:
    directions = ("unknown", "buy", "sell", "neutral")
    values = (symbol, tick.sequence, tick.price, float(tick.volume), tick.turnover, directions[tick.dir], 1, "")
    times = (int(tick.timestamp * 1e6), int(tick.recvTime * 1e6))
    return (*values, "realtime", *times, "futu", "opend-1", 0, "regular", RECV_NS, "2026-11-20")


async def test_pulled_rows_are_backfill_and_never_share_a_record_with_pushed_ones(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.hear(push(range(50, 60)))
    feed.hear_pull(SYMBOLS[0], wire.make_ticks(range(60), push_type=None))
    feed.hear(push(range(60, 65)))
    await feed.pipeline.stop(DRAIN_S)
    by_kind = {record.kind: rows_of(record) for record in journal.records}
    assert [row["sequence"] for row in by_kind[RecordKind.LIVE]] == sequences(range(50, 65))
    assert [row["sequence"] for row in by_kind[RecordKind.BACKFILL]] == sequences(range(50))
    assert {row["delivery"] for row in by_kind[RecordKind.BACKFILL]} == {"pull"}


async def test_rows_of_small_tables_go_to_their_symbols_partition(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.pipeline.append_rows(GAPS.name, [gap_row(symbol) for symbol in SYMBOLS])
    feed.pipeline.append_rows(DEAD_LETTERS.name, [dead_letter_row()])
    await feed.pipeline.stop(DRAIN_S)
    assert {(record.partition, row["symbol"]) for record in journal.of(GAPS.name) for row in rows_of(record)} == {
        (partition_of(symbol, PARTITIONS), symbol) for symbol in SYMBOLS
    }
    assert [record.partition for record in journal.of(DEAD_LETTERS.name)] == [0]
    assert feed.pipeline.stats.journaled_rows == {GAPS.name: 3, DEAD_LETTERS.name: 1}


async def test_thousands_of_dead_letters_fit_their_records(journal: MemoryJournal) -> None:
    """One frame can have 4095 bad ticks, each a dead letter with 4 KiB of it."""
    feed = await start(journal)
    row = dead_letter_row(bytes(PAYLOAD_BYTES_MAX))
    feed.pipeline.append_rows(DEAD_LETTERS.name, [row] * 4095)
    await feed.pipeline.stop(DRAIN_S)
    assert sum(record.rows for record in journal.of(DEAD_LETTERS.name)) == 4095


# When.


async def test_rows_are_gathered_for_a_moment(journal: MemoryJournal) -> None:
    feed = await start(journal)
    begin_s = time.monotonic()
    for number in range(20):
        feed.hear(push([number]))
    await feed.stored()
    assert len(journal.appends) == 1
    assert time.monotonic() - begin_s > LINGER_S * 0.9
    await feed.pipeline.stop(DRAIN_S)


async def test_many_rows_are_stored_at_once(journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "LINGER_S", 60.0)
    feed = await start(journal)
    for frame in itertools.repeat(push(range(1000)), FLUSH_ROWS // 1000 + 1):
        feed.hear(frame)
    await feed.stored()
    await feed.pipeline.stop(DRAIN_S)
    assert journal.sequences() == sequences(range(1000))


# Repeats.

batches = st.lists(st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=4), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None, phases=set(Phase) - {Phase.explain})
@given(flushes=batches)
def test_a_tick_is_stored_once_within_and_across_flushes(flushes: list[list[list[int]]]) -> None:
    async def run() -> None:
        journal = MemoryJournal()
        feed = await start(journal)
        heard = 0
        for flush in flushes:
            for numbers in flush:
                feed.hear(push(numbers))
                heard += len(numbers)
            feed.pipeline.wake(urgent=True)
            await feed.stored()
        await feed.pipeline.stop(DRAIN_S)
        expected = list(dict.fromkeys(number for flush in flushes for numbers in flush for number in numbers))
        assert journal.sequences() == sequences(expected)
        assert feed.pipeline.stats.received_rows[TICKS.name] == heard
        assert feed.pipeline.stats.repeat_rows[TICKS.name] == heard - len(expected)

    asyncio.run(run())


async def test_one_sequence_with_two_contents_is_two_ticks(journal: MemoryJournal) -> None:
    feed = await start(journal)
    for price in (500.0, 501.0, 500.0, 502.0):
        feed.hear(wire.push_frame(SYMBOLS[0], [wire.make_tick(1, price=price)]))
        await feed.stored()
    await feed.pipeline.stop(DRAIN_S)
    assert [(row["price"], row["ordinal"]) for row in journal.rows()] == [(500.0, 0), (501.0, 1), (502.0, 2)]
    assert feed.pipeline.stats.conflicts.total() == 2


async def test_two_spellings_of_one_symbol_are_one(journal: MemoryJournal) -> None:
    """Also in the very read in which the second spelling is first seen: the kernel does not know it yet."""
    feed = await start(journal)
    ticks = wire.make_ticks(range(3))
    feed.hear(wire.push_frame(SYMBOLS[0], ticks), wire.push_frame(SYMBOLS[0], ticks, code="700"))
    feed.hear(wire.push_frame(SYMBOLS[0], ticks, code="0700"))
    await feed.pipeline.stop(DRAIN_S)
    assert [(row["symbol"], row["sequence"]) for row in journal.rows()] == [
        (SYMBOLS[0], sequence) for sequence in sequences(range(3))
    ]


async def test_gateways_of_one_source_share_what_was_seen_and_sources_do_not(journal: MemoryJournal) -> None:
    pipeline = TickPipeline(journal.append, partition_count=PARTITIONS, windows=journal)
    assert pipeline.lane("futu") is pipeline.lane("futu")
    assert pipeline.lane("futu") is not pipeline.lane("moomoo")


# A journal that takes nothing.


async def test_a_full_journal_delays_everything_and_loses_nothing(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.hear(push(range(10)))
    await feed.stored()
    journal.full = True
    feed.hear_pull(SYMBOLS[0], wire.make_ticks(range(15), push_type=None))
    await until(lambda: journal.refusals >= 2)
    assert feed.lane.window.newest_sequence(0) == wire.sequence_of(9), "nothing is seen that is not journaled"
    assert feed.pipeline.stats.journal_full_since_ns
    feed.hear(push(range(20)))
    journal.full = False
    await feed.stored()
    await feed.pipeline.stop(DRAIN_S)
    assert not feed.pipeline.stats.journal_full_since_ns
    assert sorted(journal.sequences()) == sequences(range(20))
    [row] = journal.rows(GAPS.name)
    assert (row["cause"], row["source"], row["state"]) == ("journal_full", "futu", "filled")
    assert 0 < row["updated_at"] - row["opened_at"] < 10e9
    assert feed.pipeline.stats.journaled_rows == {TICKS.name: 20, GAPS.name: 1}


async def test_the_account_of_a_full_journal_is_part_of_the_append_that_ends_it(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal with room for the ticks only must not take the pipeline down."""
    monkeypatch.setattr(pipeline_module, "_RETRY_S", 0.01)
    feed = await start(journal)
    journal.full = True
    feed.hear(push(range(10)))
    await until(lambda: journal.refusals >= 3)
    journal.full = False
    await feed.pipeline.stop(DRAIN_S)
    assert journal.appends == [2]
    assert len(journal.rows(GAPS.name)) == 1


async def test_behind_a_full_journal_two_buffers_fill_and_then_reading_stops(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "_RETRY_S", 0.01)
    journal.full = True
    feed = await start(journal)
    frames = (push(range(begin, begin + 1000)) for begin in itertools.count(0, 1000))
    feed.hear(next(frames))
    await until(lambda: journal.refusals)
    frame = next(frames)
    while feed.hear(frame):
        frame = next(frames)
        await asyncio.sleep(0)
    room = asyncio.Event()
    feed.pipeline.when_room(room.set)
    await asyncio.sleep(0.3)
    assert not room.is_set(), "the gateway is not read while there is no room"
    assert feed.heard == 1000 + BATCH_TICKS_MAX // 1000 * 1000, "one buffer on its way, one full"
    assert feed.lane.window.newest_sequence(0) is None

    journal.full = False
    await room.wait()
    assert feed.hear(frame)
    await feed.pipeline.stop(DRAIN_S)
    assert journal.sequences() == sequences(range(feed.heard))


async def test_rows_of_small_tables_are_bounded_too(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.pipeline.append_rows(GAPS.name, [gap_row(number=number) for number in range(WAITING_ROWS_MAX)])
    was_full = feed.pipeline.rows_full
    room = asyncio.Event()
    feed.pipeline.when_room(room.set)
    await room.wait()
    assert (was_full, feed.pipeline.rows_full) == (True, False)
    await feed.pipeline.stop(DRAIN_S)
    assert len({row["gap_id"] for row in journal.rows(GAPS.name)}) == WAITING_ROWS_MAX


async def test_stopping_with_a_full_journal_ends_in_time_and_remembers_nothing_of_it(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.hear(push(range(5)))
    await feed.stored()
    journal.full = True
    feed.hear_pull(SYMBOLS[0], wire.make_ticks(range(9), push_type=None))
    begin_s = time.monotonic()
    await feed.pipeline.stop(0.3)
    assert 0.25 < time.monotonic() - begin_s < 5
    assert feed.lane.window.newest_sequence(0) == wire.sequence_of(4), "seen before the journal has it"
    assert feed.pipeline.stats.received_rows[TICKS.name] == 5
    journal.full = False

    again = await start(journal)
    again.hear_pull(SYMBOLS[0], wire.make_ticks(range(9), push_type=None))
    await again.pipeline.stop(DRAIN_S)
    assert journal.sequences() == sequences(range(9))


@with_and_without
async def test_what_a_full_journal_did_not_take_before_a_stop_is_missed_after_it(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The account counted it already: kept for the next start, it would take four ticks for journaled ones."""
    if not guarded:
        monkeypatch.setattr(TickPipeline, "_left_behind", property(lambda _: False, lambda *_: None), raising=False)
    feed = await start(journal)
    feed.hear(push(range(5)))
    await feed.stored()
    journal.full = True
    feed.hear(push(range(5, 9)))
    await feed.pipeline.stop(0.3)
    journal.full = False

    again = await start(journal)
    again.hear(push(range(20, 25)))
    await again.pipeline.stop(DRAIN_S)
    [gap] = journal.rows(GAPS.name)
    assert (gap["cause"], gap["missing"]) == ("sequence_step", 15 if guarded else 11)


async def test_a_journal_that_cannot_be_mended_ends_the_pipeline_with_its_error(journal: MemoryJournal) -> None:
    feed = await start(journal)
    journal.breaks = True
    feed.hear(push(range(5)))
    with pytest.raises(Broken):
        await asyncio.wait_for(feed.pipeline.wait(), DRAIN_S)
    with pytest.raises(Broken):
        await feed.pipeline.stop(DRAIN_S)
    assert journal.records == []
    assert feed.lane.window.newest_sequence(0) is None


# A restart.


async def crash(journal: MemoryJournal, *frames: bytes) -> None:
    """These frames are journaled, and the process dies before it remembers them."""
    feed = await start(journal)
    journal.breaks_after = True
    feed.hear(*frames)
    with pytest.raises(Broken):
        await feed.pipeline.stop(DRAIN_S)
    journal.breaks_after = False


@pytest.mark.parametrize("with_snapshot", [False, True])
async def test_a_restart_after_a_crash_drops_exactly_the_repeats(journal: MemoryJournal, with_snapshot: bool) -> None:
    if with_snapshot:
        feed = await start(journal)
        feed.hear(push(range(30)), push(range(30), SYMBOLS[1]))
        await feed.pipeline.stop(DRAIN_S)
        assert journal.snapshot is not None
    await crash(journal, push(range(10, 40)), push(range(5), SYMBOLS[2]))
    before = len(journal.sequences())

    feed = await start(journal)
    for symbol in SYMBOLS:
        feed.hear_pull(symbol, wire.make_ticks(range(50), push_type=None))
    await feed.pipeline.stop(DRAIN_S)
    stored = [(row["symbol"], row["sequence"]) for row in journal.rows()]
    assert len(stored) == len(set(stored)), "a row twice"
    assert set(stored) == set(itertools.product(SYMBOLS, sequences(range(50))))
    assert feed.pipeline.stats.repeat_rows[TICKS.name] == before
    assert feed.pipeline.stats.conflicts.total() == 0


@pytest.mark.parametrize(("without", "repeats"), [((), 0), (("restore_seen",), 30), (("replay_record",), 10)])
async def test_window_a_pull_after_a_restart_overlaps_what_was_journaled(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch, without: Sequence[str], repeats: int
) -> None:
    """Nothing but the window that is restored, from its snapshot and the records after it, keeps them single."""
    feed = await start(journal)
    feed.hear(push(range(30)))
    await feed.pipeline.stop(DRAIN_S)
    await crash(journal, push(range(30, 40)))

    for name in without:
        monkeypatch.setattr(pipeline_module, name, lambda *_: None)
    feed = await start(journal)
    feed.hear_pull(SYMBOLS[0], wire.make_ticks(range(45), push_type=None))
    await feed.pipeline.stop(DRAIN_S)
    stored = journal.sequences()
    assert set(stored) == set(sequences(range(45)))
    assert len(stored) - len(set(stored)) == repeats


async def test_a_restart_goes_on_with_the_next_ordinal(journal: MemoryJournal) -> None:
    """A row alone does not say how many ticks shared its sequence: the ordinal does."""
    for prices in ((1.0, 2.0, 3.0), (3.0, 2.0, 4.0)):
        await crash(journal, *(wire.push_frame(SYMBOLS[0], [wire.make_tick(1, price=price)]) for price in prices))
    journal.records = [record for record in journal.records if rows_of(record)[0]["ordinal"] > 0]
    await crash(journal, wire.push_frame(SYMBOLS[0], [wire.make_tick(1, price=5.0)]))
    assert [(row["price"], row["ordinal"]) for row in journal.rows()][-2:] == [(4.0, 3), (5.0, 4)]


async def test_stopping_saves_the_windows_and_they_are_enough(journal: MemoryJournal) -> None:
    feed = await start(journal)
    feed.hear(push(range(100)), wire.push_frame(SYMBOLS[1], [wire.make_tick(1, price=7.0)]))
    feed.hear(wire.push_frame(SYMBOLS[1], [wire.make_tick(1, price=8.0)]))
    await feed.pipeline.stop(DRAIN_S)
    assert journal.snapshot is not None
    assert journal.snapshot[0] == len(journal.records)
    journal.snapshot, journal.records = (0, journal.snapshot[1]), []  # trimmed away

    feed = await start(journal)
    feed.hear(push(range(50, 110)))
    for price in (8.0, 9.0, 7.0):
        feed.hear(wire.push_frame(SYMBOLS[1], [wire.make_tick(1, price=price)]))
    await feed.pipeline.stop(DRAIN_S)
    assert journal.sequences() == [*sequences(range(100, 110)), wire.sequence_of(1)]
    assert [row["ordinal"] for row in journal.rows()] == [0] * 10 + [2]


async def test_a_source_that_is_configured_no_more_is_left_out(journal: MemoryJournal) -> None:
    feed = Feed(journal, source="moomoo")
    await feed.pipeline.start()
    feed.hear(push(range(5)))
    await feed.pipeline.stop(DRAIN_S)
    feed = await start(journal)
    feed.hear(push(range(5)))
    await feed.pipeline.stop(DRAIN_S)
    assert [row["source"] for row in journal.rows()] == ["moomoo"] * 5 + ["futu"] * 5


async def test_snapshots_are_taken_while_it_runs(journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "SNAPSHOT_EVERY_S", 0.0)
    feed = await start(journal)
    feed.hear(push(range(5)))
    await until(lambda: journal.snapshot)
    assert journal.snapshot is not None
    assert journal.snapshot[0] == 1
    await feed.pipeline.stop(DRAIN_S)
