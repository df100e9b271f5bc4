"""What is polled, as configured, and how often that can be. No socket, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codec.markets import HK, MARKET_PREFIXES, SH, SZ, US
from ingest.market_hours import Part
from ingest.poll_queues import Wish

_TRADE_TOGETHER = ({HK, SH, SZ}, {US})
"""Markets whose regular hours overlap; any other one may trade at any time."""


@dataclass(frozen=True, slots=True)
class PollConfig:
    """A feed that is asked for: `capital_flow`, `capital_distribution` or `ark_dynamic`.

    `periods` are words of `codec.tables.PERIOD`, for capital_flow. A symbol is asked every
    `interval_s`, or less often when the quotas say so.
    """

    feed: str
    symbols: tuple[str, ...]
    interval_s: float
    periods: tuple[str, ...] = ("intraday",)


@dataclass(frozen=True, slots=True)
class Possible:
    """What the quota makes of the polls of one feed.

    Attributes
    ----------
    targets : polled all day while their market trades
    at_close : polled at the start and after each close only
    interval_s : the shortest one asked for; 0 without `targets`
    period_s : how often each can be polled at most, when all markets that trade together do
    requests, window_s : of the quota, our share of it
    """

    feed: str
    targets: int
    at_close: int
    interval_s: float
    period_s: float
    requests: int
    window_s: float

    def __str__(self) -> str:
        quota = f"{self.requests} requests in {self.window_s:g} s"
        parts = []
        if self.targets:
            slower = f" rather than {self.interval_s:g} s" if self.period_s > self.interval_s else ""
            parts.append(f"{self.targets:,} targets every {self.period_s:.0f} s{slower}")
        if self.at_close:
            seconds = self.at_close * self.window_s / self.requests
            parts.append(f"{self.at_close:,} after each close, within {seconds:.0f} s")
        return f"{self.feed}: {', '.join(parts)} ({quota})"


def together(wishes: Sequence[Wish], by_calendar: bool) -> list[list[float]]:
    """The intervals of targets that are polled in the same hours."""
    if not by_calendar:
        return [[wish.interval_s for wish in wishes]]
    known = set().union(*_TRADE_TOGETHER)
    return [
        [wish.interval_s for wish in wishes if wish.market in markets or wish.market not in known]
        for markets in _TRADE_TOGETHER
    ]


def possible_status(possibles: Iterable[Possible]) -> dict[str, object]:
    """What `ticktape status` shows of them."""
    return {
        "polls": {
            possible.feed: {
                "targets": possible.targets,
                "at_close": possible.at_close,
                "interval_s": possible.interval_s,
                "period_s": round(possible.period_s, 3),
            }
            for possible in possibles
        }
    }


def parts_status(parts: Mapping[int, Part]) -> dict[str, object]:
    """What `ticktape status` shows of the polled markets."""
    words = {MARKET_PREFIXES.get(market, str(market)): part.name.lower() for market, part in parts.items()}
    return {"polled_markets": words}
