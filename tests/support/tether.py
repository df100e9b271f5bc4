"""Processes that must not outlive a test run that is killed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def tethered(command: Sequence[str]) -> list[str]:
    """`command`, killed by the kernel when the thread that starts it ends: start it from one that lasts."""
    return ["setpriv", "--pdeathsig", "KILL", *command] if shutil.which("setpriv") else list(command)
