"""The rows of one source on their way to the journal, and what is counted of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from codec.columns import GATEWAY_ID, SEQUENCE, SYMBOL_ID, TS_EVENT_US, TS_RECV_NS, TickBuffer
from codec.day_counts import DayCounts
from codec.encode import TickEncoder
from codec.encode_flows import FlowEncoder
from codec.flow_columns import FlowBuffer
from codec.flow_diff import FlowDiff, FlowVerdict
from codec.histogram import LatencyHistogram
from codec.records import Record
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.tables import CAPITAL_FLOW, TICKS
from codec.window import SequenceWindow, Verdict
from ingest.ledger import PullOutcome

log = structlog.get_logger(__name__)

Settled = tuple[Callable[[PullOutcome], None], PullOutcome]
"""Whom to tell what became of a pull."""


@dataclass(slots=True)
class PipelineStats:
    """What went through; read by the exporter."""

    received_rows: Counter[str] = field(default_factory=Counter)
    """By table, as are the other rows: decoded, of which `repeat_rows` had been seen."""
    repeat_rows: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)
    """Ticks that share a sequence with another, by gateway."""
    journaled_rows: Counter[str] = field(default_factory=Counter)
    journal_latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    journal_full_since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PullMark:
    """Rows of the buffer that one GetTicker reply brought, and who wants to know what became of them."""

    symbol: str
    first_row: int
    rows: int
    settled: Callable[[PullOutcome], None]


@dataclass(slots=True)
class Taken:
    """What a lane gathered, and what the window and the diff say of it."""

    lane: Lane
    ticks: TickBuffer
    pulls: list[PullMark]
    flows: FlowBuffer
    verdict: Verdict | None = None
    flow_verdict: FlowVerdict | None = None

    def encode(self) -> list[Record]:
        """Judge and encode; changes nothing of what was seen."""
        records: list[Record] = []
        lane = self.lane
        if self.ticks.rows or self.pulls:
            self.verdict, records = lane.encode(self.ticks)
        if self.flows.rows:
            self.flow_verdict = lane.flow_diff.test(self.flows)
            records += lane.encode_flows(self.flows, self.flow_verdict)
        return records

    def stored(self, stats: PipelineStats, now_ns: int) -> list[Settled]:
        """It is durable: remember and count it; returns whom to tell of the pulls."""
        settled: list[Settled] = []
        if self.verdict is not None:
            verdict, ticks = self.verdict, self.ticks
            self.lane.stored(ticks, verdict)
            stats.received_rows[TICKS.name] += ticks.rows
            stats.repeat_rows[TICKS.name] += ticks.rows - verdict.fresh_rows
            stats.conflicts.update(self.lane.conflicts_by_gateway(ticks, verdict))
            stats.journal_latency.observe_ns(now_ns - ticks.wide[TS_RECV_NS, : ticks.rows])
            settled.extend((mark.settled, _outcome(mark, ticks, verdict)) for mark in self.pulls)
        if self.flow_verdict is not None:
            self.lane.flow_diff.mark(self.flows, self.flow_verdict)
            stats.received_rows[CAPITAL_FLOW.name] += self.flows.rows
            stats.repeat_rows[CAPITAL_FLOW.name] += self.flows.rows - self.flow_verdict.fresh_rows
        return settled


class Lane:
    """The rows of one source on their way to the journal."""

    def __init__(self, source: str, partition_count: int) -> None:
        self.source = source
        self.symbols = SymbolTable(partition_count)
        self.window = SequenceWindow(self.symbols)
        self.days = DayCounts(self.symbols)
        self.gateways: list[str] = []
        self.wanted: set[str] = set()
        """Symbols whose ticks the gateways are configured to bring."""
        self.ticks = TickBuffer()
        self.latest_ts_us: NDArray[np.int64] = np.zeros(SYMBOLS_MAX, np.int64)
        """(SYMBOLS_MAX,) greatest ts_event journaled of each symbol, 0 for none."""
        self._encoder = TickEncoder(source, self.symbols, self.gateways)
        self._spare = TickBuffer()
        self.flows = FlowBuffer()
        self.flow_diff = FlowDiff(self.symbols)
        self._flow_encoder = FlowEncoder(source, self.symbols, self.gateways)
        self._spare_flows = FlowBuffer()
        self._pulls: list[PullMark] = []
        self._conflicts_logged: set[int] = set()

    def add_gateway(self, name: str) -> int:
        """The id that rows from the gateway `name` carry."""
        self.gateways.append(name)
        return len(self.gateways) - 1

    def mark_pull(self, symbol: str, first_row: int, rows: int, settled: Callable[[PullOutcome], None]) -> None:
        """Rows of `ticks` came from a pull: call `settled`, in the loop, once they are journaled."""
        self._pulls.append(PullMark(symbol, first_row, rows, settled))

    def take(self) -> Taken:
        """Hand over what was gathered and go on with the empty buffers."""
        taken = Taken(self, self.ticks, self._pulls, self.flows)
        self._spare.rows = self._spare_flows.rows = 0
        self.ticks, self._spare, self._pulls = self._spare, self.ticks, []
        self.flows, self._spare_flows = self._spare_flows, self.flows
        return taken

    @property
    def holds_anything(self) -> bool:
        return self.ticks.rows > 0 or bool(self._pulls) or self.flows.rows > 0

    def encode(self, ticks: TickBuffer) -> tuple[Verdict, list[Record]]:
        """The verdict on `ticks` and the records of its fresh rows; changes nothing of the window."""
        self.symbols.canonicalize(ticks.narrow[SYMBOL_ID, : ticks.rows])
        verdict = self.window.test(ticks)
        if verdict.conflicts:
            self._log_conflicts(ticks, verdict)
        return verdict, self._encoder.encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)

    def encode_flows(self, flows: FlowBuffer, verdict: FlowVerdict) -> list[Record]:
        """The records of the new and changed lines of `flows`."""
        return self._flow_encoder.encode(flows, verdict.fresh, verdict.fresh_rows)

    def stored(self, ticks: TickBuffer, verdict: Verdict) -> None:
        """The fresh rows of `ticks` are durable: remember their keys, count what came."""
        self.window.mark(ticks, verdict)
        self.days.add(ticks, verdict.fresh, verdict.ordinals)
        fresh = np.flatnonzero(verdict.fresh)
        self.journaled(ticks.narrow[SYMBOL_ID].take(fresh), ticks.wide[TS_EVENT_US].take(fresh))

    def journaled(self, symbol_ids: NDArray[np.int32], ts_event_us: NDArray[np.int64]) -> None:
        """Rows of these symbols and times, (n,) each, are durable. A pull brings older ones after newer ones."""
        np.maximum.at(self.latest_ts_us, symbol_ids, ts_event_us)

    def conflicts_by_gateway(self, ticks: TickBuffer, verdict: Verdict) -> dict[str, int]:
        """How many fresh ticks of each gateway share their sequence with another."""
        if not verdict.conflicts:
            return {}
        counts = np.bincount(
            ticks.small[GATEWAY_ID, : ticks.rows][verdict.fresh & (verdict.ordinals > ticks.column("ordinal"))]
        )
        return {self.gateways[gateway_id]: count for gateway_id, count in enumerate(counts.tolist()) if count}

    def _log_conflicts(self, ticks: TickBuffer, verdict: Verdict) -> None:
        conflicting = ticks.narrow[SYMBOL_ID, : ticks.rows][
            verdict.fresh & (verdict.ordinals > ticks.column("ordinal"))
        ]
        for symbol_id in set(np.unique(conflicting).tolist()) - self._conflicts_logged:
            self._conflicts_logged.add(symbol_id)
            log.warning(
                "one sequence, two ticks: both are kept, the later one under the next ordinal",
                source=self.source,
                symbol=self.symbols.names[symbol_id],
            )


def _outcome(mark: PullMark, ticks: TickBuffer, verdict: Verdict) -> PullOutcome:
    rows = slice(mark.first_row, mark.first_row + mark.rows)
    if mark.rows == 0:
        return PullOutcome(mark.symbol, 0, None, None)
    sequences = ticks.wide[SEQUENCE, rows]
    oldest = int(np.argmin(sequences))
    return PullOutcome(
        symbol=mark.symbol,
        fresh_rows=int(np.count_nonzero(verdict.fresh[rows])),
        first_sequence=int(sequences[oldest]),
        first_ts=int(ticks.wide[TS_EVENT_US, rows][oldest]),
    )
