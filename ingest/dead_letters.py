"""What a gateway sent that could not become rows: counted, logged ever more rarely, and written down."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from codec.tables import DEAD_LETTERS
from ingest.letters import PAYLOAD_BYTES_MAX
from ingest.pipeline import TickPipeline


class DeadLetters:
    """The dead letters of one gateway.

    Parameters
    ----------
    log : bound to the gateway
    counts : by (feed, reason), added to
    """

    def __init__(self, gateway: str, pipeline: TickPipeline, log: Any, counts: Counter[tuple[str, str]]) -> None:
        self._gateway, self._pipeline, self._log = gateway, pipeline, log
        self._counts = counts

    def put(self, feed: str, reason: str, detail: str, payload: bytes, payload_bytes: int | None = None) -> None:
        """One more; `payload_bytes` is its full size, where `payload` is less of it."""
        self._counts[feed, reason] += 1
        count = self._counts[feed, reason]
        if (count & (count - 1)) == 0:  # the first, and then ever more rarely
            self._log.error("dead letter", feed=feed, reason=reason, detail=detail, so_far=count)
        row = {
            "gateway": self._gateway,
            "feed": feed,
            "reason": reason,
            "detail": detail,
            "payload": payload[:PAYLOAD_BYTES_MAX],
            "payload_bytes": len(payload) if payload_bytes is None else payload_bytes,
            "ts_recv": time.time_ns(),
        }
        self._pipeline.append_rows(DEAD_LETTERS.name, [row])
