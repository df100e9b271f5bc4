"""What happens between the rows of a buffer, in the order of the wire, and may tell of holes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opening:
    """Behind row `row` of the buffer ticks of a symbol may be missing."""

    row: int
    symbol_id: int
    cause: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """From row `row` on a symbol is asked for, for the first time in this process."""

    row: int
    symbol_id: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Rows `row` to `row + rows` are what a pull brought.

    Attributes
    ----------
    looks : it was asked for because of silence
    is_full : the reply held as many as one may: there were older ones
    is_stale : a hole opened after the reply came, of which it tells nothing
    """

    row: int
    rows: int
    symbol_id: int
    gateway: str
    looks: bool = False
    is_full: bool = False
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The pulls of a symbol failed for good; `leaves` when it is not asked for any more, and no tick will follow."""

    row: int
    symbol_id: int
    leaves: bool = False


Mark = Opening | Beginning | Pull | GivenUp
"""What happened between the rows of a buffer."""
