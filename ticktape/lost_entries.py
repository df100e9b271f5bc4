"""What a damaged journal has lost, told to the loss ledger: once, whatever dies in between."""

from __future__ import annotations

import time
from collections.abc import Collection

import orjson
import structlog

from codec.encode import encode_rows
from codec.tables import GAPS
from ingest.ledger import lost_in_journal
from sinks.journal import Journal, JournalError, LostEntries

_TOLD = "lost-told"
"""Under this name the control state keeps the first offsets of what has been told."""

log = structlog.get_logger(__name__)


def tell_lost_entries(journal: Journal, reader: str, sources: Collection[str], partition_count: int) -> None:
    """Write what was lost before `reader` came by it, a row for each of `sources`: the damage hides whose it was.

    To be called before the pipeline restores its accounts, which then know of it.
    """
    told = set(orjson.loads(journal.control.get_blob(_TOLD) or b"[]"))
    position = journal.control.positions().get(reader, 0)
    lost = [each for each in journal.report.lost if each.offsets.stop > position]
    if not (fresh := [each for each in lost if each.offsets.start not in told]):
        return
    now_ns = time.time_ns()
    rows = []
    for each in fresh:
        log.error("journal entries are lost", first=each.offsets.start, next=each.offsets.stop)
        rows += [
            lost_in_journal(source, f"{journal.id}/{each.offsets.start}", *_times_us(each), now_ns).row()
            for source in sources
        ]
    try:
        if rows:
            journal.append(encode_rows(GAPS, rows, partition_count))
        journal.control.put_blob(_TOLD, orjson.dumps([each.offsets.start for each in lost]))
    except JournalError as error:  # the next start finds them again, and names them alike
        log.warning("the ledger was not told what the journal has lost", error=str(error))


def _times_us(lost: LostEntries) -> tuple[int | None, int | None]:
    """Event times around it, in the ledger's unit."""
    return tuple(None if at_ns is None else at_ns // 1000 for at_ns in (lost.from_ns, lost.to_ns))  # type: ignore[return-value]
