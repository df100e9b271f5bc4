"""Durability "power": whatever was acknowledged or read by anybody is there after a power cut."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codec.records import Record
from sinks.journal import Journal, JournalReader
from tests.journal.power import Disk, instants
from tests.support.records import random_records

READERS = ("relay", "windows")
SEEDS = 30
STEPS = 60
CUTS_EVERY = 25
"""System calls."""


def open_power(folder: Path) -> Journal:
    journal = Journal.open(folder, bytes_max=1 << 20, free_bytes_min=0, durability="power", readers=READERS)
    journal._segment_bytes = 1500
    return journal


@dataclass
class Promise:
    """What must be true of the journal if power fails now."""

    names: tuple[str, str] | None = None
    acknowledged: dict[int, Record] = field(default_factory=dict)
    read: dict[int, Record] = field(default_factory=dict)

    def check(self, folder: Path, seed: int) -> None:
        """Open what is left in `folder` and hold it against this."""
        journal = open_power(folder)
        try:
            assert self.names in (None, (journal.id, journal.worker)), f"seed {seed}: another name"
            assert not any(part.offsets for part in journal.report.damaged), f"seed {seed}: entries are damaged"
            passed = min(journal.control.positions().values())
            promised = {o: r for o, r in (self.acknowledged | self.read).items() if o >= passed}
            (offset,) = journal.append(random_records(1, seed=seed))
            assert offset > max(self.read, default=-1), f"seed {seed}: an offset that was read is given again"
            reader = JournalReader(folder, READERS[0])
            reader.seek(passed)
            found = {entry.offset: entry.record for entry in reader.read(1 << 20)}
            while entries := reader.read(1 << 20):
                found |= {entry.offset: entry.record for entry in entries}
            reader.close()
            lacks = sorted(o for o, r in promised.items() if found.get(o) != r)
            assert not lacks, f"seed {seed}: {lacks} of {sorted(promised)} are not there"
        finally:
            journal.close()


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: SQLite syncs by itself, thousands of times here."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="ticktape-power-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_acknowledged_or_read_is_missing_after_a_power_cut(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng, promise, numbers = random.Random(seed), Promise(), itertools.count()
    boots = itertools.count()
    monkeypatch.setattr("sinks.journal.journal.boot_id", lambda: f"boot-{next(boots)}")
    folder, is_over = quick_path / "journal", False
    with monkeypatch.context() as patched:
        disk, failing = Disk(folder, patched), instants(rng, mean=CUTS_EVERY)

        def cut() -> None:
            if (next(failing) or is_over) and folder.exists():
                copy = quick_path / f"copy-{next(numbers)}"
                disk.copy_after_a_cut(copy, rng)
                promise.check(copy, seed)

        disk.cut = cut
        journal, readers = open_power(folder), [JournalReader(folder, name) for name in READERS]
        for step in range(STEPS):
            reader = rng.choice(readers)
            match rng.choice(("append", "append", "read", "commit", "snapshot", "trim", "drain", "reopen")):
                case "append":
                    records = random_records(rng.randint(1, 3), seed=step, value_bytes=(0, 60, 300))
                    offsets = journal.append(records)
                    promise.acknowledged |= dict(zip(offsets, records, strict=True))
                    promise.names = (journal.id, journal.worker)
                case "read":
                    promise.read |= {entry.offset: entry.record for entry in reader.read(rng.choice((1, 1000)))}
                case "commit":
                    reader.commit(reader.position)
                case "drain":
                    for each in readers:
                        while entries := each.read():
                            promise.read |= {entry.offset: entry.record for entry in entries}
                        each.commit(each.position)
                    journal.trim()
                case "snapshot":
                    journal.control.put_snapshot("windows", readers[1].position, rng.randbytes(5000))
                case "trim":
                    journal.trim()
                case "reopen" if rng.random() < 0.3:
                    journal.close()
                    journal = open_power(folder)
        is_over = True
        cut()
        for reader in readers:
            reader.close()
        journal.close()


def test_nobody_reads_what_a_power_cut_could_take_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the write of an append and its fsync."""
    journal = open_power(tmp_path)
    reader = JournalReader(tmp_path, READERS[0])
    journal.append(random_records(1, seed=1))
    seen: list[int] = []

    def slow(fd: int) -> None:
        seen.extend(entry.offset for entry in reader.read())

    with monkeypatch.context() as patched:
        patched.setattr("os.fdatasync", slow)
        journal.append(random_records(2, seed=2))
    assert seen == [0]
    assert [entry.offset for entry in reader.read()] == [1, 2]
    journal.close()
    relaxed = Journal.open(tmp_path, free_bytes_min=0, readers=READERS)
    relaxed.append(random_records(1, seed=3))
    assert len(reader.read()) == 1, "what is promised no more holds nobody back"
    reader.close()
    relaxed.close()


def test_offsets_go_on_in_a_new_era_after_the_machine_was_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may have lost entries that others have: their offsets are left out, and nothing is missing."""
    journal = open_power(tmp_path)
    journal.append(random_records(3, seed=1))
    journal.close()
    again = open_power(tmp_path)
    assert again.append(random_records(1, seed=2)) == range(3, 4), "the same boot: nothing was lost"
    again.close()
    monkeypatch.setattr("sinks.journal.journal.boot_id", lambda: "another boot")
    later = open_power(tmp_path)
    assert later.append(random_records(2, seed=3)) == range(1 << 32, (1 << 32) + 2)
    reader = JournalReader(tmp_path, READERS[0])
    assert [entry.offset for entry in reader.read() + reader.read()] == [0, 1, 2, 3, 1 << 32, (1 << 32) + 1]
    assert reader.take_missing() == []
    reader.commit(5)
    assert reader.fits(1000, crc32c=7), "lost with the power, and the next offset lies behind it"
    reader.close()
    later.close()
    assert open_power(tmp_path).report.clean
