"""A Kafka for tests and benchmarks: the real broker when Java is here, librdkafka's stand-in when not.

`python -m tests.support.kafka` runs one by hand until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from tests.support.ports import steady_ports
from tests.support.tether import tethered

PROJECT = Path(__file__).resolve().parents[2]
POM = Path(__file__).with_suffix("") / "pom.xml"
JARS = PROJECT / ".cache" / "kafka"

CLUSTER_ID = "dGlja3RhcGUtdGVzdHMtMQ"
READY_S_MAX = 60.0
STOP_S_MAX = 20.0
START_ATTEMPTS = 3
"""A port that was free when we asked may be taken by the time the broker binds it."""

_PROPERTIES = """\
process.roles={roles}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

_LOG_FLAGS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
_STARTED = "Kafka Server started"


class KafkaStartError(RuntimeError):
    """The broker did not come up; the message ends with what it logged."""


def fetch_jars() -> Path:
    """The folder of the broker's jars, downloaded by Maven on first use; safe to call from many processes."""
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with open(JARS.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = JARS / "pom.xml"
        if marker.exists() and marker.read_bytes() == POM.read_bytes():
            return JARS
        shutil.rmtree(JARS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        subprocess.run([*command, "-DincludeScope=runtime", f"-DoutputDirectory={JARS}"], check=True, timeout=600)
        shutil.copy(POM, marker)
    return JARS


class KafkaServer:
    """One Apache Kafka in KRaft mode, on loopback.

    A context manager. `stop` and `start` keep port and data, as an outage does.

    Attributes
    ----------
    link_ports : where it listens for the clients of `proxy_ports`, one port each

    Parameters
    ----------
    proxy_ports : of this machine; a client that comes by one of them is told to come back that way
    folder : where its data stays when it stops; without it data are in a folder that goes then
    joins : the first broker of a cluster, of which this one is to be the second, node 2
    """

    def __init__(
        self,
        *,
        heap: str = "512m",
        proxy_ports: Sequence[int] = (),
        folder: Path | None = None,
        joins: KafkaServer | None = None,
    ) -> None:
        self._heap = heap
        self._joins = joins
        self._controller_port = 0
        self._proxy_ports = tuple(proxy_ports)
        self.link_ports: tuple[int, ...] = ()
        self._keeps = folder is not None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="ticktape-kafka-"))
        self._jars = fetch_jars()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def log_text(self) -> str:
        """What the broker wrote so far."""
        return (self._folder / "server.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        for attempt in range(START_ATTEMPTS):
            self._format()
            try:
                self.start()
            except KafkaStartError:
                if attempt + 1 == START_ATTEMPTS:
                    raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if not self._keeps:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the broker and return when it takes requests (about 4 s)."""
        assert self._process is None, "it runs already"
        with open(self._folder / "server.log", "wb") as log:
            command = tethered(self._java("kafka.Kafka", str(self._folder / "server.properties")))
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + READY_S_MAX
        while _STARTED not in self.log_text:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise KafkaStartError(f"Kafka did not start: {self.log_text[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut the broker down in order; `start` brings it back with its port and its records."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the broker at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self, *, frozen: bool) -> None:
        """Stop or resume the broker's process: connections stay open and nothing is answered."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def ended(self) -> int | None:
        """The code with which it ended by itself; None while it runs, and when we ended it."""
        return self._process.poll() if self._process is not None else None

    def _format(self) -> None:
        self._port, self._controller_port, *links = steady_ports(2 + len(self._proxy_ports))
        self.link_ports = tuple(links)
        data = self._folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        names = ["PLAINTEXT", *(f"LINK{number}" for number in range(len(links)))]
        ports = zip(names, (self._port, *links), (self._port, *self._proxy_ports), strict=True)
        listeners, advertised = [], []
        for name, port, advertised_port in ports:
            listeners.append(f"{name}://127.0.0.1:{port}")
            advertised.append(f"{name}://127.0.0.1:{advertised_port}")
        if self._joins is None:
            roles, controller_port = "broker,controller", self._controller_port
            listeners.append(f"CONTROLLER://127.0.0.1:{controller_port}")
        else:
            roles, controller_port = "broker", self._joins._controller_port
        properties = self._folder / "server.properties"
        properties.write_text(
            _PROPERTIES.format(
                roles=roles,
                node=1 if self._joins is None else 2,
                listeners=",".join(listeners),
                advertised=",".join(advertised),
                protocols=",".join(f"{name}:PLAINTEXT" for name in names),
                controller_port=controller_port,
                data=data,
            )
        )
        command = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
        subprocess.run(command, check=True, capture_output=True, timeout=READY_S_MAX)

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        flags = [f"-Xmx{self._heap}", f"-Xms{self._heap}", *_LOG_FLAGS]
        return ["java", *flags, "-cp", f"{self._jars}/*", main_class, *arguments]


class MockKafka:
    """librdkafka's in-process cluster: enough to send and read records, not to fail like a real one."""

    def __init__(self) -> None:
        self._owner = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
        (broker,) = self._owner.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = f"{broker.host}:{broker.port}"


def kind_of_kafka() -> str:
    """Which Kafka `bootstrap` will give, for people."""
    if external := os.environ.get("KAFKA_BOOTSTRAP"):
        return f"the one at {external} (KAFKA_BOOTSTRAP)"
    if shutil.which("java") and shutil.which("mvn"):
        return "Apache Kafka 4.1.0, started when needed"
    return "librdkafka's mock cluster, as there is no Java with Maven: weaker than a real broker"


@contextlib.contextmanager
def bootstrap() -> Iterator[str]:
    """Bootstrap servers of a Kafka that lives as long as the context; see `kind_of_kafka`."""
    if external := os.environ.get("KAFKA_BOOTSTRAP"):
        yield external
    elif shutil.which("java") and shutil.which("mvn"):
        with KafkaServer() as server:
            yield server.bootstrap_servers
    else:
        yield MockKafka().bootstrap_servers


if __name__ == "__main__":
    with bootstrap() as servers, contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(f"listening {servers}\n")
        sys.stdout.flush()
        signal.pause()
