"""Asks every hop about one trading day, in an order that keeps what flows meanwhile from looking lost.

Rule 1: a hop is asked before the hops behind it, so that what it has they have too, or it waits.
Rule 2: nothing here changes what it looks at, but for the verdicts in `coverage`.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from codec.clock import DAY_S, MarketClock
from codec.day_counts import DayCount, counts_on
from codec.errors import TicktapeError
from codec.markets import US, parse_symbol
from codec.tables import TICKS
from ingest.coverage import Hole, coverage_row, day_is_over
from sinks.journal import JournalNotFound
from sinks.record_scan import Scan, ScannedRecord, scan_journal, scan_kafka
from ticktape.audit.compare import findings_of
from ticktape.audit.coverage import polled_rows, write_coverage
from ticktape.audit.journaled import Journaled, read_journaled
from ticktape.audit.logged import LogTally, find_absent
from ticktape.audit.model import Finding, LedgerGap, Report, SymbolDay
from ticktape.audit.places import log_findings, store_findings
from ticktape.audit.refused import refused_sequences
from ticktape.audit.show import progress_on_terminal, show_json, show_table
from ticktape.audit.stored import Key, Store, newest_days
from ticktape.exits import Exit
from ticktape.options import AuditFormat
from ticktape.query import Asker
from ticktape.settings import Settings
from ticktape.wiring import kafka_config

_EPOCH = datetime.date(1970, 1, 1)
_EVENINGS_MAX = 10
_LATE_EVENING_S = 2 * 3600
"""So long after midnight UTC it is past 20:00 of the day before in New York."""
_LATE_LETTERS_S = 2 * DAY_S
"""A pull may bring a tick that cannot be read again days later."""


class NothingToAudit(TicktapeError):
    """There is no day with ticks."""


@dataclass(slots=True)
class _Log:
    """What one pass over the record log gave; `name` is how the report calls it."""

    name: str
    tally: LogTally
    scan: Scan


def run_audit(settings: Settings, trade_date: datetime.date | None, output: AuditFormat) -> Exit:
    """Audit a day, or the newest one of each market; FAILED when anything is unexplained.

    Raises
    ------
    TicktapeError
        A hop cannot be asked.
    """
    with Asker(settings) as asker:
        days = [trade_date] if trade_date is not None else newest_days(asker)
        if not days:
            raise NothingToAudit("no tick is stored yet: there is no day to audit")
        clock = _clock()
        audited = [audit(settings, asker, day, clock) for day in days]
    reports = [report for report, _ in audited]
    _tell_once(reports)
    reports[-1].notes += write_coverage(settings, [row for _, rows in audited for row in rows])
    if output is AuditFormat.JSON:
        show_json(reports)
    else:
        for report in reports:
            show_table(report)
    return Exit.FAILED if any(report.findings for report in reports) else Exit.DONE


def _tell_once(reports: Sequence[Report]) -> None:
    """What concerns a record with rows of several days is told of the first of them."""
    told: set[Finding] = set()
    for report in reports:
        report.findings = [finding for finding in report.findings if finding not in told]
        told.update(report.findings)


def audit(
    settings: Settings, asker: Asker, trade_date: datetime.date, clock: MarketClock
) -> tuple[Report, list[dict[str, object]]]:
    """The report on a day, and what `coverage` is to be told of it."""
    trade_day = (trade_date - _EPOCH).days
    begin_s = _begin_s(clock, trade_day)
    store = Store(asker, trade_date)
    journaled = read_journaled(settings, trade_day)
    log = _read_log(settings, trade_day, begin_s, store)
    days = _days(settings, store, journaled, log, clock, trade_day)
    set_aside = store.set_aside()
    find_absent(log.tally.suspects(), store, days, set_aside)
    for symbol, sequences in refused_sequences(store.refused_ticks(begin_s, _end_s(trade_day))).items():
        for key in days:
            if key[1] == symbol:
                days[key].refused |= sequences
    now_ns = time.time_ns()
    newest_s = max((day.stored.last_us for day in days.values() if day.stored), default=0) // 1_000_000
    now_s = max(now_ns // 1_000_000_000, newest_s)
    findings: list[Finding] = []
    coverage = polled_rows(store, trade_day, now_ns)
    ledger: dict[Key, list[tuple[Hole, LedgerGap]]] = {}
    for of in store.gaps(begin_s):
        if (hole := Hole.of_row(of, clock)).touches(trade_day):
            ledger.setdefault((str(of["source"]), hole.symbol), []).append((hole, _ledger_gap(of)))
    for (source, symbol), day in sorted(days.items()):
        is_over = day_is_over(clock, parse_symbol(symbol)[0], trade_day, now_s)
        touching = [*ledger.get((source, symbol), ()), *ledger.get((source, ""), ())]
        day.gaps = [gap for _, gap in touching if gap.symbol]
        row = coverage_row(
            source, symbol, trade_day, _as_count(day, trade_day), [hole for hole, _ in touching],
            is_over=is_over, now_ns=now_ns,
        )  # fmt: skip
        if isinstance(missing := row["missing"], int):
            day.missing = row["missing"] = max(missing, len(day.absent))
        day.condition = str(row["condition"])
        found = list(findings_of(day, is_over=is_over))
        if found and day.condition == "complete":
            day.condition = row["condition"] = "degraded"
        findings += found
        coverage.append(row)
    findings += [*log_findings(log.tally, log.scan), *store_findings(store, log.tally)]
    notes = _notes(settings, store, journaled, log, days, begin_s, trade_day)
    return Report(trade_date.isoformat(), log.name, list(days.values()), findings, notes), coverage


def _clock() -> MarketClock:
    from ingest.calendar import us_days  # pandas: a second that help need not spend

    return MarketClock(us_days())


def _begin_s(clock: MarketClock, trade_day: int) -> int:
    """The unix second before which no market has a tick of the day: New York's begins the evening before, on
    Friday for a Monday."""
    first = trade_day
    while trade_day - first < _EVENINGS_MAX and clock.trade_day(US, first * DAY_S + _LATE_EVENING_S) == trade_day:
        first -= 1
    return (first - 1) * DAY_S - DAY_S // 2  # a simulated market may be hours ahead of the clock of our sockets


def _end_s(trade_day: int) -> int:
    return (trade_day + 1) * DAY_S + _LATE_LETTERS_S


def _read_log(settings: Settings, trade_day: int, begin_s: int, store: Store) -> _Log:
    kafka, scan = kafka_config(settings), Scan()
    tally = LogTally(trade_day, store.records())
    name = "kafka" if kafka is not None else "journal"
    with progress_on_terminal(f"reading {TICKS.name} from {name}") as progress:
        if kafka is not None:
            asyncio.run(_drain_kafka(scan_kafka(kafka, TICKS, begin_s, scan, progress), tally.add))
        else:
            try:
                for record in scan_journal(settings.journal.path, TICKS, begin_s, scan, progress):
                    tally.add(record)
            except JournalNotFound:
                scan.is_whole = False
    return _Log(name, tally, scan)


async def _drain_kafka(records: AsyncIterator[ScannedRecord], add: Callable[[ScannedRecord], None]) -> None:
    async for record in records:
        add(record)


def _days(
    settings: Settings, store: Store, journaled: Journaled | None, log: _Log, clock: MarketClock, trade_day: int
) -> dict[Key, SymbolDay]:
    """Every symbol that any hop knows, and those that are configured and whose market traded."""
    tally, stored = log.tally, store.days()
    here = journaled.counts if journaled is not None else {}
    keys = {*stored, *tally.rows, *here}
    traded = {(source, parse_symbol(symbol)[0]) for source, symbol in keys}
    sources = {gateway.name: getattr(gateway, "source", gateway.kind) for gateway in settings.gateway}
    for subscription in settings.subscription:
        if TICKS.name in subscription.feeds:
            source = sources[subscription.gateway]
            wanted = ((source, symbol) for symbol in subscription.symbols)
            keys.update(key for key in wanted if (source, parse_symbol(key[1])[0]) in traded)
    days = {key: SymbolDay(*key) for key in sorted(keys)}
    by_topic = store.rows_by_topic()
    for key, day in days.items():
        day.stored = stored.get(key)
        day.waiting = tally.waiting[key]
        if log.scan.is_whole:
            day.logged = tally.rows[key]
        if journaled is not None:
            _add_journaled(day, key, journaled, log, settings, by_topic)
        of = day.stored
        if of is not None and counts_on(*key) and of.counter_high - of.counter_low + 1 != of.sequences:
            day.holes = store.holes(*key)
    return days


def _add_journaled(
    day: SymbolDay,
    key: Key,
    journaled: Journaled,
    log: _Log,
    settings: Settings,
    by_topic: dict[tuple[str, str, str], int],
) -> None:
    count = journaled.counts.get(key)
    day.received, day.repeats, day.journaled = (count.received, count.repeats, count.journaled) if count else (0, 0, 0)
    if count is not None:
        day.journaled_volume, day.journaled_turnover = count.volume, count.turnover
    if settings.kafka is not None:
        day.waiting_for_kafka = journaled.waiting_for_kafka[key]
        if log.scan.is_whole:
            day.logged_here = log.tally.rows_by_journal[journaled.journal, key]
        elif len({gateway.worker for gateway in settings.gateway}) == 1:  # nobody else brings these rows
            day.stored_here = day.stored_rows
        if day.logged is not None and day.logged == day.logged_here == day.stored_rows:
            day.stored_here = day.stored_rows
    else:
        day.stored_here = by_topic.get((*key, f"journal-{journaled.journal}/{TICKS.name}"), 0)
        if log.scan.is_whole:
            day.logged_here = log.tally.rows_by_journal[journaled.journal, key]


def _as_count(day: SymbolDay, trade_day: int) -> DayCount | None:
    """What is stored, as `coverage` judges it."""
    stored = day.stored
    if stored is None:
        return None
    return DayCount(
        day.symbol, trade_day, stored.rows, stored.rows, stored.sequences, stored.first_us, stored.last_us,
        stored.counter_low, stored.counter_high, stored.volume, stored.turnover, -1,
    )  # fmt: skip


def _ledger_gap(row: dict[str, object]) -> LedgerGap:
    def number(name: str) -> int | None:
        value = row[name]
        return value if isinstance(value, int) else None

    return LedgerGap(
        str(row["gap_id"]), str(row["symbol"]), str(row["cause"]), str(row["state"]), number("missing"),
        number("from_sequence"), number("to_sequence"),
    )  # fmt: skip


def _notes(
    settings: Settings,
    store: Store,
    journaled: Journaled | None,
    log: _Log,
    days: dict[Key, SymbolDay],
    begin_s: int,
    trade_day: int,
) -> list[str]:
    notes = []
    if journaled is None:
        notes.append(
            f"no journal at {settings.journal.path}: received, repeats and journaled are known where ingest runs"
        )
    if not log.scan.is_whole:
        notes.append(f"the {log.name} has not all of the day any more: what it still has was compared")
    if waiting := sum(day.waiting + day.waiting_for_kafka for day in days.values()):
        notes.append(f"{waiting:,} rows wait: they are journaled and not stored yet")
    if log.tally.copies:
        notes.append(f"{log.tally.copies:,} records are in Kafka twice, as after a crash of the relay; stored once")
    if twice := store.not_merged():
        notes.append(f"{twice:,} rows will be replaced by a merge; FINAL does not show them")
    for row in store.refused(begin_s, _end_s(trade_day)):
        notes.append(f"{row['gateway']} sent what could not be decoded, {row['letters']} times: {row['reason']}")
    return notes
