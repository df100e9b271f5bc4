"""The encoding kernels against the generated classes, which serialise the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.longport.protocol import PUSH_HEADER_BYTES
from codec.markets import US
from protos.longport.trade_pb2 import PushTrade, SecurityTradeResponse, Trade, TradeSession
from tests.codec.examples import examples
from ticktape.simulate.longport_packets import Packets
from ticktape.simulate.longport_trades import Sequences, TradeEncoder, list_longport_symbols, wire_symbol
from ticktape.simulate.tick_kernel import RING_TICKS
from ticktape.simulate.tick_store import Spans, TickStore

LISTINGS = list_longport_symbols(40)
NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIRECTIONS = {1: 2, 2: 1, 3: 0}
"""Of the rings and of the wire: up is a buyer's."""


def filled_store(seed: int) -> TickStore:
    """Rings with any values that fit their fields, years apart."""
    store, rng = TickStore(LISTINGS, 0), np.random.default_rng(seed)
    rings, shape = store.rings, store.rings.event_us.shape
    rings.event_us[:] = rng.integers(946_684_800, 4_000_000_000, shape) * 1_000_000
    rings.price_milli[:] = rng.integers(1, 10**9, shape) // 10 ** rng.integers(0, 9, shape)
    rings.volume[:] = 1 + (rng.integers(0, 2**40, shape) >> rng.integers(0, 40, shape))
    rings.direction[:] = rng.integers(1, 4, shape)
    rings.sign[:] = rng.integers(32, 127, shape)
    return store


def us_session(local: datetime) -> int:
    """TradeSession of a New York time."""
    minute = local.hour * 60 + local.minute
    if minute < 4 * 60 or minute >= 20 * 60:
        return 3
    return 1 if minute < 9 * 60 + 30 else 0 if minute < 16 * 60 else 2


def expected_trade(store: TickStore, symbol: int, number: int) -> Trade:
    rings, slot = store.rings, number % RING_TICKS
    event_us, sign = int(rings.event_us[symbol, slot]), chr(rings.sign[symbol, slot])
    local = (EPOCH + timedelta(microseconds=event_us)).astimezone(NEW_YORK)
    return Trade(
        price=f"{int(rings.price_milli[symbol, slot]) / 1000:.3f}",
        volume=int(rings.volume[symbol, slot]),
        timestamp=event_us // 1_000_000,
        trade_type="" if sign == " " else sign,
        direction=DIRECTIONS[int(rings.direction[symbol, slot])],
        trade_session=TradeSession.Name(us_session(local) if LISTINGS[symbol].market == US else 0),
    )


@st.composite
def spans(draw: st.DrawFn) -> Spans:
    symbols = draw(st.lists(st.integers(0, len(LISTINGS) - 1), min_size=1, max_size=6, unique=True))
    firsts = [draw(st.integers(0, 5000)) for _ in symbols]
    counts = [draw(st.integers(1, 25)) for _ in symbols]
    return Spans(np.array(symbols), np.array(firsts), np.array(counts))


@given(spans(), st.integers(1, 12), st.integers(0, 2**32), st.data())
@examples(60)
def test_pushes_are_what_the_generated_classes_write(
    spans: Spans, trades_max: int, seed: int, data: st.DataObject
) -> None:
    store = filled_store(seed)
    encoder = TradeEncoder(LISTINGS, store.rings, trades_max, np.random.default_rng(seed))
    bare = np.array(data.draw(st.lists(st.booleans(), min_size=(n := encoder.pushes_of(spans)), max_size=n)))
    packets = encoder.pushes(spans, bare)
    assert ((packets.sequence == 0) == bare).all()
    index = 0
    for symbol, first, count in zip(spans.symbol.tolist(), spans.first.tolist(), spans.count.tolist(), strict=True):
        for begin in range(first, first + count, trades_max):
            trades = [
                expected_trade(store, symbol, number) for number in range(begin, min(begin + trades_max, first + count))
            ]
            push = PushTrade(
                symbol=wire_symbol(LISTINGS[symbol]), sequence=int(packets.sequence[index]), trade=trades
            ).SerializeToString()
            assert packets.packet(index) == bytes((3, 104)) + len(push).to_bytes(3, "big") + push
            assert packets.symbol[index] == symbol
            index += 1
    assert index == len(packets) == len(packets.at) - 1
    assert packets.stream() == b"".join(packets.packet(number) for number in range(index))


@given(st.integers(0, len(LISTINGS) - 1), st.integers(0, 5000), st.integers(0, 60), st.integers(0, 2**32))
@examples(30)
def test_pulled_trades_are_what_the_generated_classes_write(symbol: int, first: int, count: int, seed: int) -> None:
    store = filled_store(seed)
    encoder = TradeEncoder(LISTINGS, store.rings, 1, np.random.default_rng(seed))
    one = np.array([symbol])
    wanted = Spans(one, np.array([first]), np.array([count])) if count else Spans(one[:0], one[:0], one[:0])
    trades = [expected_trade(store, symbol, number) for number in range(first, first + count)]
    reply = SecurityTradeResponse(symbol=wire_symbol(LISTINGS[symbol]), trades=trades)
    assert encoder.pulled(wanted, symbol) == reply.SerializeToString()


def test_symbols_are_spelled_as_the_vendor_does() -> None:
    spelled = {listing.symbol: wire_symbol(listing) for listing in LISTINGS}
    assert {spelled[name] for name in ("HK.00700", "HK.00005", "US.AAPL", "US.BRK.B")} == {
        "700.HK",
        "5.HK",
        "AAPL.US",
        "BRK.B.US",
    }


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_a_message_is_framed_as_the_rfc_says(size: int) -> None:
    packets = Packets.joined([b"before", bytes(size), b"behind"])
    header = (
        bytes((0x82, size))
        if size < 126
        else b"\x82\x7e" + size.to_bytes(2, "big")
        if size < 65_536
        else b"\x82\x7f" + size.to_bytes(8, "big")
    )
    assert packets.messages() == b"\x82\x06before" + header + bytes(size) + b"\x82\x06behind"


def test_some_packets_of_several() -> None:
    packets = Packets.joined([b"a", b"bc", b"def", b"g"], [5, 6, 7, 5], [1, 2, 3, 4])
    wanted = np.zeros(8, np.bool_)
    wanted[[5, 7]] = True
    some = packets.of(wanted)
    assert (some.stream(), some.symbol.tolist(), some.sequence.tolist()) == (b"adefg", [5, 7, 5], [1, 3, 4])
    assert [some.packet(index) for index in range(3)] == [b"a", b"def", b"g"]
    assert len(packets.of(np.zeros(8, np.bool_))) == 0


def test_sequences_grow_by_odd_steps_and_after_a_restart_are_lower_but_new() -> None:
    sequences = Sequences(2, np.random.default_rng(1))
    seen: list[int] = []
    for _ in range(5):
        taken = sequences.take(np.array([0] * 50 + [1] * 50))[:50].tolist()
        assert taken == sorted(taken)
        assert not seen or taken[0] < seen[-1]
        assert set(taken).isdisjoint(seen)
        assert len(set(np.diff(taken).tolist())) > 10
        seen += taken
        assert sequences.restart(0)
    other = sequences.take(np.array([0, 1]))[1]
    assert other > 0, "another symbol's are not touched"


def test_a_header_says_how_long_its_body_is() -> None:
    store = filled_store(1)
    encoder = TradeEncoder(LISTINGS, store.rings, 1000, np.random.default_rng(1))
    packets = encoder.pushes(Spans(np.array([0]), np.array([7]), np.array([1000])))
    packet = packets.packet(0)
    assert int.from_bytes(packet[2:5], "big") == len(packet) - PUSH_HEADER_BYTES > 1 << 14
    assert len(PushTrade.FromString(packet[PUSH_HEADER_BYTES:]).trade) == 1000
