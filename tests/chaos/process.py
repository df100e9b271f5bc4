"""A process that is killed, frozen and started again, as often as the plan says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.tether import tethered

PROJECT = Path(__file__).resolve().parents[2]


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules, and dies with us."""
    return tethered([sys.executable, "-m", module, *arguments])


class Process:
    """One daemon, by its name.

    Attributes
    ----------
    kills : how often we killed it
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.kills = 0
        self._command = list(command)
        self._log = log
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        with self._guard:
            if self._process is None:
                with self._log.open("ab") as log:
                    environment = {**os.environ, "NO_PROXY": "127.0.0.1,localhost"}
                    self._process = subprocess.Popen(
                        self._command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
                    )

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        with self._guard:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
                self.kills += 1

    def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP, or SIGCONT."""
        with self._guard:
            if self._process is not None:
                self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def ended(self) -> int | None:
        """The code with which it ended by itself, which nobody asked for; None while all is well.

        It counts as not running from then on.
        """
        with self._guard:
            if self._process is None or (code := self._process.poll()) is None:
                return None
            self._process = None
            return code
