"""Which counted ticks are missing: ranges of places between ticks that we have.

Pure; what a range's neighbours are is kept with it, because a row of the ledger names them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from codec.counter import TickAt, counter_of_place, day_of_place, place_of

RANGES_MAX = 256
"""Ranges of one symbol: a link that loses more ticks here and there in the time of a pull has no use for detail."""


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Places `first` to `last`, both missing; `before` and `after` are the ticks on either side, None for none."""

    first: int
    last: int
    before: TickAt | None
    after: TickAt

    @property
    def ticks(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class Sorted:
    """What a pull says of missing ranges.

    Attributes
    ----------
    gone : older than what the gateway still has, or not there although their surroundings are
    refuted : the gateway has both neighbours and nothing between them: the counter made a step there
    later : newer than the reply: another pull may bring them
    """

    gone: list[MissingRange]
    refuted: list[MissingRange]
    later: list[MissingRange]


class MissingTicks:
    """The missing ranges of each symbol, in order."""

    def __init__(self) -> None:
        self._ranges: dict[int, list[MissingRange]] = {}

    def of(self, symbol_id: int) -> Sequence[MissingRange]:
        """The ranges of a symbol."""
        return self._ranges.get(symbol_id, ())

    def symbols(self) -> list[int]:
        """The symbols that miss any."""
        return list(self._ranges)

    def add_between(self, symbol_id: int, before: TickAt | None, after: TickAt) -> None:
        """All places between two ticks of one day are missing; from its first one on without `before`."""
        place = place_of(after.sequence)
        first = place_of(before.sequence) + 1 if before is not None else 0
        if before is None or day_of_place(first) != day_of_place(place):
            first = place - counter_of_place(place) + 1
        if first < place:
            self._put(symbol_id, [*self.of(symbol_id), MissingRange(first, place - 1, before, after)])

    def fill(self, symbol_id: int, first: TickAt, last: TickAt) -> None:
        """The consecutive ticks `first` to `last` have come."""
        if symbol_id in self._ranges:
            self._put(symbol_id, without(self._ranges[symbol_id], first, last))

    def take(self, symbol_id: int) -> list[MissingRange]:
        """Take out the ranges of a symbol: they are accounted for."""
        return self._ranges.pop(symbol_id, [])

    def put_back(self, symbol_id: int, ranges: Iterable[MissingRange]) -> None:
        """Restore what `of` gave."""
        self._put(symbol_id, list(ranges))

    def _put(self, symbol_id: int, ranges: list[MissingRange]) -> None:
        if ranges:
            self._ranges[symbol_id] = sorted(ranges, key=lambda each: each.first)
        else:
            self._ranges.pop(symbol_id, None)


def without(ranges: Iterable[MissingRange], first: TickAt, last: TickAt) -> list[MissingRange]:
    """What is still missing of `ranges` once the consecutive ticks `first` to `last` have come."""
    begin, end = place_of(first.sequence), place_of(last.sequence)
    left = []
    for range_ in ranges:
        if end < range_.first or begin > range_.last:
            left.append(range_)
            continue
        if begin > range_.first:
            left.append(replace(range_, last=begin - 1, after=first))
        if end < range_.last:
            left.append(replace(range_, first=end + 1, before=last))
    return left


def ticks_in(ranges: Iterable[MissingRange]) -> int:
    """How many ticks are missing in all of them."""
    return sum(each.ticks for each in ranges)


def sort_by_reply(ranges: Iterable[MissingRange], places: Sequence[int]) -> Sorted:
    """What a reply that holds the ticks at `places`, ascending, says of `ranges`, of which it fills none.

    An empty reply has nothing more to give.
    """
    found = Sorted([], [], [])
    for range_ in ranges:
        if places and range_.first > places[-1]:
            found.later.append(range_)
            continue
        at = bisect_left(places, range_.last + 1)
        has_after = at < len(places) and places[at] == range_.last + 1
        neighbour = places[at - 1] if at > 0 else None
        if not has_after or neighbour is None:
            found.gone.append(range_)
        elif neighbour == range_.first - 1 or (
            starts_day(range_) and day_of_place(neighbour) < day_of_place(range_.first)
        ):
            found.refuted.append(range_)
        else:
            found.gone.append(range_)
    return found


def starts_day(range_: MissingRange) -> bool:
    """Whether nothing of its day comes before it."""
    return counter_of_place(range_.first) == 1
