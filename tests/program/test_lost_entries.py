"""What a damaged journal has lost becomes a row of the loss ledger, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codec.tables import GAPS
from sinks.journal import Journal, JournalReader
from sinks.journal.segments import list_segments
from tests.support.records import START_NS, make_record
from ticktape.lost_entries import tell_lost_entries

READERS = ("writer", "windows")


def open_journal(path: Path) -> Journal:
    return Journal.open(path, free_bytes_min=0, readers=READERS)


def damaged_journal(path: Path, damaged: bytes, readers_at: int) -> Journal:
    """Five entries, one a second; `damaged` is spoiled on disk, and both readers are at `readers_at`."""
    journal = open_journal(path)
    for number in range(5):
        journal.append([make_record(b"value %d" % number, recv_ns=START_NS + number * 10**9)])
    for name in READERS:
        journal.control.commit(name, readers_at)
    journal.close()
    segment = list_segments(path)[0][1]
    content = segment.read_bytes()
    assert damaged in content
    segment.write_bytes(content.replace(damaged, bytes(len(damaged))))
    return open_journal(path)


def told(journal: Journal, sources: tuple[str, ...] = ("futu",)) -> list[dict[str, Any]]:
    """Tell, and read what the ledger holds then."""
    tell_lost_entries(journal, READERS[0], sources, 3)
    reader = JournalReader(journal.path, "writer")
    records = [entry.record for entry in reader.read()]
    reader.close()
    return [
        row
        for each in records
        if each.table == GAPS.name
        for row in pa.ipc.open_stream(each.value).read_all().to_pylist()
    ]


@pytest.mark.parametrize(
    ("damaged", "from_s", "to_s"), [(b"value 2", 1, 3), (b"value 0", None, 1), (b"value 4", 3, None)]
)
def test_lost_entries_lie_between_the_times_around_them(
    tmp_path: Path, damaged: bytes, from_s: int | None, to_s: int | None
) -> None:
    journal = damaged_journal(tmp_path, damaged, readers_at=0)
    first, second = told(journal, ("futu", "longport"))
    assert {first["source"], second["source"]} == {"futu", "longport"}
    assert (first["state"], first["cause"], first["missing"]) == ("lost", "decode_error", None)
    times = [first[name] and first[name].timestamp() for name in ("from_ts", "to_ts")]
    start_s = START_NS / 1e9
    assert times == pytest.approx([s and start_s + s + d for s, d in ((from_s, -0.001), (to_s, -0.002))], abs=1e-5)
    journal.close()
    again = open_journal(tmp_path)
    assert len(told(again, ("futu", "longport"))) == 2, "told once"
    again.close()


def test_what_is_stored_already_is_not_lost(tmp_path: Path) -> None:
    journal = damaged_journal(tmp_path, b"value 2", readers_at=3)
    assert told(journal) == []
    journal.close()


def test_untold_it_is_told_by_the_next_start_under_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before it has noted that the ledger knows."""
    journal = damaged_journal(tmp_path, b"value 2", readers_at=0)
    with monkeypatch.context() as patched:
        patched.setattr(journal.control, "put_blob", lambda name, data: None)
        (row,) = told(journal)
    journal.close()
    again = open_journal(tmp_path)
    assert [each["gap_id"] for each in told(again)] == [row["gap_id"]] * 2
    again.close()
