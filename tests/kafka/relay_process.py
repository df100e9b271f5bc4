"""A relay in a process of its own, which a test may kill or stop at the worst moment.

    python -m tests.kafka.relay_process JOURNAL BOOTSTRAP_SERVERS TOPIC_PREFIX WORKER [TRICK]

Tricks are stop-before-commit and die-before-position. It prints what the relay says
of itself whenever that changes, and how many rows are published.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import structlog

from sinks.journal import JournalReader
from sinks.kafka import KafkaConfig
from sinks.relay import RELAY_READER_NAME, Relay
from sinks.relay_transaction import Transaction

PARTITIONS = 3


def stop_before_commit() -> None:
    """Stop this process, as SIGSTOP does, with the first transaction of records all sent and not committed."""
    commit = Transaction.commit
    stopped = False

    async def stop_once(transaction: Transaction) -> None:
        nonlocal stopped
        if transaction.recv_ns and not stopped:
            stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1)  # noqa: ASYNC251 - another thread may stop first: nothing shall run on meanwhile
        await commit(transaction)

    Transaction.commit = stop_once  # type: ignore[method-assign,assignment]


def die_before_position() -> None:
    """Kill this process with records acknowledged and their position not sent."""
    close = Transaction.close

    async def die(transaction: Transaction) -> None:
        if transaction.recv_ns:
            await asyncio.wait(transaction._acks)
            os.kill(os.getpid(), signal.SIGKILL)
        await close(transaction)

    Transaction.close = die  # type: ignore[method-assign,assignment]


def main(path: str, servers: str, prefix: str, worker: str, trick: str = "") -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    tricks: dict[str, Any] = {"stop-before-commit": stop_before_commit, "die-before-position": die_before_position}
    if trick:
        tricks[trick]()
    relay = Relay(
        JournalReader(Path(path), RELAY_READER_NAME), KafkaConfig(servers, prefix, partitions=PARTITIONS), worker
    )
    relay.start()
    said: tuple[object, ...] = ()
    while True:
        now = (relay.stats.published_rows.total(), relay.stats.trouble)
        if now != said:
            sys.stdout.write(f"{now[0]} rows, {now[1]}\n")
            sys.stdout.flush()
            said = now
        time.sleep(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
