"""Whether one market trades just now, and when the last poll of its day is due.

The gateway's own word wins over the calendar both ways; where it says nothing the calendar counts.
No socket, no clock: `unix_s` is the wall's, as calendars are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest.market_hours import MarketHours, Part

_OPEN_STATES = frozenset({3, 5, 19, 30, 35, 36})
"""QotMarketState (docs/protocols/opend.md 3.2): Morning, Afternoon, HkCas, CLOSE_AUCTION, TRADE_AT_LAST,
TRADE_AUCTION. Capital flow counts regular hours only, so pre-market, after hours and overnight are closed."""
_BREAK_STATES = frozenset({4})

FINAL_AFTER_CALENDAR_S = 900.0
"""From the calendar's close to the last poll: Hong Kong's closing auction goes on for up to ten minutes."""
FINAL_AFTER_SEEN_S = 300.0
"""The same from when the gateway said that the market has closed."""
LOOK_EVERY_S = 5.0
"""The gateway's word may change any time."""
_GAP_S_MAX = 60.0
"""Not having looked for longer, as over a suspend, we know nothing of what the gateway said meanwhile."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look came to.

    Attributes
    ----------
    part : of the market's day
    final : the last line of the day is final now, which is said once a day
    look_at_s : when to look again at the latest
    """

    part: Part
    final: bool
    look_at_s: float


class MarketWatch:
    """One market, looked at again and again.

    Parameters
    ----------
    hours : None for a market without a calendar: open unless the gateway says otherwise
    state : what the gateway says, as QotMarketState; None while it says nothing
    since_s : a close whose last poll was due before this is none of ours
    """

    def __init__(self, hours: MarketHours | None, state: Callable[[], int | None], since_s: float) -> None:
        self._hours = hours
        self._state = state
        self._final_s = since_s
        self._looked_s = since_s
        self._was_trading = False
        self._said_closed_s: float | None = None
        self._seen_closing = False

    def look(self, unix_s: float) -> Seen:
        """The market as it is at `unix_s`."""
        if not 0 <= unix_s - self._looked_s <= _GAP_S_MAX:
            self._was_trading, self._said_closed_s = False, None
            self._final_s = min(self._final_s, unix_s)  # the clock may have been set back
        self._looked_s = unix_s
        said = self._said()
        until_s = float("inf")
        part = said
        if self._hours is not None:
            by_calendar, until_s = self._hours.part_at(unix_s)
            part = said or by_calendar
        if said is not Part.CLOSED:
            self._said_closed_s = None
        elif self._said_closed_s is None:
            self._said_closed_s, self._seen_closing = unix_s, self._was_trading
        part = part or Part.OPEN
        self._was_trading = part is not Part.CLOSED
        due_s = self._due_s(unix_s) if part is Part.CLOSED else None
        if due_s is not None and due_s <= self._final_s:
            due_s = None
        final = due_s is not None and due_s <= unix_s
        if final:
            self._final_s, due_s = unix_s, None
        return Seen(part, final, min(until_s, due_s or until_s, unix_s + LOOK_EVERY_S))

    def _said(self) -> Part | None:
        state = self._state()
        if not state:  # 0 is "none"
            return None
        if state in _OPEN_STATES:
            return Part.OPEN
        return Part.BREAK if state in _BREAK_STATES else Part.CLOSED

    def _due_s(self, unix_s: float) -> float | None:
        """When the last poll after the newest close is or was due."""
        dues_s = []
        if self._said_closed_s is not None and self._seen_closing:
            dues_s.append(self._said_closed_s + FINAL_AFTER_SEEN_S)
        close_s = self._hours.last_close_s(unix_s) if self._hours is not None else None
        # A close while the gateway went on saying "closed" is one that did not happen: a typhoon, a holiday.
        if close_s is not None and (self._said_closed_s is None or close_s <= self._said_closed_s):
            dues_s.append(close_s + FINAL_AFTER_CALENDAR_S)
        return max(dues_s, default=None)
