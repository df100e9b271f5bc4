"""Appending, reading, rolling, trimming, and what stops them."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.records import RECORD_BYTES_MAX, Record, RecordKind
from sinks.journal import Journal, JournalFull, JournalLocked, JournalNotFound, JournalReader, JournalWriteFailed
from sinks.journal.segments import SEGMENT_HEADER_BYTES
from tests.journal.support import cut_into_appends, open_small, read_all, segment_files, write_journal
from tests.support.records import make_record, random_records

words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)
records = st.builds(
    make_record,
    st.binary(max_size=300),
    table=words,
    partition=st.integers(0, 65535),
    rows=st.integers(1, 2**32 - 1),
    kind=st.sampled_from(RecordKind),
    recv_ns=st.integers(2**40, 2**63 - 1),
    gap_ids=st.lists(words, max_size=3).map(tuple),
)


@given(appends=st.lists(st.lists(records, min_size=1, max_size=4), max_size=8), bytes_max=st.integers(1, 2000))
@settings(max_examples=60)
def test_what_was_appended_is_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, appends: list[list[Record]], bytes_max: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write_journal(folder, appends, segment_bytes=1000)
    entries, missing = read_all(folder, bytes_max)
    expected = [record for records in appends for record in records]
    assert [entry.record for entry in entries] == expected
    assert [entry.offset for entry in entries] == list(range(len(expected)))
    assert [entry.rows_total for entry in entries] == [
        sum(r.rows for r in expected[: i + 1]) for i in range(len(expected))
    ]
    assert missing == []


def test_offsets_rows_and_names_go_on_after_a_restart(tmp_path: Path) -> None:
    first = open_small(tmp_path)
    assert first.append(random_records(2, seed=1)) == range(2)
    rows, identity = first.rows_total, (first.id, first.worker)
    first.close()
    again = open_small(tmp_path)
    assert again.report.clean
    assert (again.next_offset, again.rows_total, (again.id, again.worker)) == (2, rows, identity)
    assert again.append([make_record()]) == range(2, 3)
    assert len(segment_files(tmp_path)) == 1
    again.close()


def test_a_configured_worker_name_wins_over_the_made_one(tmp_path: Path) -> None:
    made = open_small(tmp_path)
    made.close()
    named = Journal.open(tmp_path, worker="w-7", free_bytes_min=0)
    assert (made.worker.startswith("worker-"), named.worker) == (True, "w-7")
    named.close()


def test_a_reader_goes_on_where_it_committed(tmp_path: Path) -> None:
    journal = open_small(tmp_path)
    journal.append(random_records(10, seed=2))
    reader = JournalReader(tmp_path, "reader")
    assert len(reader.read()) == 10
    reader.commit(4)
    reader.commit(3)  # a late, older commit changes nothing
    reader.close()
    again = JournalReader(tmp_path, "reader")
    assert again.position == 4
    assert [entry.offset for entry in again.read()] == list(range(4, 10))
    again.seek(8)
    assert [entry.offset for entry in again.read()] == [8, 9]
    journal.close()


def test_a_reader_follows_an_appender_through_rolls_and_trims(tmp_path: Path) -> None:
    journal = open_small(tmp_path, segment_bytes=3000)
    appends = cut_into_appends(random_records(600, seed=3))

    def append_all() -> None:
        for records in appends:
            journal.append(records)

    reader = JournalReader(tmp_path, "reader")
    writing = threading.Thread(target=append_all)
    writing.start()
    seen: list[Record] = []
    while len(seen) < 600:
        seen += [entry.record for entry in reader.read(5000)]
        reader.commit(reader.position)
    writing.join()
    assert seen == [record for records in appends for record in records]
    assert reader.take_missing() == []
    journal.trim()
    assert len(segment_files(tmp_path)) == 1
    assert journal.size_bytes == segment_files(tmp_path)[0].stat().st_size
    reader.close()
    journal.close()


def test_only_what_every_reader_has_passed_is_trimmed(tmp_path: Path) -> None:
    journal = open_small(tmp_path, segment_bytes=1000)
    slow = JournalReader(tmp_path, "slow")
    for record in random_records(40, seed=4, value_bytes=(300,)):
        journal.append([record])
    journal.control.commit("reader", 40)
    journal.trim()
    assert len(slow.read(1 << 20)) > 0
    assert segment_files(tmp_path)[0].name == f"{0:020}.seg"
    slow.commit(17)
    journal.trim()
    first_kept = int(segment_files(tmp_path)[0].stem)
    assert 17 - 3 < first_kept <= 17
    journal.close()


def test_a_reader_that_is_configured_away_pins_nothing_until_it_comes_back(tmp_path: Path) -> None:
    open_small(tmp_path).close()
    JournalReader(tmp_path, "former").close()
    journal = open_small(tmp_path)
    assert journal.control.positions() == {"reader": 0}
    JournalReader(tmp_path, "former").close()
    assert journal.control.positions() == {"former": 0, "reader": 0}
    journal.close()


def append_until_full(journal: Journal, offered: list[Record]) -> tuple[int, JournalFull]:
    """How many records there was room for, and what the next one got."""
    for kept, record in enumerate(offered):
        try:
            journal.append([record])
        except JournalFull as full:
            return kept, full
    raise AssertionError("it never was full")


def test_a_full_journal_keeps_nothing_and_goes_on_once_it_was_read(tmp_path: Path) -> None:
    journal = open_small(tmp_path, segment_bytes=1000, segments_max=4)
    offered = random_records(100, seed=5, value_bytes=(200,))
    kept, full = append_until_full(journal, offered)
    assert full.retriable
    assert "journal.max_bytes = 4000" in str(full)
    assert (journal.size_bytes <= 4000, journal.next_offset) == (True, kept)
    assert len(read_all(tmp_path)[0]) == kept
    journal.control.commit("reader", kept)
    assert journal.append([offered[kept]]) == range(kept, kept + 1)
    journal.close()


def test_a_disk_that_is_nearly_full_counts_as_full(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, free_bytes_min=1 << 60)
    with pytest.raises(JournalFull, match="min_free_bytes"):
        journal.append([make_record()])
    journal.close()


def test_a_second_appender_is_told_who_holds_the_journal(tmp_path: Path) -> None:
    journal = open_small(tmp_path)
    with pytest.raises(JournalLocked, match=str(os.getpid())) as locked:
        open_small(tmp_path)
    assert (locked.value.pid, locked.value.path) == (os.getpid(), tmp_path)
    journal.close()
    open_small(tmp_path).close()


def test_a_reader_without_a_journal_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalNotFound):
        JournalReader(tmp_path, "reader")


def test_appended_callbacks_run_after_each_append(tmp_path: Path) -> None:
    journal = open_small(tmp_path)
    seen: list[int] = []
    journal.appended.append(lambda: seen.append(journal.next_offset))
    journal.append(random_records(2, seed=6))
    journal.append([make_record()])
    assert seen == [2, 3]
    journal.close()


@pytest.mark.parametrize(
    "record",
    [
        make_record(bytes(RECORD_BYTES_MAX + 1)),
        make_record(gap_ids=("g" * 70_000,)),
        Record("ticks", RecordKind.LIVE, 0, 1, 0, 0, 0, crc32c=1, value=b"value"),
    ],
    ids=["value too long", "too many gaps", "wrong checksum"],
)
def test_a_record_that_could_not_be_read_again_is_refused(tmp_path: Path, record: Record) -> None:
    journal = open_small(tmp_path)
    with pytest.raises(ValueError, match="record"):
        journal.append([make_record(), record])
    assert journal.next_offset == 0
    journal.close()


class FailingWrites:
    """`os.writev` and `os.write` that take `taken` bytes of one append and then fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, taken: int, error: int) -> None:
        self._taken, self._error, self._writev = taken, error, os.writev
        monkeypatch.setattr(os, "writev", self.short)
        monkeypatch.setattr(os, "write", self.fail)

    def short(self, fd: int, parts: Sequence[bytes]) -> int:
        return self._writev(fd, [b"".join(parts)[: self._taken]]) if self._taken else self.fail(fd, b"")

    def fail(self, fd: int, data: bytes) -> int:
        raise OSError(self._error, os.strerror(self._error))


@pytest.mark.parametrize(("error", "outcome"), [(errno.ENOSPC, JournalFull), (errno.EIO, JournalWriteFailed)])
@pytest.mark.parametrize("taken", [0, 1, 100, 300, 500])
def test_a_failed_append_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, error: int, outcome: type[Exception]
) -> None:
    journal = open_small(tmp_path)
    before, after = random_records(6, seed=7, value_bytes=(100,)), random_records(3, seed=8)
    journal.append(before)
    size = journal.size_bytes
    with monkeypatch.context() as patched:
        FailingWrites(patched, taken, error)
        with pytest.raises(outcome):
            journal.append(after)
    assert segment_files(tmp_path)[0].stat().st_size == journal.size_bytes == size
    assert journal.append(after) == range(6, 9)
    assert [entry.record for entry in read_all(tmp_path)[0]] == before + after
    journal.close()


@pytest.mark.parametrize("taken", range(0, 720, 53))
def test_a_part_of_an_append_is_never_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """Even when the disk refuses to take the part back, during the append and after a restart."""
    journal = open_small(tmp_path)
    before, failed = random_records(2, seed=9), random_records(4, seed=10, value_bytes=(100,))
    journal.append(before)

    def no_truncate(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patched:
        FailingWrites(patched, taken, errno.EIO)
        patched.setattr(os, "ftruncate", no_truncate)
        with pytest.raises(JournalWriteFailed):
            journal.append(failed)
    assert [entry.record for entry in read_all(tmp_path)[0]] == before
    later = random_records(3, seed=16)
    assert journal.append(later) == range(2, 5)
    assert [entry.record for entry in read_all(tmp_path)[0]] == before + later
    journal.close()
    journal = open_small(tmp_path)
    assert [entry.record for entry in read_all(tmp_path)[0]] == before + later
    assert journal.next_offset == 5
    journal.close()


def test_a_segment_that_is_too_small_for_its_first_append_is_replaced(tmp_path: Path) -> None:
    journal = open_small(tmp_path)
    journal.append([make_record()])
    os.truncate(segment_files(tmp_path)[0], SEGMENT_HEADER_BYTES)
    journal.close()
    journal = open_small(tmp_path)
    large = make_record(bytes(10_000))
    journal.append([large])
    assert [entry.record for entry in read_all(tmp_path)[0]] == [large]
    (segment,) = segment_files(tmp_path)
    assert segment.stat().st_size == journal.size_bytes
    journal.close()


_UNTIL_THE_LIMIT = """
import sys
from pathlib import Path
from sinks.journal import JournalWriteFailed
from sinks.journal.segments import SEGMENT_HEADER_BYTES
from tests.journal.support import open_small
from tests.support.records import random_records
journal = open_small(Path(sys.argv[1]), segment_bytes=1 << 20)
try:
    while True:
        journal.append(random_records(7, seed=journal.next_offset))
except JournalWriteFailed:
    print(journal.next_offset, journal.size_bytes)
"""


def test_a_write_that_the_system_cuts_short_is_undone(tmp_path: Path) -> None:
    """A real one: the process may not write files beyond 64 KiB, so the last write takes only a part."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    command = [sys.executable, "-c", _UNTIL_THE_LIMIT, str(tmp_path)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=True, timeout=60)
    next_offset, size_bytes = map(int, done.stdout.split())
    assert segment_files(tmp_path)[0].stat().st_size == size_bytes <= 1 << 16
    entries, _ = read_all(tmp_path)
    assert (len(entries), next_offset > 7) == (next_offset, True)
