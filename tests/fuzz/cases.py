"""Cases: what is made for a fresh decoder from a seed, and how it is run.

A case is read twice, by decoders of the same limits: its inputs end at a closed page the first time,
and begin at one the second time, with other bytes around them and other bytes in the outputs. What
comes of them must be the same.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from tests.fuzz.guarded import GuardedMemory, Placing
from tests.fuzz.messages import shortened
from tests.fuzz.mutations import INPUT_BYTES_MAX, mutated, pad_pattern
from tests.fuzz.target import Target

_MUTANTS, CUTS_MAX = 24, 400
_ORACLE_EVERY = 16
"""One in so many mutants is compared with the oracle, which takes as long as a hundred calls."""
_FILLS = (0x5A, 0xA5)


class Mismatch(AssertionError):
    """The same input gave two different outcomes."""


class Watch(Protocol):
    """Who is told what is going on, in case it is the last thing that goes on."""

    def calling(self, variant: int, index: int) -> None: ...

    def called(self, took_ns: int, size_bytes: int) -> None: ...

    def compared(self) -> None: ...


@dataclass(frozen=True)
class Case:
    """Inputs for one decoder, one after the other.

    Attributes
    ----------
    kernel : name of the target
    limits : what the decoder's limits and the bytes around its inputs are drawn from
    has_oracle : whether its inputs are within what the oracle judges as the contract does
    """

    kernel: str
    limits: int
    inputs: tuple[bytes, ...]
    has_oracle: bool

    def saved(self, path: Path) -> None:
        content = {"kernel": self.kernel, "limits": self.limits, "has_oracle": self.has_oracle}
        path.write_text(json.dumps(content | {"inputs": [each.hex() for each in self.inputs]}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Case:
        content = json.loads(path.read_text(encoding="utf-8"))
        inputs = tuple(bytes.fromhex(each) for each in content["inputs"])
        return cls(content["kernel"], content["limits"], inputs, content["has_oracle"])


def case_of(target: Target, seed: int, number: int) -> Case:
    """Case `number` of a target: the same seed, the same case."""
    chance = random.Random(f"{seed}/{target.name}/{number}")
    kind = chance.randrange(16)
    if kind == 0:
        inputs = [target.wrap(chance, [target.hostile(chance) for _ in range(chance.choice((1, 1, 2)))])]
    elif kind <= 2:
        inputs = [chance.randbytes(chance.choice((0, 1, 7, 43, 60, 300))) for _ in range(_MUTANTS // 2)]
        inputs += [target.wrap(chance, [each or b"\0"]) for each in inputs]
    elif kind <= 5:
        inputs = list(_cut_at_every_byte(target, chance))
    else:
        inputs = [_mutant(target, chance) for _ in range(_MUTANTS)]
    limited = tuple(each[:INPUT_BYTES_MAX] for each in inputs)
    return Case(target.name, chance.getrandbits(32), limited, has_oracle=kind != 0)


def _mutant(target: Target, chance: random.Random) -> bytes:
    bodies = [chance.choice(target.bodies) for _ in range(chance.choice((1, 1, 1, 2, 4)))]
    if chance.randrange(8):
        at = chance.randrange(len(bodies))
        bodies[at] = mutated(chance, bodies[at], target.bodies)
    data = target.wrap(chance, bodies)
    return data if chance.randrange(4) else mutated(chance, data, target.bodies)


def _cut_at_every_byte(target: Target, chance: random.Random) -> Iterator[bytes]:
    """A whole input cut off; or its body, with headers that are right again, and perhaps some lengths."""
    body = chance.choice(target.bodies)
    levels, headers = chance.choice((-1, 0, 1, 1, 2, 3)), chance.getrandbits(32)
    whole = body if levels >= 0 else target.wrap(chance, [body])
    places = range(len(whole) + 1)
    for place in places if len(places) <= CUTS_MAX else sorted(chance.sample(places, CUTS_MAX)):
        if levels < 0:
            yield whole[:place]
        else:
            yield target.wrap(random.Random(headers), [shortened(body, place, levels)])


class Runner:
    """Runs cases in this process, which ends when a kernel touches what it must not."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._memory, self._placing = GuardedMemory(), Placing(INPUT_BYTES_MAX)
        self._clock = MarketClock()
        self._memory.guard(self._clock)
        self._memory.keep()

    def run(self, target: Target, case: Case) -> None:
        """Raises Mismatch, or whatever a decoder or a check raises."""
        first, second = (self._outcomes(target, case, variant) for variant in range(2))
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            if one != other:
                self._watch.calling(0, index)
                raise Mismatch(f"input {index} gave\n{one}\nand, with other bytes around it,\n{other}")
        if case.has_oracle:
            for index in range(case.limits % _ORACLE_EVERY, len(case.inputs), _ORACLE_EVERY):
                self._watch.calling(2, index)
                if target.check(case.inputs[index]):
                    self._watch.compared()

    def _outcomes(self, target: Target, case: Case, variant: int) -> list[object]:
        self._memory.recycle()
        self._clock.cached[:] = 0
        reader = target.reader(self._memory, self._clock, random.Random(case.limits), _FILLS[variant])
        around = random.Random(f"{case.limits}/{variant}")
        longest = max(case.inputs, key=len)
        found = []
        for index, data in enumerate(case.inputs):
            pad = pad_pattern(around, PAD_BYTES)
            if variant == 0 and around.randrange(4):  # what a receive buffer holds of an earlier, longer message
                pad = (longest[len(data) :] + pad)[:PAD_BYTES]
            self._watch.calling(variant, index)
            with self._placed(variant, data, pad) as (source, start, stop):
                began_ns = time.thread_time_ns()
                found.append(reader.read(source, start, stop))
                self._watch.called(time.thread_time_ns() - began_ns, len(data))
        return found

    def _placed(
        self, variant: int, data: bytes, pad: bytes
    ) -> AbstractContextManager[tuple[NDArray[np.uint8], int, int]]:
        return (self._placing.at_beginning if variant else self._placing.at_end)(data, pad)
