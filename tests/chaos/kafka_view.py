"""What a reader of committed records sees: everything since the beginning, a round at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, TopicPartition
from numpy.typing import NDArray

from codec.tables import TABLES, TICKS
from sinks.kafka import KafkaConfig
from tests.chaos.config import PARTITIONS, PREFIX
from ticktape.simulate.checksum import mix_ticks

READ_S_MAX = 30.0
_SHOWN_MAX = 5


class Message(Protocol):
    """As confluent-kafka gives it."""

    def topic(self) -> str: ...

    def partition(self) -> int: ...

    def headers(self) -> list[tuple[str, bytes]] | None: ...

    def value(self) -> bytes: ...


class KafkaView:
    """Everything read so far, and what is wrong with it.

    Rule 1: an entry of a worker's journal is in Kafka once: of each journal every offset, none twice.
    Rule 2: within a partition a worker's records are in the order of its journal.
    """

    def __init__(self) -> None:
        self._repeats: Counter[str] = Counter()
        self._disorders: list[str] = []
        self._offsets: dict[tuple[str, str], set[int]] = {}
        self._last: dict[tuple[str, int, str, str], int] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._sequences: dict[str, list[NDArray[np.int64]]] = {}
        self._checksums: Counter[str] = Counter()
        self.records = 0

    def read_on(self, bootstrap_servers: str) -> None:
        """Read what was committed since the last time. Raises TimeoutError when Kafka does not let us."""
        topics = [KafkaConfig(bootstrap_servers, topic_prefix=PREFIX).topic_of(table.name) for table in TABLES]
        places = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        consumer = _consumer(bootstrap_servers)
        try:
            consumer.assign([TopicPartition(*place, self._positions.get(place, 0)) for place in places])
            unread, deadline_s = set(places), time.monotonic() + READ_S_MAX
            while unread:
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"Kafka cannot be read to the end of {sorted(unread)}")
                received: list[Any] = consumer.consume(num_messages=500, timeout=0.2)
                for message in received:
                    error, place = message.error(), (message.topic(), message.partition())
                    if error is None:
                        self._positions[place] = message.offset() + 1
                        self.take(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        self._positions[place] = message.offset()
                        unread.discard(place)
        finally:
            consumer.close()

    def take(self, message: Message) -> None:
        """One more record."""
        self.records += 1
        headers = dict(message.headers() or [])
        worker, journal = headers["ticktape-worker"].decode(), headers["ticktape-journal"].decode()
        offset = int(headers["ticktape-journal-offset"])
        place = message.topic(), message.partition()
        seen = self._offsets.setdefault((worker, journal), set())
        if offset in seen:
            self._repeats[worker] += 1
        seen.add(offset)
        before = self._last.get((*place, worker, journal), -1)
        if offset < before:
            self._disorders.append(f"{place[0]}/{place[1]}: {worker}'s entry {offset} comes after {before}")
        self._last[(*place, worker, journal)] = offset
        if headers["ticktape-schema"] == TICKS.schema_name.encode():
            self._take_ticks(message.value())

    def _take_ticks(self, value: bytes) -> None:
        with pa.ipc.open_stream(value) as reader:
            [batch] = reader
        symbol: Any = batch.column("symbol")
        sequence, checksums = batch.column("sequence").to_numpy(), mixed(batch)
        for number, name in enumerate(symbol.dictionary.to_pylist()):
            ours = symbol.indices.to_numpy() == number
            if ours.any():
                self._sequences.setdefault(name, []).append(sequence[ours])
                self._checksums[name] = (self._checksums[name] + int(checksums[ours].sum())) % (1 << 64)

    def sequences(self) -> dict[str, NDArray[np.int64]]:
        """Of the ticks of each symbol, ascending."""
        for name, parts in self._sequences.items():
            self._sequences[name] = [np.sort(np.concatenate(parts))]
        return {name: parts[0] for name, parts in self._sequences.items()}

    def checksum(self, symbol: str) -> int:
        """Of all its ticks together (ticktape/simulate/checksum.py)."""
        return self._checksums[symbol]

    def differences(self) -> list[str]:
        """What breaks the rules."""
        found = [
            f"Kafka: {times:,} entries of {worker}'s journal come again" for worker, times in self._repeats.items()
        ]
        found += [f"Kafka: {each}" for each in self._disorders[:_SHOWN_MAX]]
        for (worker, journal), seen in self._offsets.items():
            if missing := max(seen) + 1 - len(seen):
                first = next(offset for offset in range(len(seen)) if offset not in seen)
                found.append(f"Kafka: {missing:,} entries of {worker}'s journal {journal} are not there, first {first}")
        return found


def mixed(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """The content of each tick, mixed (ticktape/simulate/checksum.py)."""
    column: Callable[[str], Any] = batch.column
    return mix_ticks(
        column("sequence").to_numpy(),
        column("price").to_numpy(),
        column("volume").to_numpy(),
        column("turnover").to_numpy(),
        column("direction").indices.to_numpy().astype(np.uint8),
        column("ts_event").cast(pa.int64()).to_numpy(),
    )


class DelayWatch:
    """How long a worker's ticks take from its socket to a reader of committed records, from now on."""

    def __init__(self, bootstrap_servers: str) -> None:
        topic = KafkaConfig(bootstrap_servers, topic_prefix=PREFIX).topic_of(TICKS.name)
        self._consumer = _consumer(bootstrap_servers)
        ends = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
        self._consumer.assign(ends)
        self.longest_s: dict[str, float] = {}

    def look(self) -> None:
        """Take what has come."""
        received: list[Any] = self._consumer.consume(num_messages=500, timeout=0.02)
        for message in received:
            if message.error() is None:
                _, received_ms = message.timestamp()
                worker = dict(message.headers())["ticktape-worker"].decode()
                delay_s = time.time() - received_ms / 1000
                self.longest_s[worker] = max(self.longest_s.get(worker, 0.0), delay_s)

    def close(self) -> None:
        self._consumer.close()


def _consumer(bootstrap_servers: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"{PREFIX}-check",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
