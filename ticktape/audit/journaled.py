"""The hop counts of this machine's worker, read beside its journal whether or not it runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from codec.day_counts import DayCount
from codec.tables import TICKS
from ingest.seen import day_counts
from sinks.journal import JournalNotFound
from sinks.journal.observer import entries_of, journal_facts, kept_segments
from sinks.record_scan import ScannedRecord
from sinks.relay import RELAY_READER_NAME
from ticktape.audit.logged import rows_of_day
from ticktape.audit.stored import Key
from ticktape.settings import Settings
from ticktape.window_store import WINDOWS_READER_NAME


@dataclass(frozen=True, slots=True)
class Journaled:
    """What went through the journal of this machine.

    Attributes
    ----------
    journal : its id
    counts : the day's, of each symbol
    waiting_for_kafka : of them, rows that the relay has not seen acknowledged
    """

    journal: str
    counts: dict[Key, DayCount]
    waiting_for_kafka: Counter[Key]


def read_journaled(settings: Settings, trade_day: int) -> Journaled | None:
    """The counts of `trade_day`, days from the epoch, as of now; None where there is no journal.

    Raises
    ------
    ControlStateError
    """
    path = settings.journal.path
    try:
        facts = journal_facts(path, WINDOWS_READER_NAME)
    except JournalNotFound:
        return None
    position, snapshot = facts.snapshot or (0, None)
    relayed = facts.positions.get(RELAY_READER_NAME, 0) if settings.kafka is not None else None
    segments, _ = kept_segments(path, 0.0)
    first = position if relayed is None else min(position, relayed)
    needed = [
        segment
        for index, segment in enumerate(segments)
        if index + 1 == len(segments) or segments[index + 1][0] > first
    ]
    tail, waiting = [], Counter[Key]()
    for entry in entries_of(needed):
        if entry.record.table != TICKS.name:
            continue
        if entry.offset >= position:
            tail.append(entry.record)
        if relayed is not None and entry.offset >= relayed:
            scanned = ScannedRecord("", 0, entry.offset, facts.id, entry.offset, None, True, entry.record)
            logged = rows_of_day(scanned, trade_day)
            if logged is not None:
                waiting.update(logged.keys[number] for number in logged.symbols.tolist())
    counts = {
        (source, count.symbol): count
        for source, of_source in day_counts(snapshot, tail).items()
        for count in of_source
        if count.trade_date == trade_day
    }
    return Journaled(facts.id, counts, waiting)
