"""Several relays under one worker's name, one after the other or at the same time, and a worker that stands still."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from aiokafka.errors import ProducerFenced
from structlog.typing import EventDict

from sinks.journal import Journal
from sinks.kafka import KafkaConfig
from sinks.relay import SILENT_S, Relay
from sinks.relay_errors import TransactionLost
from sinks.relay_session import RelaySession
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
def test_silence_a_zombie_that_resumes_before_its_commit_leaves_its_successor_alone(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """What it was about to commit is not there twice, and it says who has its name. Else both fence each other."""
    monkeypatch.setattr("sinks.relay_session.IDLE_S_MAX", 0.5)
    records = mixed_records(50, seed=36)
    append_all(journal, records)
    tricks = ["stop-before-commit"] if guarded else ["without-silence", "stop-before-commit"]
    with relay_process(journal, config, *tricks) as zombie:
        wait_until(lambda: zombie.is_stopped)
        successor = make_relay(config)
        wait_until(drained(successor, journal))
        zombie.resume()
        if guarded:
            wait_until(lambda: zombie.says_taken)
            append_all(journal, more := mixed_records(20, seed=37))
            wait_until(drained(successor, journal))
            assert (successor.stats.last_trouble, zombie.rows) == (None, 0)
            records += more
        else:
            wait_until(lambda: "ended our transaction" in (successor.stats.last_trouble or ""))
    assert journal_offsets(read_topics(config)) == offsets_of_places(config, records)


@with_and_without
def test_predecessor_a_relay_fenced_before_its_first_position_does_not_wait_for_a_dead_one(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The newest position is then of a process that its own start has fenced, not of one that took its name."""
    if not guarded:
        monkeypatch.setattr(Relay, "_found", property(lambda _: None, lambda *_: None), raising=False)
    records = mixed_records(20, seed=45)
    append_all(journal, records[:10])
    predecessor = make_relay(config)
    wait_until(drained(predecessor, journal))
    predecessor.stop(5)
    append_all(journal, records[10:])
    run = RelaySession.run
    lost: list[RelaySession] = []

    async def lose_the_first(session: RelaySession) -> None:
        if not lost:
            lost.append(session)
            raise TransactionLost(ProducerFenced())
        await run(session)

    monkeypatch.setattr(RelaySession, "run", lose_the_first)
    relay = make_relay(config)
    if guarded:
        wait_until(drained(relay, journal), SILENT_S / 2)
        assert "ProducerFenced" in (relay.stats.last_trouble or "")
    else:
        wait_until(lambda: "another process relays" in (relay.stats.trouble or ""))
    assert len(lost) == 1


@pytest.mark.parametrize("predecessor", ["none", "dead"])
def test_two_that_start_together_settle_it(
    journal: Journal, make_relay: MakeRelay, config: KafkaConfig, tmp_path: Path, predecessor: str
) -> None:
    """Neither has written a position yet when it is fenced."""
    if predecessor == "dead":
        dead = make_relay(config)
        wait_until(lambda: dead.stats.ready)
        dead.stop(5)
    other = open_journal(tmp_path / "other")
    relays = [make_relay(config), make_relay(config, other)]

    def settled() -> bool:
        taken = ["another process relays as worker w-0" in (relay.stats.trouble or "") for relay in relays]
        return sorted(taken) == [False, True] and relays[taken.index(False)].stats.ready

    wait_until(settled)
    time.sleep(1)
    assert settled(), "for good"
    other.close()


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
    received = of_worker(read_topics(own_config), "w-0")
    assert journal_offsets(received) == offsets_of_places(own_config, records + more)
    other.close()
