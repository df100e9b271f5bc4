"""What one try of `ticktape check` came to."""

from __future__ import annotations

from dataclasses import dataclass

from ticktape.exits import Exit

PROBE_TIMEOUT_S = 5.0
"""How long a gateway may take to answer one question."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one try came to.

    Attributes
    ----------
    what : what was tried
    detail : how it is
    remedy : what to do; empty where nothing needs to be done
    failed : the code to end with, None where it is as it should be
    """

    what: str
    detail: str
    remedy: str = ""
    failed: Exit | None = None
