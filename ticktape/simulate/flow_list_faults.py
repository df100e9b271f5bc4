"""What may go wrong on purpose in a simulated flow list: `--faults get-failed=0.1,bad-entries` and so on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from ticktape.simulate.faults import Catalogue, Faults

_FAULTS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "invalid-param": (1.0, "share of requests answered 1001"),
        "get-failed": (0.2, "share of requests answered 1016"),
        "unknown-code": (0.1, "share of requests answered with an error that no page lists"),
        "http-401": (1.0, "share of requests answered 401"),
        "http-429": (0.2, "share of requests answered 429, to come again after a second"),
        "http-503": (0.2, "share of requests answered 503, to come again after a second"),
        "redirect": (1.0, "share of requests redirected to another host"),
        "html": (0.1, "share of requests answered with a page that repeats the request and its headers"),
        "truncated": (0.1, "share of answers cut in the middle of the JSON"),
        "close": (0.1, "share of answers during which the connection is closed"),
        "slow": (0.1, "share of answers that take 2 s"),
        "gzip": (0.5, "share of answers that are compressed"),
        "invalid-code": (0.05, "share of symbols whose code is refused with 1002"),
        "missing": (0.1, "share of symbols without an entry"),
        "bad-entries": (0.1, "share of entries that are none: the n-th of each n"),
        "duplicates": (0.1, "share of entries that come twice, the older first"),
        "unknown-keys": (0.1, "share of entries with a key that no page lists"),
        "strings": (0.1, "share of numbers in quotes"),
        "nulls": (0.1, "share of numbers that are null"),
    }
)

FLOW_LIST_FAULTS = Catalogue(_FAULTS, frozenset(_FAULTS), lasting=(), plannable=())


class Striking:
    """The faults of one server, as requests, symbols and entries meet them."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def strikes(self, name: str) -> bool:
        """Whether a fault comes now."""
        return name in self._faults and self._count(
            name, self._faults.random(name).random() < self._faults.strength[name]
        )

    def marks(self, name: str, symbol: str) -> bool:
        """Whether a symbol is one of those that a fault lies on: the same ones always."""
        share = self._faults.strength.get(name, 0.0)
        return random.Random(f"{self._faults.seed}/{name}/{symbol}").random() < share

    def comes_round(self, name: str, number: int) -> bool:
        """Whether the `number`-th of a row is one: each n-th, by its share."""
        share = self._faults.strength.get(name, 0.0)
        return self._count(name, int((number + 1) * share) > int(number * share))

    def _count(self, name: str, struck: bool) -> bool:
        if struck:
            self._faults.struck[name] += 1
        return struck
