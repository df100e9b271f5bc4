"""Who has subscribed to what at the simulated OpenD: quota, push registration, the one-minute rules.

One login: a (symbol, sub type) counts once however many connections hold it, and those of a closed
connection are kept for a minute more (docs/protocols/opend.md 3.3 and 4). Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.errors import TicktapeError
from codec.opend.protocol import SubType
from ticktape.simulate.sessions import TradingSession

HOLD_S = 60.0
"""No unsubscribing before, and no dropping of a closed connection's subscriptions before."""

Pair = tuple[int, int]
"""(symbol index, SubType number)"""


class SubscriptionRefused(TicktapeError):
    """OpenD would answer retType -1 with this text."""


@dataclass(slots=True)
class _Subscription:
    since_s: float
    covered: TradingSession
    push: bool = False


class SubscriptionBook:
    """The login's subscriptions.

    Attributes
    ----------
    quota : units the login has
    held : (n_symbols,) uint8, sessions in which anybody's TICKER subscription covers the symbol
    pushed : the same, of live connections that are registered for push
    changes : how often it changed; units may be in use or free since
    """

    def __init__(self, symbols: int, quota: int) -> None:
        self.quota = quota
        self.held = np.zeros(symbols, np.uint8)
        self.pushed = np.zeros(symbols, np.uint8)
        self.changes = 0
        self._live: dict[int, dict[Pair, _Subscription]] = {}
        self._pushed_to: dict[int, NDArray[np.uint8]] = {}
        self._lingering: list[tuple[float, dict[Pair, _Subscription]]] = []

    def forget(self) -> None:
        """Nothing was ever subscribed by closed connections: the gateway was restarted."""
        self._lingering.clear()
        self._recount()

    def open(self, connection: int) -> None:
        """A connection that has none yet."""
        self._live[connection] = {}
        self._pushed_to[connection] = np.zeros(len(self.held), np.uint8)

    def close(self, connection: int, now_s: float) -> None:
        """Its push registrations end now, its subscriptions in a minute."""
        subscriptions = self._live.pop(connection)
        del self._pushed_to[connection]
        if subscriptions:
            self._lingering.append((now_s + HOLD_S, subscriptions))
        self._recount()

    def expire(self, now_s: float) -> None:
        """Forget what closed connections held more than a minute ago."""
        if self._lingering and self._lingering[0][0] <= now_s:
            self._lingering = [(until_s, kept) for until_s, kept in self._lingering if until_s > now_s]
            self._recount()

    def subscribe(
        self,
        connection: int,
        pairs: Sequence[Pair],
        covered: Sequence[TradingSession],
        push: bool | None,
        now_s: float,
    ) -> None:
        """Subscribe to all pairs, or to none; `covered[i]` goes with `pairs[i]`.

        `push` None leaves registrations as they are.

        Raises
        ------
        SubscriptionRefused
            The quota does not reach.
        """
        taken = self._units()
        units = len(taken | set(pairs))
        if units > self.quota:
            raise SubscriptionRefused(f"insufficient subscription quota: {units} units needed of {self.quota}")
        mine = self._live[connection]
        for pair, sessions in zip(pairs, covered, strict=True):
            subscription = mine.setdefault(pair, _Subscription(now_s, sessions))
            subscription.covered = sessions
            if push is not None:
                subscription.push = push
        self._recount(connection)

    def unsubscribe(self, connection: int, pairs: Iterable[Pair] | None, now_s: float) -> None:
        """Drop these pairs, or all of the connection's with None; those it does not hold don't matter.

        Raises
        ------
        SubscriptionRefused
            One of them is younger than a minute: nothing was dropped.
        """
        mine = self._live[connection]
        dropped = [pair for pair in (mine if pairs is None else pairs) if pair in mine]
        if any(now_s - mine[pair].since_s < HOLD_S for pair in dropped):
            raise SubscriptionRefused("unsubscribing is possible 1 minute after subscribing at the earliest")
        for pair in dropped:
            mine.pop(pair, None)
        self._recount(connection)

    def register_push(self, connection: int, pairs: Iterable[Pair], push: bool) -> None:
        """Switch push on or off.

        Raises
        ------
        SubscriptionRefused
            One of the pairs is to be pushed but is not subscribed on this connection: nothing changed.
        """
        mine = self._live[connection]
        pairs = list(pairs)
        if push and not all(pair in mine for pair in pairs):
            raise SubscriptionRefused("subscribe before registering for push")
        for pair in pairs:
            if pair in mine:
                mine[pair].push = push
        self._recount(connection)

    def holds(self, connection: int, pair: Pair) -> bool:
        """Whether this connection is subscribed to the pair."""
        return pair in self._live[connection]

    def pairs_of(self, connection: int) -> list[Pair]:
        """What this connection is subscribed to."""
        return list(self._live[connection])

    def connections(self) -> list[int]:
        """Live connections, oldest first."""
        return list(self._live)

    def used(self) -> int:
        """Units of the quota in use, lingering subscriptions included."""
        return len(self._units())

    def pushed_to(self, connection: int) -> NDArray[np.uint8]:
        """(n_symbols,) sessions in which ticks of each symbol are pushed to this connection."""
        return self._pushed_to[connection]

    def _units(self) -> set[Pair]:
        holders = [*self._live.values(), *(kept for _, kept in self._lingering)]
        return {pair for subscriptions in holders for pair in subscriptions}

    def _recount(self, changed: int | None = None) -> None:
        """Bring the arrays up to date after a change, of one live connection's registrations at most."""
        self.changes += 1
        if changed is not None:
            pushed = self._pushed_to[changed]
            pushed[:] = 0
            for (symbol, sub_type), subscription in self._live[changed].items():
                if sub_type == SubType.TICKER and subscription.push:
                    pushed[symbol] = subscription.covered
        self.pushed[:] = 0
        for pushed in self._pushed_to.values():
            self.pushed |= pushed
        self.held[:] = 0
        for subscriptions in (*self._live.values(), *(kept for _, kept in self._lingering)):
            for (symbol, sub_type), subscription in subscriptions.items():
                if sub_type == SubType.TICKER:
                    self.held[symbol] |= subscription.covered
