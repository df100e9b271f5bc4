"""What a worker is at, in memory that its parent still sees when the worker is gone."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import CUTS_MAX, Case
from tests.fuzz.mutations import INPUT_BYTES_MAX

_HEAD = struct.Struct("<QQQQQQ")
_TALLY = struct.Struct("<QQQQQQ")
_SIZE = struct.Struct("<I")
_TARGETS_MAX = 64
_TALLIES_AT = _HEAD.size
_CASE_AT = _TALLIES_AT + _TARGETS_MAX * _TALLY.size
_BYTES = _CASE_AT + 64 + (CUTS_MAX + 2) * (INPUT_BYTES_MAX + _SIZE.size)
"""The file has holes: only what was written takes room."""

STARTING, RUNNING = 0, 1


@dataclass
class At:
    """Where the worker is: the steps it has done tell whether it moves on."""

    phase: int = STARTING
    steps: int = 0
    target: int = 0
    number: int = 0
    variant: int = 0
    index: int = 0


@dataclass
class Tally:
    """What was done of one target."""

    cases: int = 0
    calls: int = 0
    input_bytes: int = 0
    compared: int = 0
    slowest_ns: int = 0
    slowest_bytes: int = 0


class State:
    """One file, mapped by both processes."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            with path.open("wb") as file:
                file.truncate(_BYTES)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES)

    def put_at(self, at: At) -> None:
        _HEAD.pack_into(self._map, 0, at.phase, at.steps, at.target, at.number, at.variant, at.index)

    def at(self) -> At:
        return At(*_HEAD.unpack_from(self._map, 0))

    def put_tally(self, target: int, tally: Tally) -> None:
        _TALLY.pack_into(
            self._map,
            _TALLIES_AT + target * _TALLY.size,
            *(tally.cases, tally.calls, tally.input_bytes, tally.compared, tally.slowest_ns, tally.slowest_bytes),
        )

    def tallies(self, count: int) -> list[Tally]:
        return [Tally(*_TALLY.unpack_from(self._map, _TALLIES_AT + at * _TALLY.size)) for at in range(count)]

    def put_case(self, case: Case) -> None:
        struct.pack_into("<IBI", self._map, _CASE_AT, case.limits, case.has_oracle, len(case.inputs))
        place = _CASE_AT + 64
        for data in case.inputs:
            _SIZE.pack_into(self._map, place, len(data))
            place += _SIZE.size
            self._map[place : place + len(data)] = data
            place += len(data)

    def case(self, kernels: Sequence[str]) -> Case:
        """The case that is being run."""
        limits, has_oracle, count = struct.unpack_from("<IBI", self._map, _CASE_AT)
        place, inputs = _CASE_AT + 64, []
        for _ in range(count):
            (size,) = _SIZE.unpack_from(self._map, place)
            place += _SIZE.size
            inputs.append(self._map[place : place + size])
            place += size
        return Case(kernels[self.at().target], limits, tuple(inputs), bool(has_oracle))
