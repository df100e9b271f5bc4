"""Who has subscribed to what at the simulated LongPort: 500 symbols an account, counted once whatever the types.

A symbol that was subscribed to trades on while its client is away, until somebody unsubscribes from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from protos.longport.subscription_pb2 import TRADE
from ticktape.simulate.market import EVERY_SESSION


class Book:
    """The account's subscriptions, by connection.

    Attributes
    ----------
    held : (n_symbols,) uint8, the sessions in which each symbol trades: all or none
    pushed : the same, only of what a connection that stands is pushed
    """

    def __init__(self, symbols: int) -> None:
        self.held = np.zeros(symbols, np.uint8)
        self.pushed = np.zeros(symbols, np.uint8)
        self._types: dict[int, dict[int, set[int]]] = {}
        self._wanted: dict[int, NDArray[np.bool_]] = {}

    def open(self, connection: int) -> None:
        """A connection that has logged in."""
        self._types[connection] = {}
        self._wanted[connection] = np.zeros(len(self.held), np.bool_)

    def close(self, connection: int) -> None:
        """A connection is gone; what it held trades on."""
        self._types.pop(connection, None)
        self._wanted.pop(connection, None)
        self._recount()

    def total_with(self, symbols: Collection[int]) -> int:
        """How many symbols the account would have with these."""
        return len(set(symbols).union(*self._types.values()))

    def subscribe(self, connection: int, symbols: Iterable[int], types: Collection[int]) -> None:
        """Add types to symbols."""
        for symbol in symbols:
            self._types[connection].setdefault(symbol, set()).update(types)
        self._changed(connection)

    def unsubscribe(self, connection: int, symbols: Iterable[int] | None, types: Collection[int] | None) -> None:
        """Take types from symbols; None for all."""
        held = self._types[connection]
        for symbol in list(held) if symbols is None else symbols:
            left = held.get(symbol, set()) - set(held.get(symbol, set()) if types is None else types)
            if left:
                held[symbol] = left
            else:
                held.pop(symbol, None)
            if TRADE not in left:
                self.held[symbol] = 0
        self._changed(connection)

    def types_of(self, connection: int) -> dict[int, set[int]]:
        """SubType numbers by symbol."""
        return self._types[connection]

    def wanted_by(self, connection: int) -> NDArray[np.bool_]:
        """(n_symbols,) whose trades a connection is pushed; of one that has not logged in none."""
        return self._wanted.get(connection, np.zeros(len(self.held), np.bool_))

    def _changed(self, connection: int) -> None:
        wanted = self._wanted[connection]
        wanted[:] = False
        wanted[[symbol for symbol, types in self._types[connection].items() if TRADE in types]] = True
        self._recount()

    def _recount(self) -> None:
        self.pushed[:] = 0
        for wanted in self._wanted.values():
            self.pushed[wanted] = EVERY_SESSION
        self.held |= self.pushed
