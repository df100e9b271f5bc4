"""How the C library gives memory back to the machine."""

from __future__ import annotations

import contextlib
import ctypes

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3
"""<malloc.h>"""


def give_back_large_pieces() -> None:
    """Let pieces of `LARGE_BYTES` and more be gone from the process once they are freed.

    glibc raises that bound by itself, up to 32 MiB, whenever a larger piece is freed, and keeps what is below:
    a daemon whose snapshots grow with its windows then grows by several of them. Another C library than
    glibc is left as it is.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
