"""From subscriptions to what a flow list is asked for at once: symbols whose markets trade in the same hours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codec.markets import MARKET_TIMES, SH, SZ, parse_symbol
from ingest.poll_queues import Wish

LIST_CALL = 0
"""There is one kind of request."""

_HOURS_OF = {SZ: SH}
"""Markets that trade in another one's hours go into its batches."""

NO_ZONE = "no zone is known for its market: its times could not be placed"


@dataclass(frozen=True, slots=True)
class ListWish:
    """A subscription: each of `symbols`, as `MARKET.CODE`, is wanted every `interval_s`."""

    symbols: tuple[str, ...]
    interval_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request asks for, in file order."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to poll.

    Attributes
    ----------
    wishes : how often each batch is to be asked, and in which market's hours
    refused : symbols that are not asked for, and why
    """

    wishes: dict[Batch, Wish]
    refused: dict[str, str]

    @property
    def symbols(self) -> int:
        """How many are asked for."""
        return sum(len(batch.symbols) for batch in self.wishes)


def plan_batches(wanted: Iterable[ListWish], batch_max: int) -> Plan:
    """Symbols of one interval and the same hours in batches of at most `batch_max`; asked for twice, the shorter."""
    intervals_s: dict[str, float] = {}
    for wish in wanted:
        for symbol in wish.symbols:
            intervals_s[symbol] = min(wish.interval_s, intervals_s.get(symbol, wish.interval_s))
    groups: dict[tuple[int, float], list[str]] = {}
    refused = {}
    for symbol, interval_s in intervals_s.items():
        market, _ = parse_symbol(symbol)
        if market in MARKET_TIMES and MARKET_TIMES[market].reads_text:
            groups.setdefault((_HOURS_OF.get(market, market), interval_s), []).append(symbol)
        else:
            refused[symbol] = NO_ZONE
    wishes = {
        Batch(tuple(symbols[first : first + batch_max])): Wish(LIST_CALL, market, interval_s)
        for (market, interval_s), symbols in groups.items()
        for first in range(0, len(symbols), batch_max)
    }
    return Plan(wishes, refused)
