"""What a crash, a power cut or a bad disk leaves of a journal."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codec.records import Record
from sinks.journal import Entry, Journal, JournalReader, JournalUnreadable
from sinks.journal.entries import encode_append
from sinks.journal.segments import SEGMENT_HEADER_BYTES
from tests.journal.support import cut_into_appends, open_small, read_all, segment_files, write_journal
from tests.support.records import make_record, random_records

RECORDS = random_records(9, seed=11, value_bytes=(0, 1, 20, 60))
APPENDS = cut_into_appends(RECORDS)
EXTRA = make_record(b"appended after the restart")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of three appends of three records in one segment."""
    folder = tmp_path_factory.mktemp("written")
    write_journal(folder, APPENDS)
    return folder


def copy_of(written: Path, folder: Path, content: bytes) -> Path:
    """`folder` made anew with the journal `written`, its one segment replaced by `content`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written, folder)
    segment_files(folder)[0].write_bytes(content)
    return folder


def reopen(folder: Path) -> tuple[Journal, list[Entry], list[range]]:
    """Open, append one record more, read all."""
    journal = open_small(folder)
    journal.append([EXTRA])
    entries, missing = read_all(folder)
    assert entries.pop().record == EXTRA
    journal.close()
    return journal, entries, missing


def test_a_segment_cut_at_any_byte_holds_its_first_whole_appends(written: Path, tmp_path: Path) -> None:
    content = segment_files(written)[0].read_bytes()
    prefixes: list[list[Record]] = [[], RECORDS[:3], RECORDS[:6], RECORDS]
    seen_counts = set()
    for size in range(SEGMENT_HEADER_BYTES, len(content) + 1):
        journal, entries, missing = reopen(copy_of(written, tmp_path / "copy", content[:size]))
        records = [entry.record for entry in entries]
        assert records in prefixes, f"cut to {size} B"
        assert missing == []
        assert journal.report.damaged == []
        assert (journal.report.torn_bytes == 0) == (size in ends_of_appends())
        seen_counts.add(len(records))
    assert seen_counts == {0, 3, 6, 9}


def ends_of_appends() -> set[int]:
    sizes_bytes = [encode_append(records, 0, 0)[1] for records in APPENDS]
    return set(itertools.accumulate(sizes_bytes, initial=SEGMENT_HEADER_BYTES))


def test_any_flipped_byte_costs_at_most_the_entry_that_held_it(written: Path, tmp_path: Path) -> None:
    content = segment_files(written)[0].read_bytes()
    lost_counts = {0: 0, 1: 0}
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x41
        folder = copy_of(written, tmp_path / "copy", bytes(flipped))
        journal, entries, missing = reopen(folder)
        kept = {entry.offset: entry.record for entry in entries}
        lost = set(range(9)) - set(kept)
        assert len(lost) <= 1, f"byte {place}"
        assert all(RECORDS[offset] == record for offset, record in kept.items())
        lost_counts[len(lost)] += 1
        if lost == {8} and journal.report.torn_bytes:
            continue  # a last entry of another length: as if it had been cut short
        (part,) = journal.report.damaged
        assert part.set_aside.read_bytes() == flipped[part.start_byte : part.end_byte]
        assert part.start_byte <= place < part.end_byte
        if lost and part.offsets:
            assert (set(part.offsets), {o for gap in missing for o in gap}) == (lost, lost)
        if place % 10 == 0:
            assert open_and_close(folder).report.clean, "the same damage is reported once"
    assert lost_counts[0] == SEGMENT_HEADER_BYTES


def open_and_close(folder: Path) -> Journal:
    journal = open_small(folder)
    journal.close()
    return journal


def test_damage_across_entries_and_segments_names_the_offsets_that_are_lost(tmp_path: Path) -> None:
    records = random_records(60, seed=12, value_bytes=(300,))
    write_journal(tmp_path, cut_into_appends(records), segment_bytes=3000)
    second = segment_files(tmp_path)[1]
    content = second.read_bytes()
    second.write_bytes(content[:500] + bytes(900) + content[1400:])
    third = segment_files(tmp_path)[2]
    third.write_bytes(third.read_bytes()[:-1000])
    fourth = segment_files(tmp_path)[3]
    fourth.write_bytes(fourth.read_bytes()[: SEGMENT_HEADER_BYTES + encode_append(records[18:20], 0, 0)[1]])
    journal = open_small(tmp_path)
    entries, missing = read_all(tmp_path)
    seen = {entry.offset: entry.record for entry in entries}
    lost = [offset for gap in missing for offset in gap]
    assert sorted([*seen, *lost]) == list(range(60))
    assert all(records[offset] == record for offset, record in seen.items())
    assert [offset for part in journal.report.damaged for offset in part.offsets] == lost
    assert [part.segment for part in journal.report.damaged] == [second, third, fourth]
    assert lost == [7, 8, 9, 15, 16, 17, *range(20, 24)]
    journal.close()


def test_a_reader_passes_damage_that_appears_while_it_reads(tmp_path: Path) -> None:
    journal = open_small(tmp_path, segment_bytes=3000)
    records = random_records(30, seed=13, value_bytes=(300,))
    for record in records[:8]:
        journal.append([record])
    reader = JournalReader(tmp_path, "reader")
    assert reader.read(1)[0].record == records[0]
    with open(segment_files(tmp_path)[0], "r+b") as file:
        file.seek(SEGMENT_HEADER_BYTES + 3 * 400)
        file.write(bytes(10))
    for record in records[8:]:
        journal.append([record])
    seen = []
    while more := reader.read(1000):
        seen += [entry.offset for entry in more]
    (gap,) = reader.take_missing()
    assert sorted([0, *seen, *gap]) == list(range(30))
    assert len(gap) == 1
    journal.close()


def test_zeroes_behind_the_last_append_are_cut_off_and_kept_aside(written: Path, tmp_path: Path) -> None:
    """What a power cut leaves where the file had grown and its bytes were never written."""
    content = segment_files(written)[0].read_bytes()
    journal, entries, _ = reopen(copy_of(written, tmp_path / "copy", content + bytes(5000)))
    assert [entry.record for entry in entries] == RECORDS
    (part,) = journal.report.damaged
    assert (part.set_aside.read_bytes(), list(part.offsets)) == (bytes(5000), [])


def test_offsets_that_a_reader_committed_are_not_given_again_after_a_power_cut(written: Path, tmp_path: Path) -> None:
    content = segment_files(written)[0].read_bytes()
    folder = copy_of(written, tmp_path / "copy", content[: len(content) // 2])
    reader = JournalReader(folder, "reader")
    reader.commit(9)
    reader.close()
    journal = open_small(folder)
    assert journal.append([EXTRA]) == range(9, 10)
    reader = JournalReader(folder, "reader")
    assert [(entry.offset, entry.record) for entry in reader.read()] == [(9, EXTRA)]
    journal.close()


def test_a_reader_elsewhere_sees_what_replaced_the_torn_start_of_a_segment(tmp_path: Path) -> None:
    journal = open_small(tmp_path)
    journal.append(RECORDS)
    journal.close()
    segment = segment_files(tmp_path)[0]
    os.truncate(segment, SEGMENT_HEADER_BYTES + 50)
    reader = JournalReader(tmp_path, "reader")
    assert reader.read() == []
    journal, entries, _ = reopen(tmp_path)
    assert (journal.report.torn_bytes, entries) == (50, [])
    assert [entry.record for entry in reader.read()] == [EXTRA]
    reader.close()


def test_nothing_readable_is_refused_and_left_alone(written: Path, tmp_path: Path) -> None:
    folder = copy_of(written, tmp_path / "copy", bytes(10_000))
    with pytest.raises(JournalUnreadable, match="move the folder away"):
        open_small(folder)
    assert segment_files(folder)[0].read_bytes() == bytes(10_000)
    segment_files(folder)[0].unlink()
    open_small(folder).close()  # the refusal did not keep the lock


def test_segments_of_two_journals_in_one_folder_are_refused(written: Path, tmp_path: Path) -> None:
    other, folder = tmp_path / "other", tmp_path / "copy"
    write_journal(other, cut_into_appends(random_records(30, seed=14)), segment_bytes=1000)
    shutil.copytree(written, folder)
    shutil.copy(segment_files(other)[-1], folder)
    with pytest.raises(JournalUnreadable, match="several journals"):
        open_small(folder)


@pytest.mark.parametrize("damage", [None, b"this is no database" * 1000], ids=["lost", "damaged"])
def test_a_lost_control_state_keeps_the_journal_and_its_id(written: Path, tmp_path: Path, damage: bytes | None) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(written, folder)
    former = open_small(folder)
    former.control.commit("reader", 5)
    former.close()
    for path in folder.glob("control.db*"):
        path.unlink()
    if damage:
        (folder / "control.db").write_bytes(damage)
    journal = open_small(folder)
    assert (journal.id, journal.next_offset) == (former.id, 1 << 32), "nobody knows what was read before"
    assert len(read_all(folder)[0]) == 9, "readers start over"
    aside = journal.report.control_set_aside
    assert (aside.read_bytes() if aside else None) == damage
    journal.close()


_APPEND_FOR_EVER = """
import sys
from pathlib import Path
from tests.journal.support import open_small
from tests.support.records import random_records
journal = open_small(Path(sys.argv[1]), segment_bytes=100_000)
while True:
    offsets = journal.append(random_records(5, seed=journal.next_offset, value_bytes=(100, 5000)))
    print(offsets.stop, flush=True)
"""


def test_killed_at_any_instant_every_acknowledged_append_is_there(tmp_path: Path) -> None:
    rng = random.Random(15)
    expected = 0
    for _ in range(6):
        command = [sys.executable, "-c", _APPEND_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as appender:
            assert appender.stdout is not None
            acknowledged = int(appender.stdout.readline())
            for _ in range(rng.randrange(300)):
                acknowledged = int(appender.stdout.readline())
            appender.kill()
            for line in appender.stdout:
                if line.endswith("\n"):
                    acknowledged = int(line)
        journal = open_small(tmp_path)
        assert journal.report.damaged == []
        assert acknowledged <= journal.next_offset <= acknowledged + 5
        expected = journal.next_offset
        journal.close()
    entries, missing = read_all(tmp_path)
    assert ([entry.offset for entry in entries], missing) == (list(range(expected)), [])
    for start in range(0, expected, 5):
        original = random_records(5, seed=start, value_bytes=(100, 5000))
        assert [entry.record for entry in entries[start : start + 5]] == original
