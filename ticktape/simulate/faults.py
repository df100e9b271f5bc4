"""What may go wrong on purpose: `--faults duplicate=0.05,split` and so on.

Each fault draws from its own seeded generator, so switching one on changes nothing in another.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from codec.errors import TicktapeError
from codec.opend.protocol import BODY_BYTES_AT, HEADER_BYTES, SHA1_AT
from ticktape.simulate.opend_frames import Frames
from ticktape.simulate.tick_store import Spans

DUPLICATE, DROP, REORDER, SPLIT, MID_FRAME_CLOSE, BAD_SHA1, CACHED_REPUSH, UNCOUNTED, STALL = (
    "duplicate",
    "drop",
    "reorder",
    "split",
    "mid-frame-close",
    "bad-sha1",
    "cached-repush",
    "uncounted",
    "stall",
)
LOGOUT, KICKED_OUT, RIGHT_LOST, BACKEND_LOST, RESTART = (
    "logout",
    "kicked-out",
    "right-lost",
    "backend-lost",
    "restart",
)
FAULTS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        DUPLICATE: (0.05, "share of pushed ticks that are pushed again a little later"),
        DROP: (0.02, "share of Hong Kong's ticks that are not pushed: only the counter shows it, pulls have them"),
        REORDER: (0.01, "share of pushed ticks that come up to 40 steps late, behind newer ones of their symbol"),
        SPLIT: (0.05, "share of writes followed by a pause; all are cut at odd places"),
        MID_FRAME_CLOSE: (0.2, "connections closed in the middle of a frame, a second"),
        BAD_SHA1: (1.0, "push frames with a wrong SHA-1, a second"),
        CACHED_REPUSH: (1.0, "symbols whose cached ticks are pushed again, a second"),
        UNCOUNTED: (0.01, "share of Hong Kong's ticks before which the counter skips one"),
        STALL: (0.005, "times a second that the links there are stay up, and nothing is sent on them for 40 s"),
        LOGOUT: (0.02, "logins that end until somebody enters a code, a second"),
        KICKED_OUT: (0.02, "logins that another program takes, a second"),
        RIGHT_LOST: (0.02, "losses of the right to Hong Kong's quotes, a second"),
        BACKEND_LOST: (0.02, "losses of the link to the quote servers, a second"),
        RESTART: (0.02, "restarts that forget every subscription and what was cached, a second"),
    }
)
"""Default strength and its meaning."""
OUTAGES = (LOGOUT, KICKED_OUT, RIGHT_LOST, BACKEND_LOST, RESTART)
"""These last some seconds, and may come once: `logout@5+2` is 5 s after the first subscription, for 2 s."""

LASTING = (*OUTAGES, STALL)
"""What may come once in this way."""

_SHARES = frozenset({DUPLICATE, DROP, REORDER, SPLIT, UNCOUNTED})
PLANNABLE = tuple(name for name in FAULTS if name not in _SHARES or name == REORDER)
"""What strikes at an instant, and so can be planned by `--faults-at`; of what lasts the beginning, and
of `reorder` all ticks of a step."""

LATE_STEPS_MAX = 40
"""A repeat comes at most this many steps after its original, and a late tick after its time."""

LATE_TICKS_MAX = 900
"""…and before the symbol has had this many newer ticks (give or take one step): a gateway repeats what it
has cached, and it caches 1000."""

_SPLIT_SIZES = (1, 2, 7, 43, 45, 64, 1_460, 1_500, 8_192, 65_536)


class BadFault(TicktapeError):
    """`--faults` names an unknown fault or a senseless strength."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The faults of one simulator.

    Attributes
    ----------
    faults : default strength of each and its meaning
    shares : those whose strength is a share
    lasting : those that may come once, for some seconds
    plannable : those that strike at an instant
    """

    faults: Mapping[str, tuple[float, str]]
    shares: frozenset[str]
    lasting: tuple[str, ...]
    plannable: tuple[str, ...]


OPEND_FAULTS = Catalogue(FAULTS, _SHARES, LASTING, PLANNABLE)


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults are on, how strong, and their random generators.

    Attributes
    ----------
    planned : (real seconds after the first subscription, fault) of single strikes, ascending
    struck : how often each came
    once : (seconds after the first subscription, seconds that it lasts) of lasting ones that come once
    """

    strength: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    planned: deque[tuple[float, str]] = field(default_factory=deque)
    once: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    _armed: Counter[str] = field(default_factory=Counter, repr=False)
    _since_s: list[float] = field(default_factory=list, repr=False)
    _randoms: dict[str, random.Random] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str, seed: int, plan: str = "", catalogue: Catalogue = OPEND_FAULTS) -> Faults:
        """Read `name[=strength],…`, with `name@at+for` among them, and the plan `SECONDS:name,…`; empty for none.

        Raises BadFault.
        """
        strength: dict[str, float] = {}
        once: dict[str, tuple[float, float]] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, at, when = item.partition("@")
            if at:
                once[name] = _once(item, name, when, catalogue)
                continue
            name, _, value = item.partition("=")
            if name not in catalogue.faults:
                raise BadFault(f"no fault is called {name!r}; there are: {', '.join(catalogue.faults)}")
            usual, meaning = catalogue.faults[name]
            try:
                strength[name] = float(value) if value else usual
            except ValueError:
                raise BadFault(f"{item!r}: after = comes a number, {meaning}") from None
            if not (0 < strength[name] < math.inf) or (name in catalogue.shares and strength[name] > 1):
                raise BadFault(f"{item!r} is out of range: {meaning}")
        return cls(strength, seed, _planned(plan, catalogue), once)

    def __contains__(self, name: str) -> bool:
        return name in self.strength

    def share(self, name: str) -> float:
        """Of the ticks of this step, how many a fault strikes: all, if it was planned for now."""
        return 1.0 if self.strikes(name, 0.0) else self.strength.get(name, 0.0)

    def random(self, name: str) -> random.Random:
        """The generator of one fault, always the same object."""
        return self._randoms.setdefault(name, random.Random(f"{self.seed}/{name}"))

    def arm(self, now_s: float) -> None:
        """Let what is planned until `now_s` strike at its next occasion; the first call begins the plan."""
        self._since_s.append(now_s)
        del self._since_s[1:]
        while self.planned and self.planned[0][0] <= now_s - self._since_s[0]:
            self._armed[self.planned.popleft()[1]] += 1

    def strikes(self, name: str, elapsed_s: float) -> bool:
        """Whether a fault that comes so many times a second comes within this step, or was planned for it."""
        if self._armed[name]:
            self._armed[name] -= 1
        elif name not in self or self.random(name).random() >= -math.expm1(-self.strength[name] * elapsed_s):
            return False
        self.struck[name] += 1
        return True


def _planned(text: str, catalogue: Catalogue) -> deque[tuple[float, str]]:
    planned = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        when, _, name = item.partition(":")
        try:
            planned.append((float(when), name))
        except ValueError:
            raise BadFault(f"{item!r}: write SECONDS:fault, as in 12.5:bad-sha1") from None
        if name not in catalogue.plannable:
            raise BadFault(f"{name!r} cannot be planned; there are: {', '.join(catalogue.plannable)}")
    return deque(sorted(planned))


def _once(item: str, name: str, when: str, catalogue: Catalogue) -> tuple[float, float]:
    """Read `at+for` of a fault that lasts."""
    if name not in catalogue.lasting:
        raise BadFault(f"{item!r}: only {', '.join(catalogue.lasting)} last")
    at, _, lasts = when.partition("+")
    try:
        at_s, lasts_s = float(at), float(lasts)
    except ValueError:
        raise BadFault(f"{item!r}: after @ comes AT+FOR, in seconds") from None
    if not (0 <= at_s < math.inf) or not (0 < lasts_s < math.inf):
        raise BadFault(f"{item!r} is out of range: after @ comes AT+FOR, in seconds")
    return at_s, lasts_s


class Later:
    """Chooses ticks to push some steps later, again or for the first time, and says when."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._symbol = np.empty(0, np.int64)
        self._number = np.empty(0, np.int64)
        self._due_step = np.empty(0, np.int64)
        self._step = 0

    def choose(self, spans: Spans, share: float) -> Spans:
        """Keep a share of these ticks in mind, chosen independently; returns the others."""
        chosen = self._rng.random(spans.ticks) < share
        if not chosen.any():
            return spans
        symbol, number = _each(spans)
        due_step = self._step + self._rng.integers(1, LATE_STEPS_MAX + 1, np.count_nonzero(chosen))
        self._symbol = np.concatenate((self._symbol, symbol[chosen]))
        self._number = np.concatenate((self._number, number[chosen]))
        self._due_step = np.concatenate((self._due_step, due_step))
        return _single(symbol[~chosen], number[~chosen])

    def due(self, ticks: NDArray[np.int64], *, all_of_them: bool = False) -> Spans:
        """What to push now, once a step; `ticks` is how many ticks each symbol has had."""
        self._step += 1
        ready = (self._due_step <= self._step) | (ticks[self._symbol] - self._number > LATE_TICKS_MAX) | all_of_them
        symbol, number = self._symbol[ready], self._number[ready]
        order = np.lexsort((number, symbol))
        keep = ~ready
        self._symbol, self._number, self._due_step = self._symbol[keep], self._number[keep], self._due_step[keep]
        return _single(symbol[order], number[order])


def leave_out(spans: Spans, share: float, rng: np.random.Generator, droppable: NDArray[np.bool_]) -> Spans:
    """What is pushed of `spans` when a share of the ticks of `droppable` symbols, (n_symbols,), is dropped.

    The last of each span always comes, so that a counter shows what did not.
    """
    symbol, number = _each(spans)
    keep = (rng.random(len(symbol)) >= share) | ~droppable[symbol]
    keep[np.cumsum(spans.count) - 1] = True
    return spans if keep.all() else _single(symbol[keep], number[keep])


def _each(spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n_ticks,) the symbol and the number of every tick."""
    before = np.cumsum(spans.count) - spans.count
    symbol = np.repeat(spans.symbol, spans.count)
    return symbol, np.arange(len(symbol)) - np.repeat(before - spans.first, spans.count)


def _single(symbol: NDArray[np.int64], number: NDArray[np.int64]) -> Spans:
    """A span for each tick."""
    return Spans(symbol, number, np.ones(len(symbol), np.int64))


def spoil_sha1(frames: Frames, rng: random.Random) -> None:
    """Make the SHA-1 of one frame wrong, in place."""
    frame = rng.randrange(len(frames.frame_at) - 1)
    frames.data[frames.frame_at[frame] + SHA1_AT] ^= 0xFF


def cut_inside_a_frame(data: bytes, rng: random.Random) -> int:
    """A position strictly inside one of the whole frames that `data` consists of."""
    starts = [0]
    while starts[-1] < len(data):
        at = starts[-1]
        body_bytes = int.from_bytes(data[at + BODY_BYTES_AT : at + BODY_BYTES_AT + 4], "little")
        starts.append(at + HEADER_BYTES + body_bytes)
    frame = rng.randrange(len(starts) - 1)
    return rng.randrange(starts[frame] + 1, starts[frame + 1])


def odd_piece_bytes(rng: random.Random) -> int:
    """The size of the next write of a split stream."""
    return rng.choice(_SPLIT_SIZES)
