"""OpenD's time strings: `yyyy-MM-dd HH:mm:ss`, with `.fff` or `:fff` or neither.

Ticks come in runs of one minute, so the first 16 bytes (`yyyy-MM-dd HH:mm`) are compared with the
market's last ones; when they are equal only seconds and milliseconds are read. Offset, trading day
and session cannot change within a minute and are kept with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import load_u64, nearest, stay_apart
from codec.clock import (
    DAY_S,
    MARKET_NUMBERS_MAX,
    READS_TEXT,
    SESSION_RULE,
    UTC_S_MAX,
    UTC_S_MIN,
    ZONE,
    MarketClock,
    days_from_civil,
    days_in_month,
    to_local_s,
    to_utc_s,
    trade_day_and_session,
)
from codec.kernel import inlined, kernel
from codec.opend.notes import NO_REASON, TIME_DISAGREEMENTS, TIME_UNREADABLE, TIMESTAMP_UNREADABLE

# Columns of a minute cache, one row a market number, int64.
MINUTE_LOW, MINUTE_HIGH, MINUTE_UTC_US, MINUTE_TRADE_DAY, MINUTE_SESSION, MINUTE_OTHER_US = range(6)

UNREADABLE = -1

DATE_BYTES, MINUTE_BYTES, SECOND_BYTES, MILLISECOND_BYTES = 10, 16, 19, 23

SECOND_US = 1_000_000

# ":ss.fff" as a word; see within_minute_us.
_BYTE = np.uint64(0xFF)
_TO_THE_HOUR = np.uint64(0x0000_FFFF_FFFF_FFFF)
"""Of the second eight bytes of a minute's text, what comes before its last two digits."""
_SECOND_TEXT, _MILLISECOND_TEXT = np.uint64(0x00FF_FFFF), np.uint64(0x00FF_FFFF_FFFF_FFFF)
_NO_FRACTION = np.uint64(int.from_bytes(b"\0\0\0.000", "little"))
_ZEROS = np.uint64(int.from_bytes(b":00.000", "little"))
_FIXED_TEXT = np.uint64(int.from_bytes(b"\xff\0\0\xeb", "little"))
_SEPARATOR_BIT = np.uint64(0x1000_0000)
"""Of the separator's byte; set when 2 bits lower is: 0x14 stands for a colon, 0x10 and 4 for nothing."""
_ABOVE_DIGITS = np.uint64(int.from_bytes(b"\0\x7a\x76\0\x76\x76\x76", "little"))
"""Makes the sign bit of each byte that is more than its place allows: 5 for tens of seconds, 9 elsewhere."""
_DIGIT_SIGNS = np.uint64(int.from_bytes(b"\0\x80\x80\0\x80\x80\x80", "little"))


@inlined
def _two_digits(source: NDArray[np.uint8], at: int) -> int:
    """The number at source[at:at+2], or a large negative one unless both are digits."""
    high, low = np.int64(source[at]) - 48, np.int64(source[at + 1]) - 48
    return high * 10 + low if 0 <= high <= 9 and 0 <= low <= 9 else np.int64(-10_000)


@kernel
def read_date(source: NDArray[np.uint8], at: int) -> int:
    """Days from the epoch to the date `yyyy-MM-dd` at `at`, or UNREADABLE."""
    if source[at + 4] != 45 or source[at + 7] != 45:
        return np.int64(UNREADABLE)
    year = _two_digits(source, at) * 100 + _two_digits(source, at + 2)
    month, day = _two_digits(source, at + 5), _two_digits(source, at + 8)
    if year < 1990 or year > 2099 or month < 1 or month > 12 or day < 1 or day > days_in_month(year, month):
        return np.int64(UNREADABLE)
    return days_from_civil(year, month, day)


@kernel
def read_minute(
    source: NDArray[np.uint8],
    at: int,
    market: int,
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    minutes: NDArray[np.int64],
) -> bool:
    """Read `yyyy-MM-dd HH:mm` at `at` into the market's row of `minutes`; False when it is no time."""
    stay_apart()
    day = read_date(source, at)
    if day == UNREADABLE or source[at + 10] != 32 or source[at + 13] != 58:
        return False
    hour, minute = _two_digits(source, at + 11), _two_digits(source, at + 14)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return False
    local_s = day * DAY_S + hour * 3600 + minute * 60
    zone = np.int64(markets[market, ZONE])
    utc_s = to_utc_s(local_s, zone, False, changes, cached_changes)
    other_s = to_utc_s(local_s, zone, True, changes, cached_changes)
    trade_day, session = trade_day_and_session(local_s, np.int64(markets[market, SESSION_RULE]), us_days)
    minutes[market, MINUTE_LOW] = np.int64(load_u64(source, at))
    minutes[market, MINUTE_HIGH] = np.int64(load_u64(source, at + 8))
    minutes[market, MINUTE_UTC_US] = utc_s * 1_000_000
    minutes[market, MINUTE_TRADE_DAY] = trade_day
    minutes[market, MINUTE_SESSION] = session
    minutes[market, MINUTE_OTHER_US] = other_s * 1_000_000
    return True


@inlined
def step_within_hour(source: NDArray[np.uint8], at: int, market: int, minutes: NDArray[np.int64]) -> None:
    """Move the market's row of `minutes` to the minute of the text at `at`, if it is of the same hour.

    Lines of capital flow come a minute apart, so that `read_minute` would be called for each. Offset and trading
    day do not change within an hour, in any zone we read since 1990; the session may, and is left as it was:
    for callers that want none.
    """
    word = load_u64(source, at + 8)
    before = np.uint64(minutes[market, MINUTE_HIGH])
    if np.int64(load_u64(source, at)) != minutes[market, MINUTE_LOW] or (word ^ before) & _TO_THE_HOUR != np.uint64(0):
        return
    tens, units = np.int64(word >> np.uint64(48) & _BYTE) - 48, np.int64(word >> np.uint64(56)) - 48
    if 0 <= tens <= 5 and 0 <= units <= 9:
        tens_before = np.int64(before >> np.uint64(48) & _BYTE) - 48
        units_before = np.int64(before >> np.uint64(56)) - 48
        step_us = ((tens - tens_before) * 10 + units - units_before) * 60 * SECOND_US
        minutes[market, MINUTE_HIGH] = np.int64(word)
        minutes[market, MINUTE_UTC_US] += step_us
        minutes[market, MINUTE_OTHER_US] += step_us


def new_minute_cache(clock: MarketClock) -> NDArray[np.int64]:
    """(MARKET_NUMBERS_MAX, 6) int64: the last minute read of each market.

    It begins with a true minute: a text may hold any 16 bytes, so none can stand for "nothing yet".
    """
    minutes = np.zeros((MARKET_NUMBERS_MAX, 6), np.int64)
    text = np.frombuffer(bytearray(b"2000-01-01 00:00"), np.uint8)
    for market in np.flatnonzero(clock.markets[:, READS_TEXT]).tolist():
        read_minute(text, 0, market, clock.markets, clock.changes, clock.cached, clock.us_days, minutes)
    return minutes


@inlined
def within_minute_us(source: NDArray[np.uint8], at: int, size: int) -> int:
    """Microseconds past the minute of the text at `at`, SECOND_BYTES or MILLISECOND_BYTES long, or UNREADABLE.

    Without a branch: markets write times of either length, and which comes next cannot be foreseen.
    """
    word = load_u64(source, at + MINUTE_BYTES)  # ":ss.fff" and a byte more
    word = word & _MILLISECOND_TEXT if size == MILLISECOND_BYTES else (word & _SECOND_TEXT) | _NO_FRACTION
    digits = word ^ _ZEROS  # each byte the digit's value; 0 where a colon must be; 0 or 0x14 for the separator
    bad = (
        (digits & _FIXED_TEXT)
        | ((digits ^ (digits << np.uint64(2))) & _SEPARATOR_BIT)
        | (((digits + _ABOVE_DIGITS) | digits) & _DIGIT_SIGNS)
    )
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8))  # each byte's digit and the one behind it
    past_us = (
        np.int64((pairs >> np.uint64(8)) & _BYTE) * SECOND_US
        + np.int64((pairs >> np.uint64(32)) & _BYTE) * 10_000
        + np.int64((digits >> np.uint64(48)) & _BYTE) * 1000
    )
    return past_us if bad == np.uint64(0) else np.int64(UNREADABLE)


@inlined
def nearest_second(seconds: float) -> tuple[int, int]:
    """A unix time as the nearest second and the µs from there, -500,000 to 500,000; outside 1990–2100 and
    for NaN any numbers. What is exact in the double is exact here: µs are rounded once, half to even."""
    second = nearest(seconds)
    return second, nearest((seconds - np.float64(second)) * 1e6)


@inlined
def unix_us(seconds: float) -> int:
    """Microseconds of a unix time as a double, or UNREADABLE outside 1990–2100 and for NaN."""
    if not (UTC_S_MIN <= seconds < UTC_S_MAX):
        return np.int64(UNREADABLE)
    second, us = nearest_second(seconds)
    return second * SECOND_US + us


@kernel
def day_and_session_at(
    utc_us: int,
    market: int,
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
) -> tuple[int, int]:
    """Trading day and session of an instant; -1 for `market` is one that we don't know: UTC days."""
    stay_apart()
    if market < 0:
        return utc_us // (DAY_S * 1_000_000), 0
    local_s = to_local_s(utc_us // 1_000_000, np.int64(markets[market, ZONE]), changes, cached_changes)
    return trade_day_and_session(local_s, np.int64(markets[market, SESSION_RULE]), us_days)


@inlined
def place_in_time(
    source: NDArray[np.uint8],
    time_at: int,
    time_bytes: int,
    reads_text: bool,
    stamp: float,
    market: int,
    counters: NDArray[np.int64],
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    minutes: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """When something happened, by its text and its timestamp (contract.md, Bad input).

    Parameters
    ----------
    time_at, time_bytes : span of the text in `source`
    reads_text : False to go by the timestamp alone
    stamp : unix seconds; 0.0 stands for none
    market : number that the clock knows, or -1: UTC days
    counters : (COUNTERS,) int64, added to where text and timestamp differ by over 1 s

    Returns
    -------
    reason : NO_REASON, TIME_UNREADABLE or TIMESTAMP_UNREADABLE
    event_us, trade_day, session : unix µs, days from the epoch, session code
    """
    stamp_us = np.int64(UNREADABLE)
    if stamp != 0.0:
        stamp_us = unix_us(stamp)
        if stamp_us == UNREADABLE:
            return TIMESTAMP_UNREADABLE, np.int64(0), np.int64(0), np.int64(0)
    if not reads_text:
        if stamp_us == UNREADABLE:
            return TIMESTAMP_UNREADABLE, np.int64(0), np.int64(0), np.int64(0)
        trade_day, session = day_and_session_at(stamp_us, market, markets, changes, cached_changes, us_days)
        return NO_REASON, stamp_us, trade_day, session
    if time_bytes != SECOND_BYTES and time_bytes != MILLISECOND_BYTES:
        return TIME_UNREADABLE, np.int64(0), np.int64(0), np.int64(0)
    if (
        np.int64(load_u64(source, time_at)) != minutes[market, MINUTE_LOW]
        or np.int64(load_u64(source, time_at + 8)) != minutes[market, MINUTE_HIGH]
    ) and not read_minute(source, time_at, market, markets, changes, cached_changes, us_days, minutes):
        return TIME_UNREADABLE, np.int64(0), np.int64(0), np.int64(0)
    past_us = within_minute_us(source, time_at, time_bytes)
    if past_us == UNREADABLE:
        return TIME_UNREADABLE, np.int64(0), np.int64(0), np.int64(0)
    minute_us = minutes[market, MINUTE_UTC_US]
    event_us = minute_us + past_us
    trade_day, session = minutes[market, MINUTE_TRADE_DAY], minutes[market, MINUTE_SESSION]
    if stamp_us != UNREADABLE:
        if abs(event_us - stamp_us) > SECOND_US:
            event_us = minutes[market, MINUTE_OTHER_US] + past_us
        if abs(event_us - stamp_us) > SECOND_US:
            counters[TIME_DISAGREEMENTS] += 1
            event_us = stamp_us
        elif stamp_us % SECOND_US != 0:
            event_us = stamp_us
        if event_us < minute_us or event_us >= minute_us + 60 * SECOND_US:
            trade_day, session = day_and_session_at(event_us, market, markets, changes, cached_changes, us_days)
    return NO_REASON, event_us, trade_day, session


@kernel
def call_place_in_time(
    source: NDArray[np.uint8],
    time_at: int,
    time_bytes: int,
    reads_text: bool,
    stamp: float,
    market: int,
    counters: NDArray[np.int64],
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    minutes: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """`place_in_time` by a call, for what comes one at a time."""
    return place_in_time(
        source, time_at, time_bytes, reads_text, stamp, market, counters, markets, changes, cached_changes,
        us_days, minutes,
    )  # fmt: skip
