"""What keeps the relay to exactly once, each guard with the one failure that only it closes.

See `tests.support.guards`. Readers are read_committed throughout.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from sinks import relay as relay_module
from sinks.journal import Journal, JournalReader
from sinks.kafka import KafkaConfig
from sinks.relay import Relay
from sinks.relay_kafka import connected_producers
from sinks.relay_positions import Positions, open_positions
from sinks.relay_session import RelaySession
from sinks.relay_transaction import Names, Transaction
from tests.kafka.conftest import MakeRelay, open_journal
from tests.kafka.processes import relay_process
from tests.kafka.support import (
    append_all,
    drained,
    journal_offsets,
    mixed_records,
    of_worker,
    offsets_of_places,
    read_topics,
    wait_until,
)
from tests.support.guards import with_and_without

pytestmark = pytest.mark.kafka


@with_and_without
def test_transaction_killed_between_records_and_position_nothing_is_there_twice(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, guarded: bool
) -> None:
    records = mixed_records(40, seed=31)
    append_all(journal, records)
    tricks = ["die-before-position"] if guarded else ["without-transactions", "die-before-position"]
    with relay_process(journal, config, *tricks) as died:
        assert died.process.wait(60) == -signal.SIGKILL
    assert (read_topics(config) == {}) is guarded, "acknowledged, and not to be seen"
    relay = make_relay(config)
    wait_until(drained(relay, journal))
    received, once = journal_offsets(read_topics(config)), offsets_of_places(config, records)
    assert {place: sorted(set(offsets)) for place, offsets in received.items()} == once
    assert (received == once) is guarded


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


@with_and_without
def test_position_that_kafka_knows_wins_over_the_journals_own(
    journal: Journal,
    make_relay: MakeRelay,
    config: KafkaConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    guarded: bool,
) -> None:
    """As after a kill before the journal heard of the last commits: the journal is put back to where it was."""
    if not guarded:
        monkeypatch.setattr(Relay, "_position_of", lambda relay, _: relay_module._local_position(relay._reader))
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
    received, once = read_topics(config), offsets_of_places(config, records)
    assert (journal_offsets(received) == once) is guarded
    for place, offsets in once.items():
        rows = sum(records[offset].rows for offset in offsets)
        assert dict(received[place][-1].headers)["ticktape-rows-total"] == b"%d" % rows
    before.close()


@with_and_without
def test_position_is_of_one_journal_a_new_one_begins_at_its_first_entry(
    journal: Journal,
    make_relay: MakeRelay,
    config: KafkaConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    guarded: bool,
) -> None:
    """A new volume under an old worker's name; by the position alone all of it would be passed over."""
    if not guarded:
        monkeypatch.setattr(relay_module, "Names", lambda worker, _, holder: Names(worker, "any", holder))
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
    times = 2 if guarded else 1
    received = journal_offsets(read_topics(config))
    assert received == offsets_of_places(config, records, times)
    renewed.close()


@with_and_without
@pytest.mark.parametrize(("copy", "count"), [("shorter", 5), ("longer", 45)])
def test_copy_a_journal_that_was_put_back_from_one_is_not_passed_over(
    journal: Journal,
    make_relay: MakeRelay,
    config: KafkaConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: str,
    count: int,
    guarded: bool,
) -> None:
    """Its new entries bear offsets that Kafka has seen: by the position alone they would be skipped."""
    if not guarded:
        monkeypatch.setattr(JournalReader, "fits", lambda *_: True)
    records = mixed_records(60, seed=34)
    append_all(journal, records[:20])
    shutil.copytree(journal.path, tmp_path / copy)
    append_all(journal, records[20:])
    first = make_relay(config)
    wait_until(drained(first, journal))
    first.stop(5)
    put_back = open_journal(tmp_path / copy)
    append_all(put_back, mixed_records(count, seed=35))
    relay = make_relay(config, put_back)
    if guarded:
        wait_until(lambda: "put back from an older copy" in (relay.stats.trouble or ""))
    else:
        wait_until(lambda: relay.stats.ready)
    relay.stop(5)
    sent = sum(map(len, read_topics(config).values())) - len(records)
    assert sent == (0 if guarded else max(20 + count - 60, 0)), "without, the rest is lost and nobody hears of it"
    put_back.close()


@with_and_without
def test_fencing_a_zombie_that_resumes_between_transactions_adds_nothing(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """It begins a transaction at a position where it still thinks to be; its successor has sent the same meanwhile.

    An open transaction of it the successor would see, and the broker would end: of this one nobody knows.
    """
    if not guarded:
        monkeypatch.setattr(
            relay_module, "transactional_ids", lambda config, _: [f"{config.topic_prefix}.other-{n}" for n in range(2)]
        )
    records = mixed_records(50, seed=36)
    append_all(journal, records)
    with relay_process(journal, config, "stop-between-transactions") as zombie:
        wait_until(lambda: zombie.is_stopped)
        successor = make_relay(config)
        wait_until(drained(successor, journal))
        zombie.resume()
        wait_until(lambda: zombie.says_taken if guarded else zombie.rows == journal.rows_total)
        assert guarded is (zombie.rows == 0)
    times = 1 if guarded else 2
    received = journal_offsets(read_topics(config))
    assert received == offsets_of_places(config, records, times)


@with_and_without
def test_fencing_comes_before_the_position_is_read(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """A predecessor begins and commits at the last moment before its ids are taken: that is not sent again."""
    records = mixed_records(50, seed=42)
    append_all(journal, records)
    with relay_process(journal, config, "stop-between-transactions") as predecessor:
        wait_until(lambda: predecessor.is_stopped)

        @contextlib.asynccontextmanager
        async def connect_after_a_commit(config: KafkaConfig, options: Any, ids: Any) -> AsyncIterator[Any]:
            if not guarded:
                await read_too_early(config, options)
            predecessor.resume()
            wait_until(lambda: predecessor.rows == sum(record.rows for record in records))
            async with connected_producers(config, options, ids) as producers:
                yield producers

        async def read_too_early(config: KafkaConfig, options: Any) -> None:
            async with open_positions(config, options, journal.worker) as positions:
                await positions.read_to_end()
            monkeypatch.setattr(Positions, "read_to_end", lambda _: asyncio.sleep(0))
            monkeypatch.setattr(relay_module, "open_positions", lambda *_: contextlib.nullcontext(positions))

        monkeypatch.setattr(relay_module, "connected_producers", connect_after_a_commit)
        relay = make_relay(config)
        wait_until(drained(relay, journal))
        append_all(journal, more := mixed_records(20, seed=43))
        wait_until(drained(relay, journal))
    received, once = journal_offsets(read_topics(config)), offsets_of_places(config, records + more)
    assert {place: sorted(set(offsets)) for place, offsets in received.items()} == once
    assert (received == once) is guarded


@with_and_without
def test_position_lies_behind_an_open_transaction_of_another_worker(
    journal: Journal,
    make_relay: MakeRelay,
    config: KafkaConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    guarded: bool,
) -> None:
    """It is waited for, not taken to be missing; the journal never heard of it, as after a kill."""
    if not guarded:
        monkeypatch.setattr(AIOKafkaConsumer, "highwater", AIOKafkaConsumer.last_stable_offset)
    other = open_journal(tmp_path / "other", worker="w-1")
    append_all(other, mixed_records(10, seed=46))
    shutil.copytree(journal.path, tmp_path / "before")
    before = open_journal(tmp_path / "before")
    first, records = make_relay(config), mixed_records(30, seed=47)
    wait_until(lambda: first.stats.ready)
    with relay_process(other, config, "patient-broker", "stop-before-commit") as sleeper:
        wait_until(lambda: sleeper.is_stopped)
        for each in (journal, before):
            append_all(each, records)
        wait_until(drained(first, journal))
        first.stop(5)
        second = make_relay(config, before)
        if guarded:
            time.sleep(1)
            assert not second.stats.ready
        else:
            wait_until(drained(second, before))
        sleeper.resume()
        wait_until(lambda: sleeper.rows == other.rows_total)
        wait_until(drained(second, before))
    times = 1 if guarded else 2
    received = journal_offsets(of_worker(read_topics(config), "w-0"))
    assert received == offsets_of_places(config, records, times)
    before.close()
    other.close()


@with_and_without
def test_turns_a_transaction_waits_for_the_one_before_it_and_falls_with_it(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Its position lies behind the other's records."""
    records = mixed_records(20, seed=44)
    commit_and_note, commit = RelaySession._commit, Transaction.commit
    failed: list[Transaction] = []
    overtaken = asyncio.Event()
    unawaited: list[asyncio.Future[Any]] = []

    async def fail_slowly(transaction: Transaction) -> None:
        if transaction.recv_ns and not failed:
            failed.append(transaction)
            journal.append(records[10:])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5 if guarded else 10):
                    await overtaken.wait()
            raise KafkaConnectionError("gone")
        await commit(transaction)
        if failed:
            overtaken.set()

    async def commit_unawaited(session: RelaySession, transaction: Transaction) -> None:
        unawaited.append(asyncio.gather(commit_and_note(session, transaction), return_exceptions=True))

    monkeypatch.setattr(Transaction, "commit", fail_slowly)
    if not guarded:
        monkeypatch.setattr(RelaySession, "_commit", commit_unawaited)
    journal.append(records[:10])
    relay = make_relay(config)
    wait_until(drained(relay, journal))
    assert failed
    received = [offset for offsets in journal_offsets(read_topics(config)).values() for offset in offsets]
    assert sorted(received) == list(range(0 if guarded else 10, 20))
