"""One capital-flow line: its values checked and written to a row.

Whatever the bytes were (the template, the general walk, a JSON body), a line's values come here.
"""

from __future__ import annotations

import numpy as np

from codec.bits import put
from codec.clock import DAY_S, READS_TEXT, ZONE, to_local_s, to_utc_s
from codec.flow_columns import (
    FLOW_GATEWAY_ID,
    FLOW_SYMBOL_ID,
    FLOW_TRADE_DATE,
    FLOW_TS_EVENT_US,
    FLOW_TS_RECV_NS,
    INTRADAY,
    LARGE,
    MAIN,
    MEDIUM,
    NET,
    PERIOD_CODE,
    SMALL,
    SUPER,
)
from codec.kernel import inlined, kernel
from codec.opend.notes import (
    FIELD_MISSING,
    INFLOW_NOT_FINITE,
    NO_REASON,
    TIME_DISAGREEMENTS,
    TIME_UNREADABLE,
    TIMESTAMP_UNREADABLE,
)
from codec.opend.text_time import (
    DATE_BYTES,
    MILLISECOND_BYTES,
    SECOND_BYTES,
    SECOND_US,
    UNREADABLE,
    place_in_time,
    read_date,
    read_minute,
    step_within_hour,
    unix_us,
    within_minute_us,
)

# Bits of `sent`: bit n says that field n of CapitalFlowItem was there.
NET_SENT, MAIN_SENT, SUPER_SENT, LARGE_SENT, MEDIUM_SENT, SMALL_SENT = (1 << field for field in (1, 4, 5, 6, 7, 8))


@kernel
def _day_of(
    source, time_at, time_bytes, reads_text, stamp, market, counters, markets, changes, cached_changes, us_days, minutes
):  # fmt: skip
    """The local date of a line that spans a day or more: (reason, days from the epoch).

    The text may be a date alone, or a date and a time, of which only the date counts. A timestamp
    on another date wins and is counted, unless it is within a second of that date's midnight.
    """
    stamp_us, stamp_day, zone = np.int64(UNREADABLE), np.int64(0), np.int64(-1)
    if market >= 0:
        zone = np.int64(markets[market, ZONE])
    if stamp != 0.0:
        stamp_us = unix_us(stamp)
        if stamp_us == UNREADABLE:
            return TIMESTAMP_UNREADABLE, np.int64(0)
        stamp_day = to_local_s(stamp_us // SECOND_US, zone, changes, cached_changes) // DAY_S
    if not reads_text:
        return (TIMESTAMP_UNREADABLE if stamp_us == UNREADABLE else NO_REASON), stamp_day
    if time_bytes != DATE_BYTES and time_bytes != SECOND_BYTES and time_bytes != MILLISECOND_BYTES:
        return TIME_UNREADABLE, np.int64(0)
    day = read_date(source, time_at)
    if day == UNREADABLE:
        return TIME_UNREADABLE, np.int64(0)
    if time_bytes != DATE_BYTES and (
        not read_minute(source, time_at, market, markets, changes, cached_changes, us_days, minutes)
        or within_minute_us(source, time_at, time_bytes) == UNREADABLE
    ):
        return TIME_UNREADABLE, np.int64(0)
    if stamp_us != UNREADABLE and stamp_day != day:
        midnight_us = to_utc_s(day * DAY_S, zone, False, changes, cached_changes) * SECOND_US
        if abs(midnight_us - stamp_us) > SECOND_US:
            counters[TIME_DISAGREEMENTS] += 1
            day = stamp_day
    return NO_REASON, day


@inlined
def put_line(
    source, time_at, time_bytes, stamp, net, main, super_, large, medium, small_orders, sent, market, period, symbol,
    recv_ns, gateway, row, wide, real, narrow, small, counters, markets, changes, cached_changes, us_days, minutes,
):  # fmt: skip
    """Check one line's values and write them to `row`; returns NO_REASON, or why the line is refused.

    Amounts that were not sent are 0.0; `time_bytes` 0 and `stamp` 0.0 stand for an absent text and
    timestamp.
    """
    if not sent & NET_SENT:
        return FIELD_MISSING
    reads_text = time_bytes > 0 and market >= 0 and markets[market, READS_TEXT] == 1
    if period == INTRADAY:
        if reads_text:
            step_within_hour(source, time_at, market, minutes)
        reason, event_us, trade_day, _ = place_in_time(
            source, time_at, time_bytes, reads_text, stamp, market, counters, markets, changes, cached_changes,
            us_days, minutes,
        )  # fmt: skip
        if reason != NO_REASON:
            return reason
    else:
        reason, trade_day = _day_of(
            source, time_at, time_bytes, reads_text, stamp, market, counters, markets, changes, cached_changes,
            us_days, minutes,
        )  # fmt: skip
        if reason != NO_REASON:
            return reason
        event_us = trade_day * DAY_S * SECOND_US
        if market >= 0:
            zone = np.int64(markets[market, ZONE])
            event_us = to_utc_s(trade_day * DAY_S, zone, False, changes, cached_changes) * SECOND_US
    if not (np.isfinite(net) and np.isfinite(main) and np.isfinite(super_)):
        return INFLOW_NOT_FINITE
    if not (np.isfinite(large) and np.isfinite(medium) and np.isfinite(small_orders)):
        return INFLOW_NOT_FINITE
    put(wide, FLOW_TS_EVENT_US, row, event_us)
    put(wide, FLOW_TS_RECV_NS, row, recv_ns)
    put(real, NET, row, net)
    put(real, MAIN, row, main if sent & MAIN_SENT else np.nan)
    put(real, SUPER, row, super_ if sent & SUPER_SENT else np.nan)
    put(real, LARGE, row, large if sent & LARGE_SENT else np.nan)
    put(real, MEDIUM, row, medium if sent & MEDIUM_SENT else np.nan)
    put(real, SMALL, row, small_orders if sent & SMALL_SENT else np.nan)
    put(narrow, FLOW_SYMBOL_ID, row, symbol)
    put(narrow, FLOW_TRADE_DATE, row, trade_day)
    put(small, PERIOD_CODE, row, period)
    put(small, FLOW_GATEWAY_ID, row, gateway)
    return NO_REASON
