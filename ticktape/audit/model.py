"""What an audit knows and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredDay:
    """What ClickHouse holds of a symbol's day; times in unix µs, counters are low words of sequences."""

    rows: int
    sequences: int
    first_us: int
    last_us: int
    counter_low: int
    counter_high: int
    volume: float
    turnover: float


@dataclass(frozen=True, slots=True)
class CounterHole:
    """`missing` counters between two neighbouring rows."""

    before: int
    after: int
    missing: int


@dataclass(frozen=True, slots=True)
class LedgerGap:
    """A row of the ledger that touches the day."""

    gap_id: str
    symbol: str
    cause: str
    state: str
    missing: int | None
    from_sequence: int | None
    to_sequence: int | None

    def holds(self, hole: CounterHole) -> bool:
        """Whether all of `hole` lies between its known rows."""
        begins = self.from_sequence is None or self.from_sequence <= hole.before
        return begins and (self.to_sequence is None or hole.after <= self.to_sequence)


@dataclass(frozen=True, slots=True)
class AbsentRow:
    """A row that the record log holds and ClickHouse does not."""

    topic: str
    partition: int
    offset: int
    row: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is unexplained: what it is, what it means, what to do."""

    source: str
    symbol: str
    what: str
    meaning: str
    remedy: str

    def __str__(self) -> str:
        of = f"{self.symbol} ({self.source}): " if self.symbol else ""
        return f"{of}{self.what}: {self.meaning}; {self.remedy}"


@dataclass(slots=True)
class SymbolDay:
    """One symbol on the day, hop by hop; None where a hop cannot be asked here.

    Attributes
    ----------
    received, repeats, journaled : decoded by this machine's worker, of which had been seen; in its journal
    journaled_volume, journaled_turnover : sums over the journaled ones
    logged : rows in Kafka, or in the journal where it is read directly, of all workers
    logged_here : those of them that this machine's worker journaled
    waiting : logged and not yet committed by the writer
    set_aside : refused by ClickHouse, in dead_letters
    refused : sequences that the gateway sent and that could not become rows
    """

    source: str
    symbol: str
    received: int | None = None
    repeats: int | None = None
    journaled: int | None = None
    journaled_volume: float = 0.0
    journaled_turnover: float = 0.0
    logged: int | None = None
    logged_here: int | None = None
    waiting: int = 0
    waiting_for_kafka: int = 0
    set_aside: int = 0
    stored: StoredDay | None = None
    stored_here: int | None = None
    holes: list[CounterHole] = field(default_factory=list)
    gaps: list[LedgerGap] = field(default_factory=list)
    absent: list[AbsentRow] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    missing: int | None = None
    condition: str = "unknown"

    @property
    def stored_rows(self) -> int:
        return self.stored.rows if self.stored is not None else 0

    @property
    def ledger_lost(self) -> int | None:
        """Rows that the ledger says are lost; None when it cannot say how many."""
        lost = [gap.missing for gap in self.gaps if gap.state == "lost"]
        known = [missing for missing in lost if missing is not None]
        return sum(known) if len(known) == len(lost) else None


@dataclass(slots=True)
class Report:
    """All of it.

    Attributes
    ----------
    log_name : what `logged` counts: `kafka` or `journal`
    notes : what was noticed and is explained
    """

    trade_date: str
    log_name: str
    days: list[SymbolDay]
    findings: list[Finding]
    notes: list[str]
