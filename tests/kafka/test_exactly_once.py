"""What keeps the relay to exactly once, each guard with the one failure that only it closes.

Readers are read_committed throughout.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from structlog.typing import EventDict

from sinks import relay as relay_module
from sinks.journal import Journal
from sinks.kafka import KafkaConfig
from sinks.relay_kafka import connected_producers
from sinks.relay_transaction import Transaction
from tests.kafka.conftest import MakeRelay, open_journal
from tests.kafka.support import (
    append_all,
    drained,
    journal_offsets,
    mixed_records,
    offsets_of_places,
    read_topics,
    wait_until,
)

pytestmark = pytest.mark.kafka


class RelayProcess:
    """`tests.kafka.relay_process`, and what it has said so far."""

    def __init__(self, journal: Journal, config: KafkaConfig, trick: str = "") -> None:
        command = [sys.executable, "-m", "tests.kafka.relay_process", str(journal.path)]
        command += [config.bootstrap_servers, config.topic_prefix, journal.worker, trick]
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

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listening.join()


@contextlib.contextmanager
def relay_process(journal: Journal, config: KafkaConfig, trick: str = "") -> Iterator[RelayProcess]:
    process = RelayProcess(journal, config, trick)
    try:
        yield process
    finally:
        process.kill()


def test_transaction_killed_between_records_and_position_nothing_is_there_twice(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig
) -> None:
    records = mixed_records(60, seed=31)
    append_all(journal, records)
    with relay_process(journal, config, "die-before-position") as died:
        assert died.process.wait(60) == -signal.SIGKILL
    assert read_topics(config) == {}, "acknowledged, and not to be seen"
    relay = make_relay(config)
    wait_until(drained(relay, journal))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


def test_killed_at_any_instant_every_entry_is_there_once(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig
) -> None:
    records = mixed_records(4000, seed=26)
    rng = random.Random(26)
    for start in range(0, 4000, 1000):
        append_all(journal, records[start : start + 1000])
        with relay_process(journal, config) as process:
            wait_until(lambda: process.rows > 0)
            time.sleep(rng.uniform(0, 0.2))
    relay = make_relay(config)
    wait_until(drained(relay, journal))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


def test_position_that_kafka_knows_wins_over_the_journals_own(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, tmp_path: Path
) -> None:
    """As after a kill before the journal heard of the last commits: the journal is put back to where it was."""
    records = mixed_records(90, seed=32)
    append_all(journal, records[:60])
    shutil.copytree(journal.path, tmp_path / "before")
    first = make_relay(config)
    wait_until(drained(first, journal))
    first.stop(5)
    before = open_journal(tmp_path / "before")
    append_all(before, records[60:])
    second = make_relay(config, before)
    wait_until(drained(second, before))
    received = read_topics(config)
    assert journal_offsets(received) == offsets_of_places(config, records)
    for place, offsets in offsets_of_places(config, records).items():
        rows = sum(records[offset].rows for offset in offsets)
        assert dict(received[place][-1].headers)["ticktape-rows-total"] == b"%d" % rows
    before.close()


def test_position_is_of_one_journal_a_new_one_begins_at_its_first_entry(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, tmp_path: Path
) -> None:
    """A new volume under an old worker's name."""
    records = mixed_records(40, seed=33)
    append_all(journal, records)
    first = make_relay(config)
    wait_until(drained(first, journal))
    first.stop(5)
    renewed = open_journal(tmp_path / "renewed")
    assert (renewed.worker, renewed.id != journal.id) == (journal.worker, True)
    append_all(renewed, records)
    second = make_relay(config, renewed)
    wait_until(drained(second, renewed))
    received = journal_offsets(read_topics(config))
    assert received == {place: offsets * 2 for place, offsets in offsets_of_places(config, records).items()}
    renewed.close()


def test_a_journal_that_was_put_back_from_a_copy_is_not_passed_over(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, tmp_path: Path
) -> None:
    """Its new entries bear offsets that Kafka has seen: by the position alone they would be skipped."""
    records = mixed_records(60, seed=34)
    append_all(journal, records[:20])
    for name in ("short", "long"):
        shutil.copytree(journal.path, tmp_path / name)
    append_all(journal, records[20:])
    first = make_relay(config)
    wait_until(drained(first, journal))
    first.stop(5)
    for name, count in (("short", 5), ("long", 45)):
        copy = open_journal(tmp_path / name)
        append_all(copy, mixed_records(count, seed=35))
        relay = make_relay(config, copy)
        wait_until(lambda: "put back from an older copy" in (relay.stats.trouble or ""))  # noqa: B023
        relay.stop(0)
        copy.close()
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


def test_fencing_a_zombie_that_resumes_before_its_commit_adds_nothing(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig
) -> None:
    """Its successor has sent the same records meanwhile. It then says who has its name, and leaves him alone."""
    records = mixed_records(50, seed=36)
    append_all(journal, records)
    with relay_process(journal, config, "stop-before-commit") as zombie:
        wait_until(lambda: zombie.is_stopped)
        successor = make_relay(config)
        wait_until(drained(successor, journal))
        zombie.resume()
        wait_until(lambda: "another process relays as worker w-0" in "".join(zombie.lines[-1:]))
        append_all(journal, more := mixed_records(20, seed=37))
        wait_until(drained(successor, journal))
        assert successor.stats.last_trouble is None
        assert zombie.rows == 0
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records + more)


def test_fencing_comes_before_the_position_is_read(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predecessor commits at the last moment before its ids are taken: its records are not sent again."""
    records = mixed_records(50, seed=42)
    append_all(journal, records)
    connect = connected_producers
    with relay_process(journal, config, "stop-before-commit") as predecessor:
        wait_until(lambda: predecessor.is_stopped)

        @contextlib.asynccontextmanager
        async def connect_after_a_commit(*arguments: Any) -> AsyncIterator[Any]:
            predecessor.resume()
            wait_until(lambda: predecessor.rows == journal.rows_total)
            async with connect(*arguments) as producers:
                yield producers

        monkeypatch.setattr(relay_module, "connected_producers", connect_after_a_commit)
        relay = make_relay(config)
        append_all(journal, more := mixed_records(20, seed=43))
        wait_until(drained(relay, journal))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records + more)


def test_turns_a_transaction_waits_for_the_one_before_it_and_falls_with_it(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position lies behind the other's records."""
    records = mixed_records(80, seed=44)
    commit = Transaction.commit
    failed: list[Transaction] = []

    async def fail_slowly(transaction: Transaction) -> None:
        if transaction.recv_ns and not failed:
            failed.append(transaction)
            append_all(journal, records[40:])
            await asyncio.sleep(0.5)
            raise KafkaConnectionError("gone")
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", fail_slowly)
    append_all(journal, records[:40])
    relay = make_relay(config)
    wait_until(drained(relay, journal))
    assert failed
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


def test_two_that_share_a_name_settle_it_and_the_loser_takes_over_when_the_other_is_gone(
    journal: Journal,
    make_relay: MakeRelay,
    config: KafkaConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[EventDict],
) -> None:
    monkeypatch.setattr("sinks.relay.SILENT_S", 2.0)
    monkeypatch.setattr("sinks.relay_session.IDLE_S_MAX", 0.5)
    other = open_journal(tmp_path / "other")
    elder, records = make_relay(config), mixed_records(6, seed=38)
    append_all(journal, records)
    wait_until(drained(elder, journal))
    younger = make_relay(config, other)
    wait_until(lambda: younger.stats.ready)
    wait_until(lambda: "another process relays as worker w-0" in (elder.stats.trouble or ""))
    append_all(journal, records)
    time.sleep(3)
    assert (elder.lag_rows(journal.rows_total) > 0, younger.stats.ready) == (True, True)
    lines = [line for line in log_lines if "another process relays" in str(line.get("error"))]
    assert len(lines) == 1, "said once"
    younger.stop(0)
    wait_until(drained(elder, journal))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records + records)
    other.close()


def test_a_worker_that_stands_still_delays_others_and_repeats_nothing(
    journal: Journal, make_relay: MakeRelay, own_config: KafkaConfig, tmp_path: Path
) -> None:
    """Stopped or dead, its open transaction hides what others send to its partitions until the broker ends it."""
    records, others = mixed_records(50, seed=39), mixed_records(30, seed=40)
    append_all(journal, records)
    other = open_journal(tmp_path / "other", worker="w-1")
    with relay_process(journal, own_config, "stop-before-commit") as sleeper:
        wait_until(lambda: sleeper.is_stopped)
        began_s = time.monotonic()
        append_all(other, others)
        relay = make_relay(own_config, other)
        wait_until(lambda: len(read_topics(own_config)) == len(offsets_of_places(own_config, others)), 30)
        # 4 s, and up to 10 s until the broker looks; the rest is what reading takes on a busy machine.
        assert time.monotonic() - began_s < 18
        assert journal_offsets(read_topics(own_config)) == offsets_of_places(own_config, others)
        wait_until(drained(relay, other))
        sleeper.resume()
        wait_until(lambda: sleeper.rows == journal.rows_total)
        append_all(journal, more := mixed_records(20, seed=41))
        wait_until(lambda: sleeper.rows == journal.rows_total)
    received = read_topics(own_config)
    of_sleeper = {
        place: [each for each in kafka_records if dict(each.headers)["ticktape-worker"] == b"w-0"]
        for place, kafka_records in received.items()
    }
    assert journal_offsets(of_sleeper) == offsets_of_places(own_config, records + more)
    other.close()
