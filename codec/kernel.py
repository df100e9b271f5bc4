"""How kernels are compiled: one place for the switches.

`nogil`, because sockets and the journal go on meanwhile; cached on disk; `error_model="numpy"`, so
that no kernel holds the code to raise ZeroDivisionError. `_nrt=False` leaves out numba's reference
counts: passing fifteen arrays from one kernel to another otherwise costs two atomic operations
each, measured as 4 to 6 times the time of decoding a tick. The price is that a kernel cannot
allocate, which none should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., Any])

if TYPE_CHECKING:

    def kernel(function: _F) -> _F:
        """A function over arrays, compiled; called from Python or from other kernels."""

    def inlined(function: _F) -> _F:
        """A compiled function whose body is copied into each kernel that calls it."""

else:
    _switches = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
    kernel = numba.njit(**_switches)
    inlined = numba.njit(inline="always", **_switches)
