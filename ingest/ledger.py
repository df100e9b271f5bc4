"""The loss ledger: holes in what we received, from the moment one may be there to its end.

A hole opens when ticks of a symbol may have been missed, and is settled by the next pull of that
symbol: `filled` when the pull reached back to a row that we had, `lost` when it did not and nothing
more can be asked. Pure: rows come out, time goes in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

CAUSE_RECONNECT = "reconnect"
CAUSE_DECODE_ERROR = "decode_error"
CAUSE_JOURNAL_FULL = "journal_full"
CAUSE_NOT_LOGGED_IN = "not_logged_in"
CAUSE_GATEWAY_LOST_BACKEND = "gateway_lost_backend"
CAUSE_GATEWAY_RESTART = "gateway_restart"
CAUSE_QUOTE_RIGHT_LOST = "quote_right_lost"
CAUSE_REFUSED = "refused"
FEED_TICKS = "ticks"


@dataclass(frozen=True, slots=True)
class Gap:
    """One hole of one symbol. Times of the exchange in unix µs, ours in unix ns (codec.tables.GAPS)."""

    source: str
    symbol: str
    gateway: str
    cause: str
    from_ts: int | None
    from_sequence: int | None
    opened_at: int
    updated_at: int
    to_ts: int | None = None
    to_sequence: int | None = None
    filled: int = 0
    missing: int | None = None
    certainty: str = "suspected"
    state: str = "open"

    @property
    def gap_id(self) -> str:
        """The same for every version of one hole, in any process that sees it the same way."""
        text = f"{self.source}|{self.symbol}|{FEED_TICKS}|{self.cause}|{self.from_sequence}|{self.opened_at}"
        return hashlib.blake2s(text.encode(), digest_size=12).hexdigest()

    def row(self) -> dict[str, object]:
        """This version as a row of `gaps`."""
        return {
            "gap_id": self.gap_id,
            "source": self.source,
            "symbol": self.symbol,
            "gateway": self.gateway,
            "feed": FEED_TICKS,
            "cause": self.cause,
            "from_ts": self.from_ts,
            "to_ts": self.to_ts,
            "from_sequence": self.from_sequence,
            "to_sequence": self.to_sequence,
            "filled": self.filled,
            "missing": self.missing,
            "certainty": self.certainty,
            "state": self.state,
            "opened_at": self.opened_at,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """What became of the rows of one GetTicker reply, once they are journaled.

    `first_sequence` and `first_ts` (unix µs) are of its oldest row; None for an empty reply.
    """

    symbol: str
    fresh_rows: int
    first_sequence: int | None
    first_ts: int | None


class LossLedger:
    """The open holes of one gateway."""

    def __init__(self, source: str, gateway: str) -> None:
        self._source = source
        self._gateway = gateway
        self._open: dict[str, dict[str, Gap]] = {}
        self._ending = 0
        self.counts: dict[str, int] = {"filled": 0, "lost": 0}

    @property
    def open_gaps(self) -> int:
        return sum(map(len, self._open.values())) + self._ending

    def open(
        self, symbol: str, cause: str, *, from_sequence: int | None, from_ts: int | None, now_ns: int
    ) -> list[dict[str, object]]:
        """Ticks of `symbol` may be missing from here on; returns the rows to write.

        A reconnect writes none yet: most of them miss nothing, and a ledger full of those would
        hide the others. Nothing to lose (`from_sequence` is None) opens no reconnect hole.
        """
        causes = self._open.setdefault(symbol, {})
        if cause in causes or (cause == CAUSE_RECONNECT and from_sequence is None):
            return []
        gap = Gap(self._source, symbol, self._gateway, cause, from_ts, from_sequence, now_ns, now_ns)
        causes[cause] = gap
        return [] if cause == CAUSE_RECONNECT else [gap.row()]

    def take(self, symbol: str) -> list[Gap]:
        """The reply to a pull of `symbol` has come: the holes to `settle` once its rows are journaled.

        A hole that opens from now on is not among them: this reply knows nothing of it.
        """
        gaps = list(self._open.pop(symbol, {}).values())
        self._ending += len(gaps)
        return gaps

    def give_up(self, symbol: str, now_ns: int) -> list[dict[str, object]]:
        """The pulls of `symbol` failed for good: the rows that end its holes as lost."""
        gaps = self.take(symbol)
        self._ending -= len(gaps)
        self.counts["lost"] += len(gaps)
        return [replace(gap, state="lost", updated_at=now_ns).row() for gap in gaps]

    def settle(self, outcome: PullOutcome, gaps: Sequence[Gap], now_ns: int) -> list[dict[str, object]]:
        """The rows that end `gaps`, which `take` gave."""
        self._ending -= len(gaps)
        rows = []
        filled = outcome.fresh_rows
        for gap in gaps:
            reached_back = gap.from_sequence is None or (
                outcome.first_sequence is not None and outcome.first_sequence <= gap.from_sequence
            )
            if reached_back:
                settled = replace(gap, state="filled", filled=filled, missing=0, updated_at=now_ns)
            else:
                settled = replace(
                    gap,
                    state="lost",
                    filled=filled,
                    to_sequence=outcome.first_sequence,
                    to_ts=outcome.first_ts,
                    updated_at=now_ns,
                )
            filled = 0  # a row fills one hole only
            if gap.cause == CAUSE_RECONNECT and reached_back and settled.filled == 0:
                continue
            self.counts[settled.state] += 1
            rows.append(settled.row())
        return rows
