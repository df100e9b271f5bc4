"""Journals, relays and Kafkas that the tests of the relay share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from sinks.journal import Journal, JournalReader
from sinks.kafka import KafkaConfig
from sinks.relay import RELAY_READER_NAME, Relay
from tests.kafka.support import PREFIXES, make_topics
from tests.support.kafka import KafkaServer

MakeRelay = Callable[..., Relay]


def open_journal(path: Path, worker: str = "w-0") -> Journal:
    return Journal.open(path, free_bytes_min=0, worker=worker, readers=(RELAY_READER_NAME,))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def make_relay(journal: Journal) -> Iterator[MakeRelay]:
    """Relays of `journal` or another one, stopped and closed at the end."""
    made: list[tuple[Relay, JournalReader]] = []

    def make(config: KafkaConfig, of: Journal = journal) -> Relay:
        reader = JournalReader(of.path, RELAY_READER_NAME)
        relay = Relay(reader, config, of.worker)
        of.appended.append(relay.wake)
        made.append((relay, reader))
        relay.start()
        return relay

    yield make
    for relay, reader in made:
        relay.stop(0)
        reader.close()


@pytest.fixture
def config(kafka_bootstrap: str) -> KafkaConfig:
    """A Kafka with topics that no other test uses."""
    config = KafkaConfig(kafka_bootstrap, topic_prefix=next(PREFIXES), partitions=3)
    make_topics(config)
    return config


@pytest.fixture(scope="session")
def own_server(real_brokers: None) -> Iterator[KafkaServer]:
    """A broker that a test may stop, kill and freeze; it leaves it running."""
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def real_brokers() -> None:
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("only a real broker can be stopped")


@pytest.fixture
def own_config(own_server: KafkaServer) -> KafkaConfig:
    config = KafkaConfig(own_server.bootstrap_servers, topic_prefix=next(PREFIXES), partitions=3)
    make_topics(config)
    return config


@pytest.fixture
def log_lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines
