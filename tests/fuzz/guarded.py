"""Memory between two pages that nobody may touch: one byte too far ends the process.

Linux only: pages are made with mmap and closed with mprotect.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES

_PAGE_BYTES = mmap.PAGESIZE
_NOTHING, _READ, _READ_AND_WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)


def _protect(address: int, size_bytes: int, allowed: int) -> None:
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), ctypes.c_int(allowed)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class GuardedPages:
    """Whole pages for at least `size_bytes`, with a page before and one behind that cannot be touched.

    Attributes
    ----------
    data : (n_bytes,) uint8, all of it
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = max(1, -(-size_bytes // _PAGE_BYTES)) * _PAGE_BYTES
        whole = self.size_bytes + 2 * _PAGE_BYTES
        self._map = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._address = begin + _PAGE_BYTES
        _protect(begin, _PAGE_BYTES, _NOTHING)
        _protect(self._address + self.size_bytes, _PAGE_BYTES, _NOTHING)
        self.data: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8, self.size_bytes, _PAGE_BYTES)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Meanwhile, whoever writes to the pages ends the process."""
        _protect(self._address, self.size_bytes, _READ)
        try:
            yield
        finally:
            _protect(self._address, self.size_bytes, _READ_AND_WRITE)

    def ending(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy of `array` that ends where the pages do."""
        at = _PAGE_BYTES + self.size_bytes - array.nbytes
        copy: NDArray[Any] = np.frombuffer(self._map, array.dtype, array.size, at).reshape(array.shape)
        copy[...] = array
        return copy


class Placing:
    """Input bytes as a receive buffer holds them, hard against one of the closed pages."""

    def __init__(self, size_bytes_max: int) -> None:
        self._small = GuardedPages(16 << 10)
        self._large = GuardedPages(size_bytes_max + PAD_BYTES)

    @contextlib.contextmanager
    def at_end(self, data: bytes, pad: bytes) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
        """(source, start, stop): the pad behind the data ends where the pages do; before it lies `pad` too."""
        pages = self._pages(data)
        source = pages.data
        stop = len(source) - PAD_BYTES
        start = stop - len(data)
        before = min(start, PAD_BYTES)
        source[start - before : start] = _bytes(pad[:before])
        source[start:stop], source[stop:] = _bytes(data), _bytes(pad)
        with pages.read_only():
            yield source, start, stop

    @contextlib.contextmanager
    def at_beginning(self, data: bytes, pad: bytes) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
        """(source, start, stop): the data begins where the pages do."""
        pages = self._pages(data)
        stop = len(data)
        source = pages.data[: stop + PAD_BYTES]
        source[:stop], source[stop:] = _bytes(data), _bytes(pad)
        with pages.read_only():
            yield source, 0, stop

    def _pages(self, data: bytes) -> GuardedPages:
        return self._small if len(data) + PAD_BYTES <= self._small.size_bytes else self._large


def _bytes(raw: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(raw, np.uint8)


class GuardedMemory:
    """Copies of arrays, each ending at a closed page. `recycle` takes back all since the last `keep`."""

    def __init__(self) -> None:
        self._free: dict[int, list[GuardedPages]] = {}
        self._lent: list[tuple[int, GuardedPages]] = []
        self._ours: dict[int, NDArray[Any]] = {}
        self._kept: dict[int, NDArray[Any]] = {}

    def copy(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy that ends at a closed page; an array that is one already is given back."""
        if id(array) in self._ours or id(array) in self._kept:
            return array
        free = self._free.setdefault(array.nbytes, [])
        pages = free.pop() if free else GuardedPages(array.nbytes)
        self._lent.append((array.nbytes, pages))
        made = pages.ending(array)
        self._ours[id(made)] = made
        return made

    def guard(self, *owners: object) -> None:
        """Replace each array that is an attribute of an owner, or in a tuple that is one, by its copy.

        An array that several of them share is copied once.
        """
        copies: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

        def guarded(value: object) -> object:
            if isinstance(value, np.ndarray):
                if id(value) not in copies:
                    copies[id(value)] = value, self.copy(value)
                return copies[id(value)][1]
            return tuple(map(guarded, value)) if type(value) is tuple else value

        for owner in owners:
            for name, value in list(vars(owner).items()):
                setattr(owner, name, guarded(value))

    def keep(self) -> None:
        """What was copied so far stays as it is."""
        self._kept |= self._ours
        self._ours, self._lent = {}, []

    def recycle(self) -> None:
        for size_bytes, pages in self._lent:
            self._free[size_bytes].append(pages)
        self._ours, self._lent = {}, []
