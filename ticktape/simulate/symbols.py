"""The simulated exchange lists: real large companies first, then generated codes; no randomness.

Prices are in thousandths of the quote currency: every tick size of both markets is a multiple.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.markets import HK, US, symbol_name

HK_SPREADS_MILLI: tuple[tuple[int, int], ...] = (
    (250, 1),
    (500, 5),
    (20_000, 10),
    (50_000, 20),
    (100_000, 50),
    (200_000, 100),
    (500_000, 200),
    (1_000_000, 500),
    (2_000_000, 1_000),
    (5_000_000, 2_000),
    (10_000_000, 5_000),
)
"""(price below which, spread) of Part A of the Exchange's spread table since August 2025."""

US_TICK_MILLI = 10

EXCHANGE_HK_MAIN_BOARD, EXCHANGE_NYSE, EXCHANGE_NASDAQ = 1, 4, 5
"""ExchType (docs/protocols/opend.md 3.2)."""

SECURITY_TYPE_EQUITY = 3
"""SecurityType (docs/protocols/opend.md 3.2)."""

SYMBOLS_MAX = 20_000
"""Beyond this the generated codes of a market would leave their ranges."""

_HK_NAMED = (
    # code, name, typical price in thousandths, lot, listed
    ("00700", "TENCENT", 512_000, 100, "2004-06-16"),
    ("09988", "BABA-W", 128_000, 100, "2019-11-26"),
    ("03690", "MEITUAN-W", 122_000, 100, "2018-09-20"),
    ("01810", "XIAOMI-W", 52_000, 200, "2018-07-09"),
    ("00941", "CHINA MOBILE", 84_500, 500, "1997-10-23"),
    ("00005", "HSBC HOLDINGS", 98_000, 400, "1991-04-02"),
    ("01299", "AIA", 70_000, 200, "2010-10-29"),
    ("00388", "HKEX", 420_000, 100, "2000-06-27"),
    ("09618", "JD-SW", 131_000, 50, "2020-06-18"),
    ("01211", "BYD COMPANY", 106_000, 500, "2002-07-31"),
    ("02318", "PING AN", 52_500, 500, "2004-06-24"),
    ("00939", "CCB", 7_600, 1000, "2005-10-27"),
    ("01398", "ICBC", 6_020, 1000, "2006-10-27"),
    ("09888", "BIDU-SW", 86_000, 50, "2021-03-23"),
    ("02015", "LI AUTO-W", 96_000, 100, "2021-08-12"),
    ("00981", "SMIC", 48_000, 500, "2004-03-18"),
    ("02331", "LI NING", 16_200, 500, "2004-06-28"),
    ("00883", "CNOOC", 19_100, 1000, "2001-02-28"),
    ("00992", "LENOVO GROUP", 10_300, 2000, "1994-02-14"),
    ("01024", "KUAISHOU-W", 71_000, 100, "2021-02-05"),
)
_US_NAMED = (
    ("AAPL", "Apple", 213_500, EXCHANGE_NASDAQ, "1980-12-12"),
    ("NVDA", "NVIDIA", 172_300, EXCHANGE_NASDAQ, "1999-01-22"),
    ("TSLA", "Tesla", 325_800, EXCHANGE_NASDAQ, "2010-06-29"),
    ("MSFT", "Microsoft", 510_100, EXCHANGE_NASDAQ, "1986-03-13"),
    ("AMZN", "Amazon", 226_400, EXCHANGE_NASDAQ, "1997-05-15"),
    ("META", "Meta Platforms", 704_900, EXCHANGE_NASDAQ, "2012-05-18"),
    ("GOOGL", "Alphabet-A", 189_700, EXCHANGE_NASDAQ, "2004-08-19"),
    ("AMD", "Advanced Micro Devices", 158_200, EXCHANGE_NASDAQ, "1972-09-27"),
    ("BABA", "Alibaba", 118_600, EXCHANGE_NYSE, "2014-09-19"),
    ("FUTU", "Futu Holdings", 152_700, EXCHANGE_NASDAQ, "2019-03-08"),
    ("PLTR", "Palantir", 153_500, EXCHANGE_NASDAQ, "2020-09-30"),
    ("COIN", "Coinbase", 398_100, EXCHANGE_NASDAQ, "2021-04-14"),
    ("NFLX", "Netflix", 1_201_000, EXCHANGE_NASDAQ, "2002-05-23"),
    ("INTC", "Intel", 23_100, EXCHANGE_NASDAQ, "1971-10-13"),
    ("BRK.B", "Berkshire Hathaway-B", 474_600, EXCHANGE_NYSE, "1996-05-09"),
    ("JPM", "JPMorgan", 290_200, EXCHANGE_NYSE, "1969-03-05"),
    ("NIO", "NIO", 4_330, EXCHANGE_NYSE, "2018-09-12"),
    ("PDD", "PDD Holdings", 105_800, EXCHANGE_NASDAQ, "2018-07-26"),
    ("XOM", "Exxon Mobil", 112_900, EXCHANGE_NYSE, "1970-01-02"),
    ("DIS", "Disney", 121_400, EXCHANGE_NYSE, "1957-11-12"),
)
_LOTS = (100, 200, 500, 1000, 2000, 4000)


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol of the simulated market.

    Attributes
    ----------
    market, code : as on OpenD's wire
    base_milli : the price it wanders around, in thousandths, on its tick size
    lot_size : shares a board lot
    exchange : ExchType
    listed_on : YYYY-MM-DD
    with_millis : whether its time strings carry `.fff`; of HK symbols about half do, as seen in
        samples of different years
    """

    market: int
    code: str
    name: str
    base_milli: int
    lot_size: int
    exchange: int
    listed_on: str
    with_millis: bool

    @property
    def symbol(self) -> str:
        """`MARKET.CODE`."""
        return symbol_name(self.market, self.code)


def hk_spread_milli(price_milli: int) -> int:
    """The Exchange's tick size at a price, both in thousandths."""
    for below_milli, spread_milli in HK_SPREADS_MILLI:
        if price_milli < below_milli:
            return spread_milli
    return HK_SPREADS_MILLI[-1][1]


def list_symbols(count: int) -> tuple[Listing, ...]:
    """The first `count` symbols, HK and US in turn, the most traded first.

    Raises ValueError unless 1 <= count <= `SYMBOLS_MAX`.
    """
    if not 1 <= count <= SYMBOLS_MAX:
        raise ValueError(f"symbols must be 1 to {SYMBOLS_MAX}, not {count}")
    return tuple(_hk_listing(index // 2) if index % 2 == 0 else _us_listing(index // 2) for index in range(count))


def _scatter(index: int, modulus: int) -> int:
    """A fixed, even scatter of neighbouring numbers (Knuth's multiplicative hash)."""
    return (index * 2_654_435_761 >> 7) % modulus


def _hk_listing(rank: int) -> Listing:
    if rank < len(_HK_NAMED):
        code, name, base_milli, lot_size, listed_on = _HK_NAMED[rank]
    else:
        # 1xxxx codes are unused by the companies above: generated ones never collide.
        code, name = f"{10_000 + rank:05d}", f"HK COMPANY {rank}"
        base_milli, lot_size = 150 + _scatter(rank, 1 << 17), _LOTS[_scatter(rank, len(_LOTS))]
        listed_on = f"{2000 + _scatter(rank, 24)}-{1 + rank % 12:02d}-{1 + rank % 28:02d}"
    base_milli -= base_milli % hk_spread_milli(base_milli)
    return Listing(HK, code, name, base_milli, lot_size, EXCHANGE_HK_MAIN_BOARD, listed_on, with_millis=rank % 2 == 1)


def _us_listing(rank: int) -> Listing:
    if rank < len(_US_NAMED):
        code, name, base_milli, exchange, listed_on = _US_NAMED[rank]
    else:
        code, name = _us_code(rank), f"US Company {rank}"
        base_milli, exchange = 3_000 + _scatter(rank, 1 << 18), (EXCHANGE_NYSE, EXCHANGE_NASDAQ)[rank % 2]
        listed_on = f"{1990 + _scatter(rank, 34)}-{1 + rank % 12:02d}-{1 + rank % 28:02d}"
    base_milli -= base_milli % US_TICK_MILLI
    return Listing(US, code, name, base_milli, 1, exchange, listed_on, with_millis=True)


def _us_code(rank: int) -> str:
    """A five-letter code that no company above has: they have at most four letters, but GOOGL and BRK.B."""
    letters = ""
    for _ in range(4):
        rank, letter = divmod(rank, 26)
        letters = chr(ord("A") + letter) + letters
    return f"Z{letters}"
