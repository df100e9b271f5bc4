"""`ticktape sink` that waits for ClickHouse's answer for seconds, not minutes, so that a run sees it time out."""

from __future__ import annotations

from sinks import clickhouse
from ticktape.cli import main

ANSWER_TIMEOUT_S = 6

if __name__ == "__main__":
    clickhouse.ANSWER_TIMEOUT_S = ANSWER_TIMEOUT_S
    main()
