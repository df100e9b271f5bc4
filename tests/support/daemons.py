"""ticktape's own commands as processes, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S_MAX = 60.0
STOP_S_MAX = 10.0
"""contract.md: a daemon drains and exits within this."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ticktape(config: Path, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "ticktape", "-c", str(config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def query_json(config: Path, sql: str) -> list[dict[str, Any]]:
    """The rows that `ticktape query` gives; int64 columns may be numbers or strings, as ClickHouse writes them."""
    done = ticktape(config, "query", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


class Daemon:
    """A running `ticktape up`, `ingest` or `sink`."""

    def __init__(self, process: subprocess.Popen[bytes], http_port: int, log: Path) -> None:
        self.process, self._http_port, self.log = process, http_port, log

    def get(self, path: str) -> str:
        """The body of one of its endpoints, whatever the status; empty while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}{path}", timeout=5) as reply:
                body: bytes = reply.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        except OSError:
            body = b""
        return body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of `name` whose labels include `labels`."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            if match := re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line):
                found = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
                if labels.items() <= found.items():
                    total += float(match[2])
        return total

    def wait_until(self, holds: Callable[[], bool], what: str, timeout_s: float = START_S_MAX) -> None:
        """Wait for `holds`; fails with the log's end when it does not come, or the daemon ends."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline_s:
                why = f"exited with {ended}" if ended is not None else f"not within {timeout_s:g} s"
                raise AssertionError(f"{what}: {why}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> float:
        """SIGTERM; returns the seconds until it exited, which it must with 0."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=STOP_S_MAX + 5)
        took_s = time.monotonic() - began_s
        assert code == 0, f"exit code {code}\n{self.log.read_text()[-4000:]}"
        assert took_s <= STOP_S_MAX, f"took {took_s:.1f} s to stop"
        return took_s


@contextmanager
def daemon(role: str, config: Path, http_port: int, program: str = "ticktape") -> Iterator[Daemon]:
    """`ticktape ROLE -c config`, killed at the end of the block if it still runs; its log is beside `config`.

    `program` is a module to run in place of `ticktape`, with the same arguments.
    """
    log = config.parent / f"{role}.log"
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            [sys.executable, "-m", program, "-c", str(config), "--log-format", "json", role],
            stdout=sink,
            stderr=sink,
            env={**os.environ, "NO_PROXY": "127.0.0.1,localhost"},
        ) as process,
    ):
        try:
            yield Daemon(process, http_port, log)
        finally:
            if process.poll() is None:
                process.kill()
