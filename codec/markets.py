"""Markets and symbols: `MARKET.CODE` here, (market number, code) on OpenD's wire.

Numbers and prefixes: docs/protocols/opend.md 3.2 (QotMarket).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codec.errors import TicktapeError

HK, HK_FUTURE, US, SH, SZ = 1, 2, 11, 21, 22

Security = tuple[int, str]
"""(market number, code on OpenD's wire)."""

MARKET_PREFIXES: dict[int, str] = {
    HK: "HK",
    HK_FUTURE: "HK_FUTURE",
    US: "US",
    SH: "SH",
    SZ: "SZ",
    31: "SG",
    41: "JP",
    51: "AU",
    61: "MY",
    71: "CA",
    81: "FX",
    91: "CC",
    101: "EC",
}
_MARKET_NUMBERS = {prefix: number for number, prefix in MARKET_PREFIXES.items()}

CODE_BYTES_MAX = 64
"""Longer than any option code; a longer one on the wire makes its frame undecodable."""

_HK_CODE_DIGITS = 5


@dataclass(frozen=True, slots=True)
class MarketTime:
    """How a market's times are read.

    Attributes
    ----------
    zone : IANA name, for the trading day
    reads_text : whether the gateway's zone-less strings are known to be in `zone`; elsewhere only
        `timestamp` is believed
    """

    zone: str
    reads_text: bool


MARKET_TIMES: dict[int, MarketTime] = {
    HK: MarketTime("Asia/Hong_Kong", reads_text=True),
    HK_FUTURE: MarketTime("Asia/Hong_Kong", reads_text=False),
    US: MarketTime("America/New_York", reads_text=True),
    SH: MarketTime("Asia/Shanghai", reads_text=True),
    SZ: MarketTime("Asia/Shanghai", reads_text=True),
    31: MarketTime("Asia/Singapore", reads_text=False),
    41: MarketTime("Asia/Tokyo", reads_text=False),
    51: MarketTime("Australia/Sydney", reads_text=False),
    61: MarketTime("Asia/Kuala_Lumpur", reads_text=False),
    71: MarketTime("America/Toronto", reads_text=False),
    81: MarketTime("UTC", reads_text=False),
    91: MarketTime("UTC", reads_text=False),
    101: MarketTime("America/New_York", reads_text=False),
}


class BadSymbol(TicktapeError):
    """A text that names no symbol."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text!r} is not a symbol: {why}; write MARKET.CODE as in HK.00700 or US.AAPL")
        self.text = text


def symbol_name(market: int, code: str) -> str:
    """`MARKET.CODE` of a security on the wire; an unlisted market becomes `MARKET<n>`."""
    if market == HK and code.isdigit():
        code = code.zfill(_HK_CODE_DIGITS)
    return f"{MARKET_PREFIXES.get(market, f'MARKET{market}')}.{code}"


def parse_symbol(text: str) -> tuple[int, str]:
    """Read `HK.00700`, `700.HK`, `US..DJI` or `BRK.B.US` into (market number, code on OpenD's wire).

    The market may stand on either side; in front wins where both sides name one.

    Raises
    ------
    BadSymbol
        There is no market, no code, or the code holds spaces or is longer than `CODE_BYTES_MAX`.
    """
    text = text.strip()
    head, dot, tail = text.partition(".")
    if not dot:
        raise BadSymbol(text, "it names no market")
    market, code = _market_number(head), tail
    if market is None:
        head, _, tail = text.rpartition(".")
        market, code = _market_number(tail), head
    if market is None:
        raise BadSymbol(text, f"no market is called that (there are {', '.join(_MARKET_NUMBERS)})")
    if not code or not code.isascii() or not code.isprintable() or " " in code or len(code) > CODE_BYTES_MAX:
        raise BadSymbol(text, f"its code must be 1 to {CODE_BYTES_MAX} printable ASCII characters")
    if market == HK and code.isdigit():
        code = code.zfill(_HK_CODE_DIGITS)
    return market, code


def _market_number(word: str) -> int | None:
    """The market that `word` names: a listed prefix, or `MARKET<n>` as `symbol_name` writes the others."""
    unlisted = re.fullmatch("MARKET(-?[0-9]{1,10})", word)
    if unlisted is None:
        return _MARKET_NUMBERS.get(word.upper())
    number = int(unlisted[1])
    return number if -(2**31) <= number < 2**31 else None  # an int32 on the wire


def normalize_symbol(text: str) -> str:
    """The one spelling that we write: `MARKET.CODE`. Raises BadSymbol as `parse_symbol` does."""
    return symbol_name(*parse_symbol(text))
