"""What is kept of the windows of seen keys: the last snapshot, and exactly the records after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.journal import ControlStateError, Journal
from tests.support.records import make_record
from ticktape.window_store import JournalWindowStore


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "journal", free_bytes_min=0)
    yield journal
    journal.close()


def values(journal: Journal) -> tuple[bytes | None, list[bytes]]:
    snapshot, records = JournalWindowStore(journal).load()
    return snapshot, [record.value for record in records]


def test_without_a_snapshot_everything_is_read_again(journal: Journal) -> None:
    assert values(journal) == (None, [])
    journal.append([make_record(b"a"), make_record(b"b")])
    assert values(journal) == (None, [b"a", b"b"])


def test_a_snapshot_replaces_the_records_before_it(journal: Journal) -> None:
    store = JournalWindowStore(journal)
    journal.append([make_record(b"a")])
    store.save(b"knows a")
    assert values(journal) == (b"knows a", [])
    journal.append([make_record(b"b")])
    assert values(journal) == (b"knows a", [b"b"])
    assert values(journal) == (b"knows a", [b"b"]), "loading changes nothing"
    store.save(b"knows a and b")
    assert values(journal) == (b"knows a and b", [])


def test_it_survives_a_restart_and_holds_back_trimming(tmp_path: Path) -> None:
    path = tmp_path / "small"
    journal = Journal.open(path, bytes_max=1 << 20, free_bytes_min=0, readers=("writer",))
    JournalWindowStore(journal).save(b"nothing yet")
    kept = [bytes([number]) * 50_000 for number in range(12)]
    for value in kept:
        journal.append([make_record(value)])
    journal.control.commit("writer", journal.next_offset)
    journal.trim()
    journal.close()
    journal = Journal.open(path, bytes_max=1 << 20, free_bytes_min=0, readers=("writer",))
    assert values(journal) == (b"nothing yet", kept)
    journal.close()


def test_a_snapshot_that_cannot_be_kept_stops_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JournalWindowStore(journal)
    store.save(b"first")

    def fail(*_: object) -> None:
        raise ControlStateError(journal.path, OSError("disk full"))

    monkeypatch.setattr(journal.control, "put_snapshot", fail)
    journal.append([make_record(b"a")])
    store.save(b"second")
    assert values(journal) == (b"first", [b"a"])
