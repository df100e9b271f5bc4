"""Quote rights of a login: which symbols it may have ticks of (docs/protocols/opend.md 2.4, 2.6, 3.2 and 4)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from google.protobuf.message import Message

from codec.markets import HK, HK_FUTURE, SH, SZ, US
from ingest.opend.requests import Security


class Right(enum.IntEnum):
    """QotRight."""

    UNKNOWN = 0
    BMP = 1
    LEVEL1 = 2
    LEVEL2 = 3
    SF = 4
    NONE = 5
    LEVEL3 = 6


class Kind(enum.Enum):
    """What one right is about, in words."""

    HK_STOCK = "Hong Kong stocks"
    HK_OPTION = "Hong Kong options"
    HK_FUTURE = "Hong Kong futures"
    US_STOCK = "US stocks"
    US_OPTION = "US options"
    SH_STOCK = "Shanghai stocks"
    SZ_STOCK = "Shenzhen stocks"


_FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.HK_STOCK: ("hkQotRight",),
    Kind.HK_OPTION: ("hkOptionQotRight",),
    Kind.HK_FUTURE: ("hkFutureQotRight",),
    Kind.US_STOCK: ("usQotRight",),
    Kind.US_OPTION: ("usOptionQotRight",),
    Kind.SH_STOCK: ("shQotRight", "cnQotRight"),
    Kind.SZ_STOCK: ("szQotRight", "cnQotRight"),
}
"""Fields of GetUserInfo and of Notify's QotRight, the one that wins first."""
assert set(_FIELDS) == set(Kind)

_TOO_LITTLE: dict[Kind, frozenset[int]] = {
    Kind.HK_STOCK: frozenset({Right.BMP, Right.NONE}),
    Kind.HK_OPTION: frozenset({Right.BMP, Right.LEVEL1, Right.NONE}),
    Kind.HK_FUTURE: frozenset({Right.BMP, Right.LEVEL1, Right.NONE}),
    Kind.US_STOCK: frozenset({Right.NONE}),
    Kind.US_OPTION: frozenset({Right.NONE}),
    Kind.SH_STOCK: frozenset({Right.NONE}),
    Kind.SZ_STOCK: frozenset({Right.NONE}),
}
"""Rights without ticks; about others the gateway is asked."""
assert set(_TOO_LITTLE) == set(Kind)

_OPTION_CODE = re.compile(r"[A-Z.]{1,6}[0-9]{6}[CP][0-9]+")
"""Underlying, expiry as YYMMDD, call or put, strike in thousandths: as in HK.TCH260130C500000, US.AAPL260116C200000."""

_KIND_OF_MARKET = {US: Kind.US_STOCK, SH: Kind.SH_STOCK, SZ: Kind.SZ_STOCK, HK_FUTURE: Kind.HK_FUTURE}


def kind_of(security: Security) -> Kind | None:
    """Which right the ticks of a symbol need; None where we know of none.

    OpenD lists Hong Kong's derivatives under the market of its stocks, whose codes are numbers.
    """
    market, code = security
    if market in (HK, US) and _OPTION_CODE.fullmatch(code):
        return Kind.HK_OPTION if market == HK else Kind.US_OPTION
    if market == HK:
        return Kind.HK_STOCK if code.isdigit() else Kind.HK_FUTURE
    return _KIND_OF_MARKET.get(market)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the login has of each kind; absent where the gateway does not say."""

    of_kind: dict[Kind, int] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message) -> Rights:
        """As GetUserInfo's S2C or Notify's QotRight has them."""
        rights = {}
        for kind, names in _FIELDS.items():
            name = next((name for name in names if message.HasField(name)), None)
            if name is not None:
                rights[kind] = int(getattr(message, name))
        return cls(rights)

    @property
    def without_ticks(self) -> frozenset[Kind]:
        """Kinds whose symbols have no ticks under this login."""
        return frozenset(kind for kind, right in self.of_kind.items() if right in _TOO_LITTLE[kind])

    def why_not(self, security: Security) -> str | None:
        """Why the login has no ticks of a symbol; None when it has, or when only the gateway can tell."""
        kind = kind_of(security)
        if kind is None or kind not in self.without_ticks:
            return None
        right = self.of_kind[kind]
        if right == Right.NONE:
            return f"the login has no quote right for {kind.value}: buy or renew it, or take these symbols away"
        return f"{kind.value} have no ticks under {_words(right)}: the login needs {_needed(kind)}"


def _words(right: int) -> str:
    return {Right.BMP: "BMP", Right.LEVEL1: "LV1"}.get(Right(right), Right(right).name)


def _needed(kind: Kind) -> str:
    return "LV1 or more" if kind is Kind.HK_STOCK else "LV2"
