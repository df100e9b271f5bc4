"""The rows of one source on their way to the journal, and what is counted of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from codec.columns import GATEWAY_ID, SYMBOL_ID, TS_RECV_NS, TickBuffer
from codec.conditions import ConditionTable
from codec.day_counts import DayCounts
from codec.encode import TickEncoder
from codec.encode_flows import FlowEncoder
from codec.flow_columns import FlowBuffer
from codec.flow_diff import FlowDiff, FlowVerdict
from codec.histogram import LatencyHistogram
from codec.longport.trade_window import TradeWindow
from codec.records import Record
from codec.symbols import SymbolTable
from codec.tables import CAPITAL_FLOW, TICKS
from codec.window import Reply, SequenceWindow, Verdict
from ingest.account import Entries, TickAccount
from ingest.hole_book import TIMED_SOURCES, HoleBook
from ingest.marks import Beginning, GivenUp, Mark, Opening, Pull

log = structlog.get_logger(__name__)

PullListener = Callable[[list[int]], None]
"""Told, in the loop, the ids of symbols that must be pulled at once."""


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


@dataclass(slots=True)
class Taken:
    """What a lane gathered, and what the window and the diff say of it."""

    lane: Lane
    ticks: TickBuffer
    marks: list[Mark]
    flows: FlowBuffer
    verdict: Verdict | None = None
    entries: Entries = field(default_factory=Entries)
    flow_verdict: FlowVerdict | None = None

    def encode(self, now_ns: int) -> list[Record]:
        """Judge and encode; changes nothing of what was seen. Its entries are then to be written too."""
        records: list[Record] = []
        lane = self.lane
        if self.ticks.rows or self.marks:
            self.verdict, self.entries, records = lane.encode(self.ticks, self.marks, now_ns)
        if self.flows.rows:
            self.flow_verdict = lane.flow_diff.test(self.flows)
            records += lane.encode_flows(self.flows, self.flow_verdict)
        return records

    def stored(self, stats: PipelineStats, now_ns: int) -> None:
        """It is durable: remember and count it."""
        if self.verdict is not None:
            verdict, ticks = self.verdict, self.ticks
            self.lane.window.mark(ticks, verdict)
            self.lane.days.add(ticks, verdict.fresh, verdict.ordinals)
            stats.received_rows[TICKS.name] += ticks.rows
            stats.repeat_rows[TICKS.name] += ticks.rows - verdict.fresh_rows
            stats.conflicts.update(self.lane.conflicts_by_gateway(ticks, verdict))
            stats.journal_latency.observe_ns(now_ns - ticks.wide[TS_RECV_NS, : ticks.rows])
        if self.flow_verdict is not None:
            self.lane.flow_diff.mark(self.flows, self.flow_verdict)
            stats.received_rows[CAPITAL_FLOW.name] += self.flows.rows
            stats.repeat_rows[CAPITAL_FLOW.name] += self.flows.rows - self.flow_verdict.fresh_rows


class TickWindow(Protocol):
    """Tells which ticks of one source were seen before: codec/window.py, or codec/longport/trade_window.py."""

    def test(self, ticks: TickBuffer, replies: Sequence[Reply] = ()) -> Verdict:
        """Tell repeats from fresh rows; changes nothing of what is remembered."""
        ...

    def mark(self, ticks: TickBuffer, verdict: Verdict) -> None:
        """Remember what the last verdict found: its rows are durable now."""
        ...

    def mark_journaled(self, ticks: TickBuffer, ordinals: NDArray[np.uint32]) -> None:
        """Remember rows that were read back from the journal."""
        ...

    def newest_sequence(self, symbol_id: int) -> int | None:
        """The greatest sequence that a gateway gave a symbol's ticks."""
        ...

    def extent(self, symbol_id: int) -> tuple[int, int, int]:
        """How many keys of a symbol are held, and the unix seconds of the one marked first and of the newest."""
        ...

    def export(self) -> bytes:
        """The whole state, for `restore` in another process."""
        ...

    def restore(self, exported: bytes) -> None:
        """Add what `export` gave."""
        ...


class Lane:
    """The rows of one source on their way to the journal."""

    def __init__(self, source: str, partition_count: int) -> None:
        self.source = source
        self.symbols = SymbolTable(partition_count)
        self.conditions = ConditionTable()
        """The longer sale conditions, for the decoders of this source."""
        self.window: TickWindow = (
            TradeWindow(self.symbols, self.conditions) if source in TIMED_SOURCES else SequenceWindow(self.symbols)
        )
        self.days = DayCounts(self.symbols)
        self.gateways: list[str] = []
        self.book = HoleBook(source, self.symbols)
        self.account = TickAccount(self.book, self.gateways)
        self.wanted: frozenset[str] = frozenset()
        """Symbols whose ticks the gateways are configured to bring; another set whenever that changes,
        since the thread that stores reads it."""
        self._wanted_of: dict[str, frozenset[str]] = {}
        self.ticks = TickBuffer()
        self.reading_from: int | None = None
        """While a read is being handled, the row that it began at: what happened in it, happened behind that."""
        self._encoder = TickEncoder(source, self.symbols, self.gateways, self.conditions)
        self._spare = TickBuffer()
        self.flows = FlowBuffer()
        self.flow_diff = FlowDiff(self.symbols)
        self._flow_encoder = FlowEncoder(source, self.symbols, self.gateways)
        self._spare_flows = FlowBuffer()
        self._marks: list[Mark] = []
        self._opened: Counter[int] = Counter()
        self._begun: set[int] = set()
        self._pull_listeners: list[PullListener] = []
        self._conflicts_logged: set[int] = set()

    def add_gateway(self, name: str) -> int:
        """The id that rows from the gateway `name` carry."""
        self.gateways.append(name)
        return len(self.gateways) - 1

    def want(self, gateway: str, symbols: Iterable[str]) -> None:
        """A gateway is configured to bring the ticks of these, and of no others."""
        self._wanted_of[gateway] = frozenset(symbols)
        self.wanted = frozenset().union(*self._wanted_of.values())

    def latest_us(self, security: tuple[int, str]) -> int:
        """Time of a security's newest tick, unix µs; 0 where there is none."""
        newest = self.book.follower.newest(self.symbols.id_of(*security))
        return newest.ts_us if newest is not None else 0

    def activity(self, security: tuple[int, str]) -> float:
        """Ticks a second of a security, over the last that the window holds; 0 where there are none."""
        keys, oldest_s, newest_s = self.window.extent(self.symbols.id_of(*security))
        return keys / max(newest_s - oldest_s, 1)

    def when_wanted(self, listener: PullListener) -> None:
        """Call `listener` with the symbols that must be pulled at once, when there are any."""
        self._pull_listeners.append(listener)

    def want_pulls(self, symbol_ids: list[int]) -> None:
        """Ask the gateways to pull these symbols."""
        for listener in self._pull_listeners:
            listener(symbol_ids)

    def begin(self, symbol_id: int, gateway: str) -> None:
        """A symbol's ticks are asked for from here on; what was before our time is a hole."""
        if symbol_id not in self._begun:
            self._begun.add(symbol_id)
            self._marks.append(Beginning(self._row, symbol_id, gateway))

    def open_hole(self, symbol_id: int, cause: str, gateway: str) -> None:
        """Ticks of a symbol may be missing from here on; the next pull of it settles that."""
        self._opened[symbol_id] += 1
        self._marks.append(Opening(self._row, symbol_id, cause, gateway))

    def opened(self, security: tuple[int, str]) -> int:
        """How often ticks of a security may have been missed so far: what a reply that is held before it is
        marked must remember, since it tells nothing of what is missed meanwhile."""
        return self._opened[self.symbols.id_of(*security)]

    def give_up(self, symbol_id: int, *, leaves: bool = False) -> None:
        """The pulls of a symbol failed for good; `leaves` when it is not asked for any more."""
        self._marks.append(GivenUp(self._row, symbol_id, leaves))

    def mark_pull(
        self,
        symbol_id: int,
        first_row: int,
        rows: int,
        gateway: str,
        *,
        looks: bool = False,
        full: bool = False,
        opened: int | None = None,
    ) -> None:
        """Rows of `ticks` are what a pull brought.

        Parameters
        ----------
        looks : it was asked for because the symbol is silent
        full : it held as many as a reply may
        opened : what `opened` said when the reply came, where it was held since
        """
        is_stale = opened is not None and opened != self._opened[symbol_id]
        self._marks.append(Pull(first_row, rows, symbol_id, gateway, looks, full, is_stale))

    @property
    def _row(self) -> int:
        return self.ticks.rows if self.reading_from is None else self.reading_from

    def take(self) -> Taken:
        """Hand over what was gathered and go on with the empty buffers."""
        assert self.reading_from is None, "a read is handled in one go"
        taken = Taken(self, self.ticks, self._marks, self.flows)
        self._spare.rows = self._spare_flows.rows = 0
        self.ticks, self._spare, self._marks = self._spare, self.ticks, []
        self.flows, self._spare_flows = self._spare_flows, self.flows
        return taken

    @property
    def holds_anything(self) -> bool:
        return self.ticks.rows > 0 or bool(self._marks) or self.flows.rows > 0

    def encode(self, ticks: TickBuffer, marks: list[Mark], now_ns: int) -> tuple[Verdict, Entries, list[Record]]:
        """The verdict on `ticks`, what the ledger says of it, and the records of its fresh rows.

        Changes nothing of the window; the account and its book go on (rule 3 of the account).
        """
        self.symbols.canonicalize(ticks.narrow[SYMBOL_ID, : ticks.rows])
        replies = [Reply(mark.row, mark.row + mark.rows, mark.is_full) for mark in marks if isinstance(mark, Pull)]
        verdict = self.window.test(ticks, replies)
        if verdict.conflicts:
            self._log_conflicts(ticks, verdict)
        entries = self.account.enter(ticks, verdict.fresh, marks, now_ns)
        records = self._encoder.encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows, entries.names)
        if entries.names:
            self.book.ledger.named(gap_id for record in records for gap_id in record.gap_ids)
        return verdict, entries, records

    def encode_flows(self, flows: FlowBuffer, verdict: FlowVerdict) -> list[Record]:
        """The records of the new and changed lines of `flows`."""
        return self._flow_encoder.encode(flows, verdict.fresh, verdict.fresh_rows)

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
