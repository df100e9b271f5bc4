"""A simulated gateway in a process of its own, for tests and benchmarks."""

from __future__ import annotations

import json
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 120.0
"""Room for compiling the kernels on a slow machine that does it for the first time."""
STOP_TIMEOUT_S = 30.0

Option = str | int | float | Path


class Simulator:
    """A running simulator.

    Attributes
    ----------
    host, port : where it listens
    tcp_port : LongPort's raw protocol; 0 without it
    websocket_port : OpenD's WebSocket port; 0 without it
    pid : its process, for tests that stop or kill it
    """

    def __init__(self, process: subprocess.Popen[str], listening: str) -> None:
        self._process = process
        self._truth: dict[str, Any] | None = None
        address, *others = re.split(" (tcp|websocket) ", listening)
        host, _, port = address.rpartition(":")
        self.host, self.port, self.pid = str(host), int(port), process.pid
        ports = {name: int(other.rpartition(":")[2]) for name, other in zip(others[::2], others[1::2], strict=True)}
        self.tcp_port, self.websocket_port = ports.get("tcp", 0), ports.get("websocket", 0)

    def stop(self) -> dict[str, Any]:
        """End it by SIGTERM and return what it says it generated; again: the same answer."""
        if self._truth is None:
            self._process.send_signal(signal.SIGTERM)
            out, _ = self._process.communicate(timeout=STOP_TIMEOUT_S)
            assert self._process.returncode == 0, f"the simulator ended with {self._process.returncode}"
            truth: dict[str, Any] = json.loads(out.splitlines()[-1])
            self._truth = truth
        return self._truth


@contextmanager
def opend_simulator(*options: Option) -> Iterator[Simulator]:
    """`ticktape simulate opend` on a free port, with more options as on the command line.

    Its log goes to this process's standard error. A simulator that is still running at the end of the
    block is killed.

        with opend_simulator("--symbols", 20, "--rate", 500) as opend:
            ...connect to opend.port...
            truth = opend.stop()
    """
    with _simulator("opend", options) as simulator:
        yield simulator


@contextmanager
def longport_simulator(*options: Option) -> Iterator[Simulator]:
    """`ticktape simulate longport` on free ports, both of them; otherwise as `opend_simulator`."""
    with _simulator("longport", ("--tcp-port", 0, *options)) as simulator:
        yield simulator


@contextmanager
def flow_list_simulator(*options: Option) -> Iterator[Simulator]:
    """`ticktape simulate flow-list` on a free port; otherwise as `opend_simulator`."""
    with _simulator("flow-list", options) as simulator:
        yield simulator


@contextmanager
def _simulator(name: str, options: tuple[Option, ...]) -> Iterator[Simulator]:
    command = [sys.executable, "-m", "ticktape.simulate", name, "--port", "0", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Simulator(process, wait_until_listening(process))
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_listening(process: subprocess.Popen[str]) -> str:
    """The address it prints."""
    assert process.stdout is not None
    deadline_s = time.monotonic() + START_TIMEOUT_S
    waiting = selectors.DefaultSelector()  # select() knows no descriptor above 1023
    waiting.register(process.stdout, selectors.EVENT_READ)
    while time.monotonic() < deadline_s:
        if waiting.select(0.2):
            line = process.stdout.readline()
            assert line.startswith("listening "), f"the simulator said {line!r} and ended with {process.poll()}"
            return line.removeprefix("listening ").strip()
    raise TimeoutError(f"the simulator was not ready after {START_TIMEOUT_S} s")
