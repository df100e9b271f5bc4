"""A source's book over a restart: put back from a snapshot, then from the records that came after it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np

from codec.columns import TickBuffer
from codec.counter import TickAt, Turn, place_of
from codec.markets import parse_symbol
from ingest.hole_book import HoleBook
from ingest.ledger import LOST, Gap, Hole, Loss
from ingest.missing import MissingRange


def replay_ticks(book: HoleBook, ticks: TickBuffer, gap_ids: Sequence[str]) -> None:
    """Rows that the journal holds, all fresh, of a record that names these gaps."""
    for turn in book.follower.follow(ticks, np.ones(ticks.rows, np.bool_), 0, ticks.rows):
        if turn.turn is Turn.LATE:
            book.missing.fill(turn.symbol_id, turn.first, turn.last)
            book.ledger.came(turn.symbol_id, turn.first, turn.last)
        elif turn.turn is not Turn.CAPPED:
            book.missing.add_between(turn.symbol_id, turn.before, turn.first)
            hole = book.ledger.holes.get(turn.symbol_id)
            if hole is not None and hole.doubt is None:
                hole.doubt = turn.first
    if gap_ids:
        book.ledger.named(gap_ids)


def replay_gaps(book: HoleBook, versions: Sequence[tuple[int | None, Gap]]) -> None:
    """Versions of holes, with their symbols' ids, that one append holds beside the ticks replayed last."""
    by_symbol: dict[int, list[Gap]] = {}
    for symbol_id, gap in versions:
        if symbol_id is None:
            book.ledger.replay(None, gap)
        else:
            by_symbol.setdefault(symbol_id, []).append(gap)
    for symbol_id, gaps in by_symbol.items():
        _replay_gaps_of(book, symbol_id, gaps)


def _replay_gaps_of(book: HoleBook, symbol_id: int, gaps: Sequence[Gap]) -> None:
    """Give what is missing of a symbol to its open hole, or to the losses that its ends made."""
    ranges = book.missing.take(symbol_id)
    for gap in gaps:
        corrects = book.ledger.has_lost(symbol_id, gap.gap_id)
        book.ledger.replay(symbol_id, gap)
        if gap.state == LOST and gap.missing is not None and gap.to_sequence is not None and not corrects:
            end = place_of(gap.to_sequence)
            book.ledger.remember(symbol_id, Loss(gap, [each for each in ranges if each.first < end]))
            ranges = [each for each in ranges if each.first >= end]
    hole = book.ledger.holes.get(symbol_id)
    if hole is None:
        return
    if any(gap.gap_id == hole.gap.gap_id for gap in gaps):
        hole.rows_before = hole.rows_failed = book.follower.rows(symbol_id)
        hole.supplied_before = book.follower.supplied(symbol_id)
        hole.doubt = hole.gap.from_tick or hole.gap.to_tick or book.follower.newest(symbol_id)
        begin = -1 if hole.gap.from_sequence is None else place_of(hole.gap.from_sequence)
        ranges = [each for each in ranges if each.first > begin]
    book.missing.put_back(symbol_id, ranges)


def end_replay(book: HoleBook) -> None:
    """Nothing more is replayed: what is missing without a hole was accounted for."""
    for symbol_id in book.missing.symbols():
        if symbol_id not in book.ledger.holes:
            book.missing.take(symbol_id)
    book.publish()


def export(book: HoleBook) -> bytes:
    """The whole state, for `restore` in another process. Holes that are not written start anew there: `down`."""
    names, state = book.follower.export()
    written = [hole for hole in book.ledger.holes.values() if hole.written]
    facts = {
        "holes": [
            {
                "gap": hole.gap.row(),
                "rows_before": hole.rows_before,
                "rows_failed": hole.rows_failed,
                "supplied_before": hole.supplied_before,
                "filled": hole.filled,
                "pulls": hole.pulls,
                "doubt": astuple(hole.doubt) if hole.doubt else None,
                "missing": [astuple(range_) for range_ in book.missing.of(hole.symbol_id)],
            }
            for hole in written
        ],
        "losses": [
            {"gap": loss.gap.row(), "missing": [astuple(range_) for range_ in loss.ranges]}
            for losses in book.ledger.losses.values()
            for loss in losses
        ],
        "counts": dict(book.ledger.counts),
        "unnamed": {book.symbols.names[id_]: gaps for id_, gaps in book.ledger.unnamed.items()},
        "trusts_counter": book.trusts_counter,
        "days_from_one": book.days_from_one,
    }
    sink = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(sink, names=np.array(names, np.str_), state=state, facts=text)
    return sink.getvalue()


def restore(book: HoleBook, exported: bytes) -> None:
    """Put back what `export` gave."""
    with np.load(io.BytesIO(exported), allow_pickle=False) as parts:
        names, state, facts = parts["names"].tolist(), parts["state"], json.loads(parts["facts"].tobytes())
    book.follower.restore(np.array([_id_of(book, name) for name in names], np.int32), state)
    for kept in facts["holes"]:
        gap = Gap.of_row(kept["gap"])
        symbol_id = _id_of(book, gap.symbol)
        hole = Hole(symbol_id, gap, kept["rows_before"], kept["supplied_before"], kept["rows_failed"])
        hole.filled, hole.written, hole.pulls = kept["filled"], True, kept["pulls"]
        hole.doubt = TickAt(*kept["doubt"]) if kept["doubt"] else None
        book.ledger.holes[symbol_id] = hole
        book.missing.put_back(symbol_id, (_range_of(values) for values in kept["missing"]))
    for kept in facts["losses"]:
        gap = Gap.of_row(kept["gap"])
        book.ledger.remember(_id_of(book, gap.symbol), Loss(gap, [_range_of(each) for each in kept["missing"]]))
    book.ledger.counts.update(facts["counts"])
    book.ledger.unnamed.update({_id_of(book, name): gaps for name, gaps in facts["unnamed"].items()})
    book.trusts_counter, book.days_from_one = facts["trusts_counter"], facts["days_from_one"]


def _id_of(book: HoleBook, symbol: str) -> int:
    return book.symbols.id_of(*parse_symbol(symbol))


def _range_of(values: tuple[int, int, list[int] | None, list[int]]) -> MissingRange:
    """A range as `astuple` wrote it."""
    first, last, before, after = values
    return MissingRange(first, last, TickAt(*before) if before else None, TickAt(*after))
