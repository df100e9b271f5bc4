"""Listens whether the symbols of a gateway fall silent, and remembers which pulls were asked for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from codec.markets import Security
from ingest.lane import Lane
from ingest.market_hours import MarketHours, Part
from ingest.silence import LOOK_EVERY_S, SilenceWatch


class Listener:
    """The silence of one gateway's symbols.

    Parameters
    ----------
    hours : of each market with a calendar; None, or a market without one: it trades around the clock
    """

    def __init__(self, lane: Lane, hours: Mapping[int, MarketHours] | None) -> None:
        self._lane = lane
        self._hours = hours or {}
        self._watch = SilenceWatch(self._trades)
        self._followed: frozenset[Security] = frozenset()
        self._securities: dict[int, Security] = {}
        self._ids: NDArray[np.int32] = np.empty(0, np.int32)
        self._asked: set[Security] = set()

    async def run(
        self, pushed: Callable[[], Collection[Security] | None], pull: Callable[[list[Security]], None]
    ) -> None:
        """Have `pull` called with what is silent, for ever; `pushed` gives the symbols whose ticks are pushed, or
        None while nothing can be heard."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            securities = pushed()
            if securities is None:
                self.rest()
            elif silent := self.look(securities, time.time()):
                pull(silent)

    def look(self, securities: Collection[Security], unix_s: float) -> list[Security]:
        """One look at these, which are pushed; those that are to be pulled because they are silent."""
        if self._followed != securities:
            self._follow(frozenset(securities))
        rows = self._lane.book.follower.rows_of(self._ids)
        silent = [self._securities[id_] for id_ in self._watch.look(rows, unix_s).tolist()]
        self._asked.update(silent)
        return silent

    def rest(self) -> None:
        """Nothing can be heard just now."""
        self._watch.rest()
        self._asked.clear()

    def asked_for(self, security: Security) -> bool:
        """Whether the pull that was answered was asked for because of silence; said once."""
        asked = security in self._asked
        self._asked.discard(security)
        return asked

    def _follow(self, securities: frozenset[Security]) -> None:
        symbols = self._lane.symbols
        self._followed = securities
        self._securities = dict(sorted((symbols.id_of(*security), security) for security in securities))
        self._ids = np.array(list(self._securities), np.int32)
        markets = np.array([security[0] for security in self._securities.values()], np.int64)
        self._watch.follow(self._ids, markets, self._lane.book.follower.rows_of(self._ids))

    def _trades(self, market: int, unix_s: float) -> bool:
        hours = self._hours.get(market)
        return hours is None or hours.part_at(unix_s)[0] is Part.OPEN
