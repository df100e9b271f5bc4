"""One entry of the capital-flow list: checked, placed in time, its numbers as doubles.

docs/protocols/capital-flow-list.md, "What a tolerant decoder must do", second table.
"""

from __future__ import annotations

import datetime
import enum
import math
import re
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

from codec.clock import UTC_S_MAX, UTC_S_MIN, MarketClock
from codec.markets import MARKET_PREFIXES, MARKET_TIMES, BadSymbol, parse_symbol, symbol_name
from codec.opend.text_time import day_and_session_at
from codec.tables import CAPITAL_FLOW_SUMMARY, Kind

NUMBERS = tuple(column.name for column in CAPITAL_FLOW_SUMMARY if column.kind is Kind.FLOAT64)
"""The twelve amounts and ratios: named alike in the list and in the table."""

_RATIO_SUFFIX = "_ratio"
_TEXT_CHARACTERS_MAX = 64
_NUMBER_TEXT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE_TEXT = re.compile(r"[+-]?[0-9]+")
_PLACEHOLDERS = frozenset({"", "-", "--", "N/A"})
_EXACT_MAX, _INTEGER_MAX = 1 << 53, 1 << 63

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ?(?:(Z)|([+-])(\d\d):?(\d\d)))?", re.ASCII
)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)

_ZONES = {
    MARKET_PREFIXES[number]: (number, ZoneInfo(times.zone))
    for number, times in MARKET_TIMES.items()
    if times.reads_text
}
"""Prefixes whose zone-less times can be placed, with their market number."""


class Notice(enum.Enum):
    """What is counted and costs nothing."""

    UNKNOWN_KEY = "a name that the page does not list, once each"
    REPEATED_KEY = "a name twice in one object: the last counts"
    CODE_SPELLING = "a code with spaces around it or in lower case"
    NOT_ASKED_FOR = "an entry about another symbol"
    MISSING = "a symbol that was asked for and has no entry"
    CLOCK_CHANGE = "a local time that the clocks skip or show twice"
    IN_THE_FUTURE = "a time ahead of our clock"
    NUMBER_AS_TEXT = "a number in quotes"
    PLACEHOLDER = "an empty text or a dash for a number"
    INEXACT = "an integer of 2**53 or more"
    LARGE_RATIO = "a ratio beyond 1: perhaps a percentage"
    REPLACED = "a later entry of the same symbol and time, with other values"


class Repeating(dict[str, Any]):
    """A JSON object that remembers how many names occurred again."""

    repeats: int

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> Repeating:
        made = cls(pairs)
        made.repeats = len(pairs) - len(made)
        return made


class DeadEntry(Exception):
    """An entry that cannot be a row; the message says why."""


def read_entry(entry: object, clock: MarketClock, notices: Counter[Notice]) -> dict[str, object]:
    """symbol, trade_date (days from the epoch), ts_event (unix µs) and the twelve numbers of an entry.

    Raises
    ------
    DeadEntry
    """
    if not isinstance(entry, dict):
        raise DeadEntry("it is no object")
    # What a refused entry would have been noticed for does not count.
    noticed: Counter[Notice] = Counter()
    market, symbol, zone = _read_code(entry.get("code"), noticed)
    event_us = _read_time(entry.get("update_time"), zone, noticed)
    day, _ = day_and_session_at(event_us, market, clock.markets, clock.changes, clock.cached, clock.us_days)
    numbers = {name: _read_number(name, entry.get(name), noticed) for name in NUMBERS}
    if all(value is None for value in numbers.values()):
        raise DeadEntry("it has no number at all")
    notices.update(noticed)
    return {"symbol": symbol, "trade_date": int(day), "ts_event": event_us, **numbers}


def _read_code(code: object, noticed: Counter[Notice]) -> tuple[int, str, ZoneInfo]:
    """Market number, `MARKET.CODE` and zone. The code's case is kept; the market's name has one spelling."""
    if not isinstance(code, str) or len(code) > 2 * _TEXT_CHARACTERS_MAX:
        raise DeadEntry("code is missing, no text, or too long")
    trimmed = code.strip(" ")
    prefix, _, rest = trimmed.partition(".")
    if not prefix or not rest:
        raise DeadEntry(f"code {_shown(code)} is not MARKET.CODE")
    if prefix.upper() not in _ZONES:
        raise DeadEntry(f"code {_shown(code)}: no zone is known for its market")
    try:
        symbol = symbol_name(*parse_symbol(trimmed))
    except BadSymbol as error:
        raise DeadEntry(str(error)) from None
    noticed[Notice.CODE_SPELLING] += trimmed != code or trimmed != trimmed.upper()
    market, zone = _ZONES[prefix.upper()]
    return market, symbol, zone


def _read_time(text: object, zone: ZoneInfo, noticed: Counter[Notice]) -> int:
    """Unix µs of an update_time; an offset of its own wins over the market's zone."""
    if not isinstance(text, str) or len(text) > _TEXT_CHARACTERS_MAX:
        raise DeadEntry("update_time is missing, no text, or too long")
    match = _TIME.fullmatch(text.strip(" "))
    if match is None:
        raise DeadEntry(f"update_time {_shown(text)} is not yyyy-MM-dd HH:mm:ss")
    fraction = int((match[7] or "").ljust(6, "0")[:6])
    try:
        year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
        local = datetime.datetime(year, month, day, hour, minute, second, fraction)  # noqa: DTZ001 - a zone follows
    except ValueError as error:
        raise DeadEntry(f"update_time {_shown(text)}: {error}") from None
    if match[8]:
        placed = local.replace(tzinfo=datetime.UTC)
    elif match[9]:
        offset = datetime.timedelta(hours=int(match[10]), minutes=int(match[11]))
        if offset >= datetime.timedelta(hours=24) or int(match[11]) > 59:
            raise DeadEntry(f"update_time {_shown(text)}: no such offset")
        placed = local.replace(tzinfo=datetime.timezone(offset if match[9] == "+" else -offset))
    else:
        placed = local.replace(tzinfo=zone)
        noticed[Notice.CLOCK_CHANGE] += placed.utcoffset() != placed.replace(fold=1).utcoffset()
    event_us = (placed - _EPOCH) // _MICROSECOND
    if not UTC_S_MIN * 1_000_000 <= event_us < UTC_S_MAX * 1_000_000:
        raise DeadEntry(f"update_time {_shown(text)} is not between 1990 and 2100")
    return event_us


def _read_number(name: str, value: object, noticed: Counter[Notice]) -> float | None:
    """An amount or ratio as the nearest double; None where none was given."""
    if isinstance(value, str):
        text = value.strip(" ")
        if text in _PLACEHOLDERS:
            noticed[Notice.PLACEHOLDER] += 1
            return None
        if len(text) > _TEXT_CHARACTERS_MAX or not _NUMBER_TEXT.fullmatch(text):
            raise DeadEntry(f"{name} is {_shown(value)}: no number")
        noticed[Notice.NUMBER_AS_TEXT] += 1
        value = int(text) if _WHOLE_TEXT.fullmatch(text) else float(text)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DeadEntry(f"{name} is {_shown(value)}: no number")
    if isinstance(value, int):
        if abs(value) >= _INTEGER_MAX:
            raise DeadEntry(f"{name} is {_shown(value)}: past 64 bits")
        noticed[Notice.INEXACT] += abs(value) >= _EXACT_MAX
    number = float(value)
    if not math.isfinite(number):
        raise DeadEntry(f"{name} is {number}")
    if name.endswith(_RATIO_SUFFIX):
        noticed[Notice.LARGE_RATIO] += abs(number) > 1
    return number + 0.0  # -0.0 becomes 0.0


def _shown(value: object) -> str:
    """A value for a person: its beginning, if it is long."""
    text = ascii(value) if not isinstance(value, dict | list) else "an object" if isinstance(value, dict) else "a list"
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[:_TEXT_CHARACTERS_MAX] + "…"
