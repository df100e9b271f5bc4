"""How kernels are compiled: one place for the switches, and for where the result is kept.

`nogil`, because sockets and the journal go on meanwhile; cached on disk; `error_model="numpy"`, so
that no kernel holds the code to raise ZeroDivisionError. `_nrt=False` leaves out numba's reference
counts: passing fifteen arrays from one kernel to another otherwise costs two atomic operations
each, measured as 3 times the time of decoding a tick. The price is that a kernel cannot allocate,
which none should.

Numba looks only at a kernel's own file to see whether its cached code is stale, not at the files of
the kernels that it calls. So the folder is named after the contents of all of them.

With `NUMBA_DISABLE_JIT=1` kernels are plain Python over numpy's scalars, slow and open to a debugger.
Their integers wrap around as machine integers do; numpy would warn of it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

_F = TypeVar("_F", bound=Callable[..., Any])


def _cache_folder() -> Path:
    """Below $NUMBA_CACHE_DIR if set, else beside the sources, else in the user's cache."""
    sources = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(sources.rglob("*.py")):
        digest.update(path.read_bytes())
    name = f"ticktape-{digest.hexdigest()[:12]}"
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen) / name
    beside = sources / "__pycache__"
    if os.access(beside if beside.exists() else sources, os.W_OK):
        return beside / name
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ticktape" / name


def _forget_older(folder: Path) -> None:
    """Remove what older sources left beside `folder`; another process may be doing the same."""
    for other in folder.parent.glob("ticktape-*"):
        if other != folder:
            for file in sorted(other.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
            other.rmdir()


if TYPE_CHECKING:

    def kernel(function: _F) -> _F:
        """A function over arrays, compiled; called from Python or from other kernels."""

    def inlined(function: _F) -> _F:
        """A compiled function whose body is copied into each kernel that calls it."""

elif numba.config.DISABLE_JIT:
    kernel = inlined = np.errstate(over="ignore")
else:
    _FOLDER = _cache_folder()
    try:
        _forget_older(_FOLDER)
    except OSError as error:
        warnings.warn(f"old compiled kernels beside {_FOLDER} stay: {error}", stacklevel=2)
    numba.config.CACHE_DIR = str(_FOLDER)
    _switches = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
    kernel = numba.njit(forceinline=False, **_switches)
    inlined = numba.njit(forceinline=True, **_switches)
