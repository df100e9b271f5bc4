"""What the exchanges' calendars say, in the form that kernels read."""

from __future__ import annotations

import exchange_calendars
import numpy as np

from codec.clock import DAY_FIRST, DAY_LAST, UsDays

_NEW_YORK = "XNYS"


def us_days() -> UsDays:
    """New York's trading days and early closes; weekdays until 16:00 where the calendar ends."""
    calendar = exchange_calendars.get_calendar(_NEW_YORK)
    days = np.arange(DAY_FIRST, DAY_LAST)
    closes_s = np.where((days + 3) % 7 < 5, 16 * 3600, 0)  # 1970-01-01 was a Thursday
    known_first = calendar.first_session.toordinal() - _EPOCH_ORDINAL
    known_last = calendar.last_session.toordinal() - _EPOCH_ORDINAL
    closes_s[(days >= known_first) & (days <= known_last)] = 0
    local = calendar.closes.dt.tz_convert(calendar.tz)
    sessions = np.array([day.toordinal() for day in local.index]) - _EPOCH_ORDINAL
    closes_s[sessions - DAY_FIRST] = (local.dt.hour * 3600 + local.dt.minute * 60).to_numpy()
    return UsDays.from_closes(closes_s)


_EPOCH_ORDINAL = 719163
"""date(1970, 1, 1).toordinal()"""
