"""What places (topic, partition) say of themselves, whatever symbols they hold."""

from __future__ import annotations

from collections.abc import Iterator

from sinks.record_scan import Scan
from ticktape.audit.logged import LogTally
from ticktape.audit.model import Finding
from ticktape.audit.stored import Store


def log_findings(tally: LogTally, scan: Scan) -> Iterator[Finding]:
    """What is wrong with the record log itself."""
    for (topic, partition), offset, rows in tally.jumps:
        yield _finding(
            f"{topic}/{partition} lacks {rows:,} rows before offset {offset}",
            "its worker counted rows that Kafka does not hold",
            "somebody deleted records or made the topic anew: kafka-delete-records and the topic's retention",
        )
    for (topic, partition), offset, reason in scan.unreadable:
        yield _finding(
            f"{topic}/{partition} offset {offset} holds no record of ours ({reason})",
            "something else writes to the topic, or the record was damaged",
            "dead_letters has what the writer made of it",
        )
    if tally.not_looked_at:
        yield _finding(
            f"{tally.not_looked_at:,} more rows of the log are in records that are not stored whole",
            "so many are gone that they were not looked for one by one",
            "was the table emptied, or a partition of it dropped? system.query_log says",
        )


def store_findings(store: Store, tally: LogTally) -> Iterator[Finding]:
    """What ClickHouse's own coordinates say, also of records that the log has no more."""
    for topic, partition, offset, extra in store.twice():
        yield _finding(
            f"{extra:,} rows of {topic}/{partition} offset {offset} are there more than once",
            "a record was inserted again and not recognised: another writer, or one that came back after hours",
            "queries with FINAL count them once; ticktape schema diff says whether the table remembers its inserts",
        )
    for topic, partition, offset, lacks in store.broken_records():
        if offset < tally.first_offsets.get((topic, partition), 1 << 63):
            yield _finding(
                f"{lacks:,} rows of {topic}/{partition} offset {offset} are missing between others of it",
                "a record is stored whole or not at all, so they were deleted in ClickHouse; the log has it no more",
                "system.mutations says by whom; only a backup brings them back",
            )


def _finding(what: str, meaning: str, remedy: str) -> Finding:
    return Finding("", "", what, meaning, remedy)
