"""What of a symbol's day is unexplained. Pure: facts in, findings out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from codec.day_counts import counts_on
from ticktape.audit.model import AbsentRow, CounterHole, Finding, LedgerGap, SymbolDay

_SUMS_DIFFER = 1e-9
"""Of sums of doubles: what another order of adding may change."""
_SHOWN_MAX = 5


def findings_of(day: SymbolDay, *, is_over: bool) -> Iterator[Finding]:
    """Everything that no hop, ledger row or dead letter explains.

    While the day goes on, a later hop may hold more than an earlier one that was asked before it.
    """
    yield from _absent(day)
    yield from _counter(day)
    yield from _journal_to_log(day, is_over=is_over)
    yield from _journal_to_store(day, is_over=is_over)
    yield from _sums(day)


def _finding(day: SymbolDay, what: str, meaning: str, remedy: str) -> Finding:
    return Finding(day.source, day.symbol, what, meaning, remedy)


def _absent(day: SymbolDay) -> Iterator[Finding]:
    if not day.absent:
        return
    shown = ", ".join(f"sequence {row.sequence} ({_place(row)})" for row in day.absent[:_SHOWN_MAX])
    more = f" and {len(day.absent) - _SHOWN_MAX} more" if len(day.absent) > _SHOWN_MAX else ""
    yield _finding(
        day,
        f"{_rows(len(day.absent))} stored no more: {shown}{more}",
        "the record log still holds them and the writer committed them, so they were deleted in ClickHouse",
        "system.mutations and system.query_log say by whom; the record at that offset has the rows to insert again",
    )


def _place(row: AbsentRow) -> str:
    return f"{row.topic}/{row.partition} offset {row.offset} row {row.row}"


def _counter(day: SymbolDay) -> Iterator[Finding]:
    """Hong Kong's counter against the ledger."""
    if not counts_on(day.source, day.symbol) or day.stored is None:
        return
    stored = day.stored
    extra = stored.sequences - (stored.counter_high - stored.counter_low + 1)
    if extra > 0:
        yield _finding(
            day,
            f"{extra} sequences more than the counter has steps",
            "the gateway's counter is not +1 a tick on this day, so it proves nothing here",
            "see what ticktape check --observe 10m says of the gateway",
        )
        return
    absent = sorted(row.sequence for row in day.absent)
    left: list[tuple[CounterHole, int]] = []
    for hole in day.holes:
        told = sum(hole.before < sequence < hole.after for sequence in (*absent, *day.refused))
        if hole.missing > told:
            left.append((hole, hole.missing - told))
    for gaps in _clusters([gap for gap in day.gaps if gap.state in ("lost", "open")]):
        inside = [each for each in left if any(gap.holds(each[0]) for gap in gaps)]
        left = [each for each in left if each not in inside]
        yield from _against_ledger(day, gaps, sum(missing for _, missing in inside))
    for hole, missing in left[:_SHOWN_MAX]:
        yield _finding(
            day,
            f"{_rows(missing)} missing between sequences {hole.before} and {hole.after}"
            f" (counter {_counter_of(hole.before)} to {_counter_of(hole.after)})",
            "the gateway counted them, and neither a ledger row nor a dead letter tells of them",
            "deleted in ClickHouse (system.mutations says), or lost before the journal: ticktape check --observe 10m"
            " tells whether the gateway's counter can be trusted",
        )
    if len(left) > _SHOWN_MAX:
        rest = sum(missing for _, missing in left[_SHOWN_MAX:])
        yield _finding(
            day,
            f"{_rows(rest)} missing in {len(left) - _SHOWN_MAX} more such holes",
            "as above",
            "--format json lists them all",
        )


def _against_ledger(day: SymbolDay, gaps: Sequence[LedgerGap], missing: int) -> Iterator[Finding]:
    """One stretch of the day that the ledger tells of, by one row or by several that overlap."""
    assert day.stored is not None
    known = [gap.missing for gap in gaps if gap.missing is not None]
    if len(known) < len(gaps) or missing in (sum(known), max(known)):
        return
    begins = any(gap.from_sequence is None or not _is_within(day, gap.from_sequence) for gap in gaps)
    ends = any(gap.to_sequence is None or not _is_within(day, gap.to_sequence) for gap in gaps)
    if missing < sum(known) and (begins or ends):
        return  # part of it lies before the day's first row, or after its last
    ids = ", ".join(gap.gap_id for gap in gaps)
    yield _finding(
        day,
        f"the counter lacks {_rows(missing)} where the ledger says {sum(known)} ({ids})",
        "rows beyond what the ledger tells of are gone" if missing > sum(known) else "the ledger tells of too many",
        "compare the gap with the rows around it; if rows were deleted in ClickHouse, system.mutations says so",
    )


def _is_within(day: SymbolDay, sequence: int) -> bool:
    assert day.stored is not None
    return day.stored.first_us // 1_000_000 <= sequence >> 32 <= day.stored.last_us // 1_000_000


def _clusters(gaps: Sequence[LedgerGap]) -> list[list[LedgerGap]]:
    """Gaps that overlap, together; a hole without a beginning or an end reaches to all that is there."""
    ordered = sorted(gaps, key=lambda gap: -math.inf if gap.from_sequence is None else gap.from_sequence)
    clusters: list[list[LedgerGap]] = []
    reach = -math.inf
    for gap in ordered:
        begin = -math.inf if gap.from_sequence is None else gap.from_sequence
        if clusters and begin < reach:
            clusters[-1].append(gap)
        else:
            clusters.append([gap])
        reach = max(reach, math.inf if gap.to_sequence is None else gap.to_sequence)
    return clusters


def _journal_to_log(day: SymbolDay, *, is_over: bool) -> Iterator[Finding]:
    if day.journaled is None or day.logged_here is None:
        return
    lacks = day.journaled - day.waiting_for_kafka - day.logged_here
    if lacks > 0:
        yield _finding(
            day,
            f"journaled {day.journaled:,}, of which {day.waiting_for_kafka:,} wait, and {day.logged_here:,} are in the"
            f" record log: {lacks:,} lack",
            "records were lost between the journal and the log, or the topic was emptied",
            "ticktape status shows the relay; kafka-topics --describe whether the topic was made anew",
        )
    elif lacks < 0 and is_over:
        yield _finding(
            day,
            f"journaled {day.journaled:,}, and {day.logged_here:,} are in the record log",
            "the hop counts lack rows: the journal's control state was lost or taken from elsewhere",
            "a file control.db.damaged-* beside the journal would say when",
        )


def _journal_to_store(day: SymbolDay, *, is_over: bool) -> Iterator[Finding]:
    """Where the log cannot tell row by row: the counts of both ends."""
    if day.journaled is None or day.stored_here is None:
        return
    elsewhere = day.waiting + day.waiting_for_kafka + day.set_aside
    lacks = day.journaled - elsewhere - day.stored_here - len(day.absent)
    if lacks > 0:
        yield _finding(
            day,
            f"journaled {day.journaled:,}, stored {day.stored_here:,}"
            + (f", {elsewhere:,} waiting or set aside" if elsewhere else "")
            + f": {_rows(lacks)} missing",
            "ClickHouse lacks rows that were journaled: deleted there, or an insert was lost",
            "system.mutations says whether somebody deleted them; records still in the log have them",
        )
    elif lacks < 0 and is_over and elsewhere == 0:
        yield _finding(
            day,
            f"journaled {day.journaled:,}, stored {day.stored_here:,}",
            "ClickHouse holds rows that this worker never journaled, under its name",
            "SELECT _topic, count() FROM ticks GROUP BY _topic shows whose they are",
        )


def _sums(day: SymbolDay) -> Iterator[Finding]:
    """The same rows must add up to the same volume and turnover at both ends."""
    stored = day.stored
    if stored is None or day.journaled is None or not day.journaled == day.stored_here == stored.rows:
        return
    for name, ours, theirs in (
        ("volume", day.journaled_volume, stored.volume),
        ("turnover", day.journaled_turnover, stored.turnover),
    ):
        if not math.isclose(ours, theirs, rel_tol=_SUMS_DIFFER):
            yield _finding(
                day,
                f"{name} of the journaled rows {ours:,.2f}, of the stored ones {theirs:,.2f}",
                "as many rows, and other contents: they were changed in ClickHouse",
                "system.mutations lists UPDATEs; the records in the log hold what was received",
            )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _counter_of(sequence: int) -> int:
    return sequence & 0xFFFFFFFF
