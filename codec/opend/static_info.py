"""OpenD's static information (3202) as rows of `symbols` (docs/protocols/opend.md 3.1, 3.2 and 3.11)."""

from __future__ import annotations

import datetime

from codec.markets import HK, HK_FUTURE, SH, SZ, US, symbol_name
from protos.opend import common_pb2, static_info_pb2

SECURITY_TYPES: dict[int, str] = {
    1: "bond",
    2: "basket_warrant",
    3: "stock",
    4: "fund",
    5: "warrant",
    6: "index",
    7: "plate",
    8: "option",
    9: "plate_set",
    10: "future",
    11: "forex",
    12: "crypto",
}
"""SecurityType; a number that is not listed, or 0, is `unknown`. `fund` is the wire's Trust, `option` its Drvt."""

EXCHANGES: dict[int, str] = {
    1: "hk_main_board",
    2: "hk_gem_board",
    3: "hk_hkex",
    4: "us_nyse",
    5: "us_nasdaq",
    6: "us_pink",
    7: "us_amex",
    8: "us_option",
    9: "us_nymex",
    10: "us_comex",
    11: "us_cbot",
    12: "us_cme",
    13: "us_cboe",
    14: "cn_sh",
    15: "cn_sz",
    16: "cn_stib",
    17: "sg_sgx",
    18: "jp_ose",
    19: "cc_crypto",
    20: "my_myx",
    21: "jp_tse",
    22: "jp_nikkei",
}
"""ExchType; a number that is not listed, or none, is `unknown`."""

_CURRENCIES = {HK: "HKD", HK_FUTURE: "HKD", US: "USD", SH: "CNY", SZ: "CNY"}
"""By market: OpenD does not say."""
_RENMINBI_COUNTER = "8"
_DIGITS = 5
_EPOCH = datetime.date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2299, 12, 31)


def symbol_row(info: static_info_pb2.SecurityStaticInfo, source: str, now_ns: int) -> dict[str, object]:
    """One security as a row of `symbols`."""
    basic = info.basic
    market, code = basic.security.market, basic.security.code
    return {
        "source": source,
        "symbol": symbol_name(market, code),
        "name": basic.name,
        "security_type": SECURITY_TYPES.get(basic.secType, "unknown"),
        "exchange": EXCHANGES.get(basic.exchType, "unknown"),
        "lot_size": basic.lotSize if basic.lotSize > 0 else None,
        "currency": _currency(market, code),
        "listed_on": _day(basic.listTime),
        "delisted": int(basic.delisting) if basic.HasField("delisting") else None,
        "updated_at": now_ns,
    }


def named_row(security: tuple[int, str], name: str, source: str, now_ns: int) -> dict[str, object]:
    """A row of `symbols` of which the name is all that was said."""
    market, code = security
    basic = static_info_pb2.SecurityStaticBasic(security=common_pb2.Security(market=market, code=code), name=name)
    return symbol_row(static_info_pb2.SecurityStaticInfo(basic=basic), source, now_ns)


def _currency(market: int, code: str) -> str:
    """What prices are in; empty where we cannot tell. Hong Kong's codes 80000 to 89999 trade in renminbi."""
    if market == HK and len(code) == _DIGITS and code.startswith(_RENMINBI_COUNTER):
        return "CNY"
    return _CURRENCIES.get(market, "")


def _day(text: str) -> int | None:
    """Days since 1970 of `yyyy-MM-dd`, negative before it.

    None for what is no date, for the 1970-01-01 that stands for none, and for what no store holds
    (ClickHouse's Date32 spans 1900 to 2299).
    """
    try:
        day = datetime.date.fromisoformat(text[:10])
    except ValueError:
        return None
    return (day - _EPOCH).days or None if _FIRST_DAY <= day <= _LAST_DAY else None
