"""All that takes part: gateway, Kafka, ClickHouse, two workers and two sinks, each a process, and the links between."""

from __future__ import annotations

import contextlib
import re
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.chaos.config import DISK_BYTES, write_config
from tests.chaos.disk import SmallDisk
from tests.chaos.opend import OpenD
from tests.chaos.plan import CLICKHOUSE, KAFKA, LINKS, SINKS, WORKERS
from tests.chaos.process import Process, python
from tests.chaos.proxy import Proxy
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.daemons import ticktape
from tests.support.kafka import KafkaServer
from tests.support.ports import steady_ports

_ANSWER_S_MAX = 2.0
_GAUGE = re.compile(r'(ticktape_lag_rows|ticktape_gaps)\{(?:hop|state)="(\w+)"\} (\S+)')


class Actor(Protocol):
    """A process that faults strike."""

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def freeze(self, *, frozen: bool) -> None: ...

    def ended(self) -> int | None:
        """The code with which it ended by itself, which nobody asked for; None while all is well."""
        ...


class Stage:
    """Starts everything, and ends it in any case. A context manager.

    Attributes
    ----------
    actors : by name
    has_disks : whether the workers' journals are on small disks of their own
    """

    def __init__(self, folder: Path, *, seed: int, rate: float, has_disks: bool) -> None:
        self.folder, self.has_disks = folder, has_disks
        self.proxy = Proxy(LINKS)
        self.opend = OpenD(folder, seed, rate)
        self.clickhouse = ClickHouseHttp(folder / CLICKHOUSE, steady_ports(1)[0])
        self.disks: dict[str, SmallDisk] = {}
        self.actors: dict[str, Actor] = {}
        self._http_ports = dict(zip((*WORKERS, *SINKS), steady_ports(4), strict=True))
        self._daemons: list[Process] = []
        self._kafka: KafkaServer | None = None
        self._ending = contextlib.ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        """Kafka without a proxy before it."""
        assert self._kafka is not None
        return self._kafka.bootstrap_servers

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as ending:
            ending.enter_context(self.proxy)
            ending.enter_context(self.opend)
            to_kafka = [link for link in LINKS if link.endswith(f":{KAFKA}")]
            folder = self.folder / KAFKA
            folder.mkdir()
            self._kafka = KafkaServer(proxy_ports=[self.proxy.ports[link] for link in to_kafka], folder=folder)
            ending.enter_context(self._kafka)
            ending.enter_context(self.clickhouse)
            self.actors |= {KAFKA: self._kafka, CLICKHOUSE: self.clickhouse}
            targets = dict(zip(to_kafka, self._kafka.link_ports, strict=True))
            for link in LINKS:
                leads_to = self.opend.port if link.endswith(":opend") else self.clickhouse.port
                self.proxy.lead(link, targets.get(link, leads_to))
            for name in (*WORKERS, *SINKS):
                ending.callback(self._add_daemon(name, ending).kill)
            applied = ticktape(self._config(SINKS[0]), "schema", "apply")
            assert applied.returncode == 0, applied.stderr
            for daemon in self._daemons:
                daemon.start()
            self._ending = ending.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.__exit__(kind, error, at)

    def trouble(self) -> str | None:
        """Why not everything that was received is stored, as far as the daemons say; None when it is."""
        for name in (*WORKERS, *SINKS):
            if '"ready": true' not in self._get(name, "/readyz"):
                return f"{name} is not ready"
            metrics = self._get(name, "/metrics")
            waiting = {match[2]: float(match[3]) for match in _GAUGE.finditer(metrics)}
            for what in ("journal", "kafka", "clickhouse", "open"):
                if waiting.get(what, 0.0) > 0:
                    return f"{name}: {what} {waiting[what]:,.0f}"
            if not metrics:
                return f"{name} does not answer"
        return None

    def _add_daemon(self, name: str, ending: contextlib.ExitStack) -> Process:
        journal = self.folder / f"journal-{name}"
        ports = {link.partition(":")[2]: self.proxy.ports[link] for link in LINKS if link.startswith(f"{name}:")}
        write_config(self._config(name), name, journal, self._http_ports[name], ports)
        module, role = ("ticktape", "ingest") if name in WORKERS else ("tests.chaos.sink", "sink")
        command = python(module, "-c", str(self._config(name)), "--log-format", "json", role)
        if self.has_disks and name in WORKERS:
            self.disks[name] = ending.enter_context(SmallDisk(journal, DISK_BYTES))
            command = self.disks[name].inside(command)
        daemon = Process(name, command, self.folder / f"{name}.log")
        self.actors[name] = daemon
        self._daemons.append(daemon)
        return daemon

    def _config(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    def _get(self, name: str, path: str) -> str:
        """The body, whatever the status; empty when nobody answers."""
        url = f"http://127.0.0.1:{self._http_ports[name]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_S_MAX) as reply:
                body: bytes = reply.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        except OSError:
            body = b""
        return body.decode()
