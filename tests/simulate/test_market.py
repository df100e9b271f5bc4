"""The market: what its ticks look like, and that the same seed is the same market."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from codec.markets import HK, US
from ticktape.simulate.checksum import mix_ticks
from ticktape.simulate.market import CACHE_TICKS, EVERY_SESSION, Market
from ticktape.simulate.sessions import (
    SECOND_US,
    TradingSession,
    intensity,
    last_open_us,
    local_second,
    opening_us,
    phase_at,
)
from ticktape.simulate.symbols import SYMBOLS_MAX, hk_spread_milli, list_symbols
from ticktape.simulate.tick_kernel import NEUTRAL, ODD_LOT, RING_TICKS
from ticktape.simulate.tick_store import TickStore

START_US = opening_us("2026-11-20")
HOUR_US = 3600 * SECOND_US


def held(market: Market, covered: TradingSession = EVERY_SESSION) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.full(len(market.listings), covered, np.uint8)


def kept(store: TickStore, symbol: int, column: str) -> list[int]:
    """The values of a column over all ticks of a symbol that has had no more than the ring holds."""
    ticks = int(store.state.ticks[symbol])
    assert ticks <= RING_TICKS
    values: list[int] = getattr(store.rings, column)[symbol, :ticks].tolist()
    return values


def run(market: Market, seconds: float, step_s: float = 0.01) -> None:
    for _ in range(round(seconds / step_s)):
        market.step(step_s, step_s, held(market))


def test_it_opens_at_half_past_nine_in_hong_kong() -> None:
    assert START_US == 1_795_138_200 * SECOND_US  # the vendor document's own example instant
    assert phase_at(HK, START_US).session is TradingSession.REGULAR
    assert phase_at(US, START_US).session is TradingSession.OVERNIGHT


def test_half_of_the_symbols_are_of_each_market_and_codes_differ() -> None:
    listings = list_symbols(SYMBOLS_MAX)
    assert [listing.symbol for listing in listings[:4]] == ["HK.00700", "US.AAPL", "HK.09988", "US.NVDA"]
    assert sum(listing.market == HK for listing in listings) == SYMBOLS_MAX // 2
    assert len({listing.symbol for listing in listings}) == SYMBOLS_MAX
    assert max(len(listing.code) for listing in listings) <= 8


def test_the_same_seed_gives_the_same_ticks() -> None:
    first, second, other = (Market(list_symbols(8), seed=seed, start_us=START_US, rate=10_000) for seed in (7, 7, 8))
    for market in (first, second, other):
        run(market, 1.0)
    assert first.store.total > 0
    assert first.store.checksum.tolist() == second.store.checksum.tolist()
    assert first.store.checksum.tolist() != other.store.checksum.tolist()


def test_prices_do_not_depend_on_steps_or_on_other_symbols() -> None:
    alone, among = TickStore(list_symbols(1), 3), TickStore(list_symbols(40), 3)
    alone.generate(np.array([0]), np.array([500]), START_US, START_US + SECOND_US)
    for i in range(50):
        counts = np.full(40, 10)
        among.generate(np.arange(40), counts, START_US + i * SECOND_US, START_US + (i + 1) * SECOND_US)
    for column in ("price_milli", "volume", "direction", "trade_type", "sign"):
        assert kept(alone, 0, column) == kept(among, 0, column)


def test_prices_stand_on_the_tick_size_and_walk(market: Market) -> None:
    run(market, 1.0)
    for symbol, listing in enumerate(market.listings):
        prices = kept(market.store, symbol, "price_milli")
        for price in prices:
            assert price % (hk_spread_milli(price) if listing.market == HK else 10) == 0
            assert abs(price - listing.base_milli) < listing.base_milli * 0.06
        assert len(set(prices)) > 2
        steps = {abs(after - before) for before, after in itertools.pairwise(prices)}
        assert max(steps) <= 3 * max(hk_spread_milli(max(prices)), 10)


def test_volumes_are_lots_but_for_odd_lots(market: Market) -> None:
    run(market, 1.0)
    odd = 0
    for symbol, listing in enumerate(market.listings):
        lot = listing.lot_size if listing.market == HK else 100
        volumes, types, directions = (
            kept(market.store, symbol, column) for column in ("volume", "trade_type", "direction")
        )
        for volume, trade_type, direction in zip(volumes, types, directions, strict=True):
            if trade_type == ODD_LOT:
                odd += 1
                assert 0 < volume < lot
                assert direction == NEUTRAL
            else:
                assert volume % lot == 0
    assert odd > 0


def test_hong_kong_counts_on_and_the_us_within_the_second(market: Market) -> None:
    run(market, 1.0)
    for symbol, listing in enumerate(market.listings):
        sequences = kept(market.store, symbol, "sequence")
        event_s = [event_us // SECOND_US for event_us in kept(market.store, symbol, "event_us")]
        assert [sequence >> 32 for sequence in sequences] == event_s
        assert sequences == sorted(set(sequences))
        low = [sequence & 0xFFFFFFFF for sequence in sequences]
        if listing.market == HK:
            assert low == list(range(1, len(low) + 1))
        else:
            expected = [index for _, group in itertools.groupby(event_s) for index in range(len(list(group)))]
            assert low == expected


def kept_sequences(market: Market) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    symbols, columns = market.store.kept()
    return symbols, columns["sequence"]


def test_hong_kongs_counter_skips_on_request_and_nothing_else_changes() -> None:
    plain, skipping = (
        Market(list_symbols(4), seed=7, start_us=START_US, rate=1200, uncounted=share, keeps=("sequence",))
        for share in (0.0, 0.1)
    )
    for market in (plain, skipping):
        run(market, 2)
    symbols, sequences = kept_sequences(skipping)
    assert len(symbols) == skipping.store.total == plain.store.total
    for index, listing in enumerate(skipping.listings):
        counters, ours = (
            numbers[symbols == index] & 0xFFFFFFFF for symbols, numbers in map(kept_sequences, (plain, skipping))
        )
        if listing.market == HK:
            assert set(np.diff(counters).tolist()) == {1}
            assert 0.05 < np.mean(np.diff(ours) > 1) < 0.2
        else:
            assert counters.tolist() == ours.tolist()
        assert kept(plain.store, index, "price_milli") == kept(skipping.store, index, "price_milli")
    assert sequences.dtype == np.int64


def test_the_day_counter_of_hong_kong_starts_again(market: Market) -> None:
    run(market, 0.5)
    market.step(0.01, 24 * 3600.0, held(market))  # to the end of the morning, and on from phase to phase
    while local_second(HK, market.now_us) != 9.5 * 3600:
        market.step(0.0, 24 * 3600.0, held(market))
    counted = int(market.store.state.ticks[0])
    market.step(0.1, 0.1, held(market))
    assert market.store.state.ticks[0] > counted
    assert market.store.rings.sequence[0, counted] & 0xFFFFFFFF == 1


def test_nothing_trades_in_hong_kong_at_lunch_and_the_us_goes_on() -> None:
    market = Market(list_symbols(8), seed=1, start_us=START_US + 2 * HOUR_US, rate=1000, speed=3700.0)
    hk = np.array([listing.market == HK for listing in market.listings])
    traded, us_at_noon = {True: 0, False: 0}, 0
    while local_second(HK, market.now_us) < 13.5 * 3600:
        noon = 12 * 3600 <= local_second(HK, market.now_us) < 13 * 3600
        before = market.store.state.ticks.copy()
        market.step(0.01, 0.01, held(market))
        ticks = market.store.state.ticks - before
        traded[noon] += int(ticks[hk].sum())
        us_at_noon += int(ticks[~hk].sum()) if noon else 0
    assert us_at_noon > 0
    assert traded[True] == 0
    assert traded[False] > 0
    for symbol in np.flatnonzero(hk):
        for event_us in market.store.rings.event_us[symbol, : market.store.state.ticks[symbol]]:
            assert phase_at(HK, int(event_us)).session is TradingSession.REGULAR


@pytest.mark.parametrize("symbols", [2, 60])
def test_the_rate_is_kept_on_average(symbols: int) -> None:
    market = Market(list_symbols(symbols), seed=2, start_us=START_US, rate=5000)
    run(market, 20.0)
    assert market.store.total == pytest.approx(20 * 5000, rel=0.1)


def test_it_comes_in_bursts(market: Market) -> None:
    per_step = [market.step(0.1, 0.1, held(market)).ticks for _ in range(100)]
    assert max(per_step) > 2 * sorted(per_step)[50]


def test_a_trading_day_is_u_shaped() -> None:
    at = {hour: intensity(HK, START_US + int((hour - 9.5) * HOUR_US)) for hour in (9.5, 11, 12.5, 13.5, 15.99, 17)}
    assert at[9.5] > 2 * at[11]
    assert at[15.99] > 1.5 * at[13.5]
    assert at[12.5] == at[17] == 0


def test_only_held_symbols_trade_and_only_in_their_sessions(market: Market) -> None:
    wanted = held(market, TradingSession.REGULAR)  # the US trades overnight now
    wanted[0] = 0
    for _ in range(20):
        market.step(0.05, 0.05, wanted)
    hk = [listing.market == HK for listing in market.listings]
    traded = market.store.state.ticks > 0
    assert not traded[0]
    assert traded[1:].tolist() == hk[1:]


def test_a_limit_is_met_exactly() -> None:
    market = Market(list_symbols(8), seed=1, start_us=START_US, rate=10_000, ticks_max=1234)
    market.fill_cache(np.arange(8), EVERY_SESSION)
    assert market.store.total == 8 * CACHE_TICKS
    run(market, 1.0)
    assert market.store.total == 1234


def test_the_cache_is_dated_before_now_and_not_filled_twice(market: Market) -> None:
    market.step(5.0, 5.0, np.zeros(8, np.uint8))
    for _ in range(2):
        market.fill_cache(np.arange(4), EVERY_SESSION)
    assert market.store.state.ticks.tolist() == [CACHE_TICKS] * 4 + [0] * 4
    for symbol in range(4):
        assert max(kept(market.store, symbol, "event_us")) < market.now_us
    market.fill_cache(np.array([5]), TradingSession.REGULAR)
    last_us = kept(market.store, 5, "event_us")[-1]
    assert phase_at(US, last_us).session is TradingSession.REGULAR
    assert market.now_us - last_us < 5 * HOUR_US


def test_the_last_trading_stretch_is_found_from_any_hour() -> None:
    for hours in range(48):
        now_us = START_US + hours * HOUR_US
        for number, covered in ((HK, TradingSession.REGULAR), (US, TradingSession.REGULAR), (US, EVERY_SESSION)):
            start_us, stop_us = last_open_us(number, covered, now_us)
            assert start_us < stop_us <= now_us
            for inside_us in (start_us, stop_us - 1):
                session = phase_at(number, inside_us).session
                assert session is not None
                assert session & covered


def test_the_sum_of_all_ticks_is_the_checksum(market: Market) -> None:
    run(market, 0.5)
    rings, store = market.store.rings, market.store
    for symbol in range(8):
        used = slice(0, int(store.state.ticks[symbol]))
        price_milli, volume = rings.price_milli[symbol, used], rings.volume[symbol, used]
        mixed = mix_ticks(
            rings.sequence[symbol, used],
            price_milli / 1000,
            volume.astype(float),
            price_milli * volume / 1000,
            rings.direction[symbol, used],
            rings.event_us[symbol, used],
        )
        assert int(mixed.sum()) == int(store.checksum[symbol])
    assert store.total == store.state.ticks.sum()
