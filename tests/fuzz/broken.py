"""Decoders that do what a kernel must not, to show that the fuzzer sees it: `--targets tests.fuzz.broken`."""

from __future__ import annotations

import ctypes
import random

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.target import Reader, Target


class _Broken(Target):
    """Sound until an input holds this byte."""

    trigger = b"\xff"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        return [b"a sound input", b"\x12\x05hello\x08\x01"]

    def hostile(self, chance: random.Random) -> bytes:
        return b"much" * chance.choice((1, 10_000))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return self

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        return self.misread(source, start, stop) if self.trigger in source[start:stop].tobytes() else None

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        raise NotImplementedError


def _byte_at(source: NDArray[np.uint8], at: int) -> bytes:
    """Unchecked, as kernels load."""
    return ctypes.string_at(source.ctypes.data + at, 1)


class ReadsBehind(_Broken):
    name = "reads-behind"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        _byte_at(source, stop + PAD_BYTES)
        return None


class ReadsBefore(_Broken):
    name = "reads-before"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        _byte_at(source, start - 1)
        return None


class Writes(_Broken):
    name = "writes"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        source[start] = 0
        return None


class BelievesThePad(_Broken):
    name = "believes-the-pad"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        return int(source[stop])


class Raises(_Broken):
    name = "raises"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        raise OverflowError("out of range")


class ComesNotBack(_Broken):
    name = "comes-not-back"

    def misread(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        while True:
            pass


TARGETS: tuple[type[Target], ...] = (ReadsBehind, ReadsBefore, Writes, BelievesThePad, Raises, ComesNotBack)


def prepare() -> None:
    """There is nothing to compile."""
