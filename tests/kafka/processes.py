"""Relays in processes of their own, as a test holds them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from sinks.journal import Journal
from sinks.kafka import KafkaConfig


class RelayProcess:
    """`tests.kafka.relay_process`, and what it has said so far."""

    def __init__(self, journal: Journal, config: KafkaConfig, *tricks: str) -> None:
        command = [sys.executable, "-m", "tests.kafka.relay_process", str(journal.path)]
        command += [config.bootstrap_servers, config.topic_prefix, journal.worker, *tricks]
        self.lines: list[str] = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    @property
    def rows(self) -> int:
        """Published so far."""
        return int(self.lines[-1].split()[0]) if self.lines else 0

    @property
    def is_stopped(self) -> bool:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")

    @property
    def says_taken(self) -> bool:
        """Whether it just now leaves its worker's name to another process."""
        return "another process relays as worker w-0" in "".join(self.lines[-1:])

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listening.join()


@contextlib.contextmanager
def relay_process(journal: Journal, config: KafkaConfig, *tricks: str) -> Iterator[RelayProcess]:
    process = RelayProcess(journal, config, *tricks)
    try:
        yield process
    finally:
        process.kill()
