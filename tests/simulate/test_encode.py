"""The encoding kernel against the generated protobuf classes, the clock of `zoneinfo`, and hashlib."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.markets import HK, US
from codec.opend.protocol import HEADER, HEADER_BYTES, ProtoId, pack_frame
from protos.opend import ticker_pb2
from tests.codec.examples import examples
from ticktape.simulate.opend_encode import CACHED, GATEWAY_DELAY_US, PULLED, REALTIME
from ticktape.simulate.opend_frames import Encoder
from ticktape.simulate.symbols import Listing
from ticktape.simulate.tick_kernel import RING_TICKS
from ticktape.simulate.tick_store import Spans, TickStore

ZONES = {HK: ZoneInfo("Asia/Hong_Kong"), US: ZoneInfo("America/New_York")}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)
codes = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._", min_size=1, max_size=24)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    market = draw(st.sampled_from([HK, US]))
    return Listing(market, draw(codes), draw(texts), 100_000, 100, 1, "2000-01-01", draw(st.booleans()))


def filled_store(listing: Listing, seed: int) -> TickStore:
    """Rings with any values that fit their fields, years apart."""
    store, rng = TickStore([listing], 0), np.random.default_rng(seed)
    rings, shape = store.rings, store.rings.event_us.shape
    rings.event_us[:] = rng.integers(946_684_800, 4_000_000_000, shape) * 1_000_000
    rings.event_us[:] += rng.integers(0, 1000, shape) * 1000 if listing.with_millis else 0
    rings.sequence[:] = rng.integers(0, 2**63, shape) >> rng.integers(0, 63, shape)
    rings.price_milli[:] = rng.integers(1, 10**8, shape)
    # Thousandths times volume stay below 2**53: their quotient is then the same however it is computed.
    rings.volume[:] = rng.integers(0, 2**26, shape) >> rng.integers(0, 26, shape)
    for column in (rings.direction, rings.trade_type, rings.sign):
        column[:] = rng.integers(0, 128, shape)
    return store


def local_text(listing: Listing, event_us: int) -> str:
    local = (EPOCH + timedelta(microseconds=event_us)).astimezone(ZONES[listing.market])
    return local.strftime("%Y-%m-%d %H:%M:%S") + (f".{local.microsecond // 1000:03d}" if listing.with_millis else "")


def expected_tick(listing: Listing, store: TickStore, number: int, delivery: int) -> ticker_pb2.Ticker:
    rings, slot = store.rings, number % RING_TICKS
    event_us = int(rings.event_us[0, slot])
    price_milli, volume = int(rings.price_milli[0, slot]), int(rings.volume[0, slot])
    return ticker_pb2.Ticker(
        time=local_text(listing, event_us),
        sequence=int(rings.sequence[0, slot]),
        dir=int(rings.direction[0, slot]),
        price=price_milli / 1000,
        volume=volume,
        turnover=price_milli * volume / 1000,
        recvTime=(event_us + GATEWAY_DELAY_US) / 1e6 if delivery == REALTIME else 0.0,
        type=int(rings.trade_type[0, slot]),
        typeSign=int(rings.sign[0, slot]),
        pushDataType=None if delivery == PULLED else delivery,
        timestamp=float(event_us // 1_000_000),
    )


def span(first: int, count: int) -> Spans:
    return Spans(*(np.array([value], np.int64) for value in (0, first, count)))


@examples(60)
@given(
    listing=listings(),
    seed=st.integers(0, 2**32),
    first=st.integers(0, 5000),
    count=st.integers(1, 300),
    ticks_per_push_max=st.integers(1, 120),
    delivery=st.sampled_from([REALTIME, CACHED]),
)
def test_pushes_are_what_the_generated_class_writes(
    listing: Listing, seed: int, first: int, count: int, ticks_per_push_max: int, delivery: int
) -> None:
    store = filled_store(listing, seed)
    frames = Encoder([listing], store.rings, ticks_per_push_max).pushes(span(first, count), delivery)
    expected = []
    for serial, begin in enumerate(range(first, first + count, ticks_per_push_max)):
        numbers = range(begin, min(begin + ticks_per_push_max, first + count))
        response = ticker_pb2.UpdateTickerResponse(retType=0)
        response.s2c.security.market, response.s2c.security.code = listing.market, listing.code
        response.s2c.tickerList.extend(expected_tick(listing, store, number, delivery) for number in numbers)
        response.s2c.name = listing.name
        expected.append(pack_frame(ProtoId.UPDATE_TICKER, serial, response.SerializeToString()))
    assert frames.data.tobytes() == b"".join(expected)
    assert frames.frame_at.tolist() == np.cumsum([0, *map(len, expected)]).tolist()


@given(listing=listings(), seed=st.integers(0, 2**32), count=st.integers(0, 1000))
@examples(30)
def test_replies_are_what_the_generated_class_writes(listing: Listing, seed: int, count: int) -> None:
    store = filled_store(listing, seed)
    response = ticker_pb2.GetTickerResponse(retType=0, retMsg="", errCode=0)
    response.s2c.security.market, response.s2c.security.code = listing.market, listing.code
    response.s2c.tickerList.extend(expected_tick(listing, store, number, PULLED) for number in range(count))
    response.s2c.name = listing.name
    frame = Encoder([listing], store.rings, 50).reply(span(0, count), serial=0xFFFFFFFE)
    assert frame == pack_frame(ProtoId.GET_TICKER, 0xFFFFFFFE, response.SerializeToString())


def test_frames_are_handed_out_by_symbol_in_any_choice() -> None:
    chosen = [Listing(HK, f"{code:05d}", "NAME", 100_000, 100, 1, "2000-01-01", False) for code in range(6)]
    store = TickStore(chosen, 1)
    spans = store.generate(np.arange(6), np.array([3, 1, 4, 0, 5, 9]), 10**15, 10**15 + 10**6)
    frames = Encoder(chosen, store.rings, 2).pushes(spans, REALTIME)
    for wanted in ([0, 1, 2, 3, 4, 5], [0], [5], [1, 2], [0, 4, 5], [3], []):
        flags = np.zeros(6, np.bool_)
        flags[wanted] = True
        codes_seen, data = [], frames.of(flags)
        while data:
            body_bytes = HEADER.unpack_from(data)[5]
            body = data[HEADER_BYTES : HEADER_BYTES + body_bytes]
            codes_seen.append(int(ticker_pb2.UpdateTickerResponse.FromString(body).s2c.security.code))
            data = data[HEADER_BYTES + body_bytes :]
        pushes = {0: 2, 1: 1, 2: 2, 3: 0, 4: 3, 5: 5}
        assert codes_seen == [code for code in wanted for _ in range(pushes[code])]


@pytest.mark.parametrize("hour", [5, 6, 7])
def test_local_times_follow_daylight_saving_within_one_encoding(hour: int) -> None:
    """New York, 1 November 2026: 06:00 UTC is the second 01:00."""
    listing = Listing(US, "AAPL", "Apple", 100_000, 1, 5, "1980-12-12", True)
    store = filled_store(listing, seed=1)
    event_us = int(datetime(2026, 11, 1, hour, 30, tzinfo=UTC).timestamp()) * 1_000_000
    store.rings.event_us[0, :2] = event_us, event_us + 3_600_000_000
    data = Encoder([listing], store.rings, 2).pushes(span(0, 2), REALTIME).data.tobytes()
    ticks = ticker_pb2.UpdateTickerResponse.FromString(data[HEADER_BYTES:]).s2c.tickerList
    assert [tick.time for tick in ticks] == [
        local_text(listing, event_us),
        local_text(listing, event_us + 3_600_000_000),
    ]
