"""LongPort's trades over random markets: each is a row once, or inside a `lost` row.

The market makes equal trades within a second; the gateway breaks off, sends pushes twice, late, under sequences
that begin anew, and under none; its replies hold the last few trades, so that their first second may be cut; the
process dies at any time, with a snapshot and a tail of the journal. The oracle is the market's own list.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.clock import MarketClock
from codec.columns import (
    DELIVERY_CODE,
    DIRECTION,
    ORDINAL,
    PRICE,
    SEQUENCE,
    SESSION_CODE,
    SYMBOL_ID,
    TS_EVENT_US,
    TS_RECV_NS,
    VOLUME,
)
from codec.counter import LATE_S
from codec.encode import encode_rows
from codec.markets import parse_symbol
from codec.row_diff import RowDiff
from codec.tables import DELIVERY, GAPS
from ingest.book_restart import end_replay
from ingest.coverage import CoverageKeeper
from ingest.lane import Lane, PipelineStats
from ingest.ledger import CAUSE_DECODE_ERROR, CAUSE_RECONNECT
from ingest.seen import export_seen, replay_record, restore_seen
from tests.ingest.journal import MemoryJournal

SYMBOLS = ("HK.00700", "US.AAPL")
START_S = 1_795_138_200
REPLY_TRADES = 12
"""The simulated gateway's reply holds no more."""
REALTIME, PULL = DELIVERY.code("realtime"), DELIVERY.code("pull")
US_OF_S = 1_000_000


class Trade(NamedTuple):
    """What makes two trades equal."""

    second: int
    price: float
    volume: float


class Push(NamedTuple):
    symbol: str
    sequence: int
    trades: tuple[Trade, ...]


class Held(NamedTuple):
    """A reply on its way to the lane."""

    symbol: str
    trades: tuple[Trade, ...]
    opened: int


class World:
    """One market, one gateway, one client that may die, and the journal that stays."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.second = START_S
        self.traded: dict[str, list[Trade]] = defaultdict(list)
        self.journal = MemoryJournal()
        self.stats = PipelineStats()
        self.now_ns = START_S * 10**9
        self.reads = 0
        self.sequence = 5
        self.connected = False
        self.subscribed_s = 0
        self.sent: list[Push] = []
        self.late: list[Push] = []
        self.asked: list[str] = []
        self.held: list[Held] = []
        self.heard: set[str] = set()
        self.start()

    # The client.

    def start(self) -> None:
        self.lane = Lane("longport", 4)
        self.lane.add_gateway("lp")
        snapshot, records = self.journal.load()
        lanes: dict[str, Lane] = {"longport": self.lane}
        diffs: dict[str, RowDiff] = {}
        if snapshot is not None:
            restore_seen(snapshot, lanes, diffs, self.coverage(lanes))
        for record in records:
            replay_record(record, lanes, diffs, self.coverage(lanes))
        end_replay(self.lane.book)
        self.lane.when_wanted(lambda ids: self.asked.extend(self.lane.symbols.names[id_] for id_ in ids))
        self.heard = {row["symbol"] for row in self.journal.rows()}
        self.ids = {symbol: self.lane.symbols.id_of(*parse_symbol(symbol)) for symbol in SYMBOLS}

    def coverage(self, lanes: dict[str, Lane]) -> CoverageKeeper:
        """Of no interest here."""
        return CoverageKeeper(lanes, MarketClock())

    def read(self, symbol: str, sequence: int, trades: tuple[Trade, ...], delivery: int) -> None:
        ticks = self.lane.ticks
        self.reads += 1
        for place, trade in enumerate(trades):
            row, ticks.rows = ticks.rows, ticks.rows + 1
            ticks.narrow[SYMBOL_ID, row] = self.ids[symbol]
            ticks.narrow[ORDINAL, row] = place
            ticks.wide[SEQUENCE, row] = sequence
            ticks.wide[TS_EVENT_US, row] = trade.second * US_OF_S
            ticks.wide[TS_RECV_NS, row] = self.now_ns + self.reads
            ticks.real[PRICE, row] = trade.price
            ticks.real[VOLUME, row] = trade.volume
            ticks.small[DIRECTION, row] = ticks.small[SESSION_CODE, row] = 1
            ticks.small[DELIVERY_CODE, row] = delivery

    def hear(self, push: Push) -> None:
        self.heard.add(push.symbol)
        self.read(push.symbol, push.sequence, push.trades, REALTIME)

    def flush(self, *, dies_behind: bool = False) -> None:
        self.now_ns += 10**9
        taken = self.lane.take()
        records = taken.encode(self.now_ns)
        records += encode_rows(GAPS, taken.entries.rows, 4)
        if records:
            self.journal.append(records)
        if not dies_behind:
            taken.stored(self.stats, self.now_ns)
            self.lane.want_pulls(taken.entries.wanted)

    # What may happen.

    def trade(self, symbol: str | None = None) -> None:
        """A push of the market's next trades, unless nobody is there to hear it."""
        symbol = symbol or self.random.choice(SYMBOLS)
        trades = []
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self.second += self.random.choice((0, 0, 0, 1))
            trades.append(Trade(self.second, self.random.choice((1.0, 2.0)), self.random.choice((100.0, 100.0, 200.0))))
        self.traded[symbol] += trades
        luck = self.random.random()
        if luck < 0.05:
            self.sequence = self.random.randint(1, 5)  # it begins anew
        self.sequence += self.random.randint(1, 3)
        self.come_late(before=self.second - LATE_S)
        push = Push(symbol, 0 if 0.05 < luck < 0.15 else self.sequence, tuple(trades))
        if self.connected:
            self.sent.append(push)
            if luck > 0.85:
                self.late.append(push)
            else:
                self.hear(push)

    def repeat(self) -> None:
        """The gateway sends a push again. Without a sequence nobody could tell that from another one."""
        if self.connected and (pushes := [push for push in self.sent if push.sequence and push not in self.late]):
            self.hear(self.random.choice(pushes))

    def come_late(self, *, before: int | None = None) -> None:
        """What is late comes, or what has a trade of a second `before` one: nothing is later than that."""
        come = [push for push in self.late if before is None or push.trades[0].second < before]
        self.late = [push for push in self.late if push not in come]
        self.random.shuffle(come)
        for push in come:
            self.hear(push)

    def disconnect(self) -> None:
        if self.connected:
            self.connected, self.sent, self.late, self.asked = False, [], [], []
            for symbol in SYMBOLS:
                self.lane.open_hole(self.ids[symbol], CAUSE_RECONNECT, "lp")

    def connect(self) -> None:
        if not self.connected:
            self.connected, self.subscribed_s = True, self.second
            for symbol in SYMBOLS:
                self.lane.begin(self.ids[symbol], "lp")
            self.asked = list(SYMBOLS)

    def bad_packet(self) -> None:
        """A push that cannot be read: nobody knows whose trades it held."""
        if self.connected:
            self.connected = False
            self.trade()
            self.connected, self.subscribed_s = True, self.second
            for symbol in SYMBOLS:
                self.lane.open_hole(self.ids[symbol], CAUSE_DECODE_ERROR, "lp")
                self.asked.append(symbol)

    def answer(self) -> None:
        """The gateway answers a pull, which is asked in a later second than the one in which something was missed."""
        if not self.asked or not self.connected:
            return
        symbol = self.asked.pop(self.random.randrange(len(self.asked)))
        if self.random.random() < 0.05:
            self.lane.give_up(self.ids[symbol])
            return
        self.second = max(self.second, self.subscribed_s + 1)
        reply = tuple(self.traded[symbol][-REPLY_TRADES:])
        self.held.append(Held(symbol, reply, self.lane.opened(parse_symbol(symbol))))

    def release(self) -> None:
        """A reply has been held for long enough. Which connection it came by does not matter."""
        if self.held:
            held = self.held.pop(0)
            row = self.lane.ticks.rows
            self.read(held.symbol, 0, held.trades, PULL)
            self.lane.mark_pull(
                self.ids[held.symbol],
                row,
                len(held.trades),
                "lp",
                full=len(held.trades) == REPLY_TRADES,
                opened=held.opened,
            )

    def snapshot(self) -> None:
        self.flush()
        lanes = {"longport": self.lane}
        self.journal.save(export_seen(lanes, {}, self.coverage(lanes)))

    def crash(self) -> None:
        if self.random.random() < 0.5:
            self.flush(dies_behind=True)
        self.connected, self.sent, self.late, self.asked, self.held = False, [], [], [], []
        self.start()

    def end(self) -> None:
        """Every hole comes to its end."""
        self.disconnect()
        self.connect()
        for _ in range(2):
            for _ in range(50):
                while self.asked or self.held:
                    self.answer()
                    self.release()
                self.flush()
                if not self.asked:
                    break
            for symbol in SYMBOLS:
                self.trade(symbol)
            self.come_late()
        self.flush()


STEPS: tuple[tuple[str, int], ...] = (
    ("trade", 40),
    ("repeat", 6),
    ("come_late", 5),
    ("flush", 16),
    ("answer", 14),
    ("release", 12),
    ("disconnect", 3),
    ("connect", 6),
    ("bad_packet", 2),
    ("snapshot", 2),
    ("crash", 2),
)


def play(seed: int, steps: int) -> World:
    world = World(seed)
    names, weights = zip(*STEPS, strict=True)
    for name in world.random.choices(names, weights, k=steps):
        step: Callable[[], None] = getattr(world, name)
        step()
    world.end()
    return world


def check(world: World) -> None:
    rows = world.journal.rows()
    keys = [(row["symbol"], row["sequence"], row["ordinal"]) for row in rows]
    assert len(keys) == len(set(keys)), "no key twice"
    gaps = {row["gap_id"]: row for row in world.journal.rows(GAPS.name)}
    assert {row["state"] for row in gaps.values()} <= {"filled", "lost"}, "every hole has ended"
    known = {(row["symbol"], row["sequence"], row["ts_event"]) for row in rows}
    for row in gaps.values():
        assert row["missing"] == (0 if row["state"] == "filled" else None)
        assert row["certainty"] == "suspected"
        for end in ("from", "to"):
            sequence = row[f"{end}_sequence"]
            assert sequence is None or (row["symbol"], sequence, row[f"{end}_ts"]) in known
    for symbol in SYMBOLS:
        stored = Counter(
            Trade(row["ts_event"] // US_OF_S, row["price"], row["volume"]) for row in rows if row["symbol"] == symbol
        )
        traded = Counter(world.traded[symbol])
        assert not stored - traded, f"{symbol}: more than was traded: {stored - traded}"
        lost = [row for row in gaps.values() if row["symbol"] == symbol and row["state"] == "lost"]
        for trade in traded - stored:
            assert any(inside(trade, row) for row in lost), f"{symbol} {trade} is lost in silence: {lost}"


def inside(trade: Trade, row: dict[str, object]) -> bool:
    begin, end = row["from_ts"], row["to_ts"]
    assert isinstance(begin, int | None)
    assert isinstance(end, int | None)
    instant = trade.second * US_OF_S
    return (begin is None or begin <= instant) and (end is None or instant <= end)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 150))
def test_every_trade_is_there_once_or_said_to_be_lost(seed: int, steps: int) -> None:
    check(play(seed, steps))


@pytest.mark.parametrize("seed", range(20))
def test_over_long_days(seed: int) -> None:
    check(play(seed, 600))
