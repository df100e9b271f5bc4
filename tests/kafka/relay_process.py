"""A relay in a process of its own, which a test may kill or stop at the worst moment.

    python -m tests.kafka.relay_process JOURNAL BOOTSTRAP_SERVERS TOPIC_PREFIX WORKER [TRICK...]

Tricks are stop-before-commit, stop-between-transactions, die-before-position, patient-broker, without-transactions and
without-silence. It prints what the relay says of itself whenever that changes, and how many rows are published.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from sinks import relay as relay_module
from sinks import relay_kafka
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
            stop()
        await commit(transaction)

    Transaction.commit = stop_once  # type: ignore[method-assign,assignment]


def stop_between_transactions() -> None:
    """Stop this process with its claim committed, and nothing else begun."""
    begin, commit = Transaction.begin, Transaction.commit
    begun, is_claimed = 0, asyncio.Event()

    async def tell(transaction: Transaction) -> None:
        await commit(transaction)
        is_claimed.set()

    async def stop_once(transaction: Transaction) -> None:
        nonlocal begun
        begun += 1
        if begun == 2:
            await is_claimed.wait()
            stop()
        await begin(transaction)

    Transaction.begin, Transaction.commit = stop_once, tell  # type: ignore[method-assign,assignment]


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)  # another thread may stop first: nothing shall run on meanwhile


def die_before_position() -> None:
    """Kill this process with records acknowledged and their position not sent."""
    close = Transaction.close

    async def die(transaction: Transaction) -> None:
        if transaction.recv_ns:
            await asyncio.wait(transaction._acks)
            os.kill(os.getpid(), signal.SIGKILL)
        await close(transaction)

    Transaction.close = die  # type: ignore[method-assign,assignment]


def patient_broker() -> None:
    """Have transactions left open for a minute."""
    relay_kafka.TRANSACTION_TIMEOUT_MS = 60_000


def without_silence() -> None:
    """Take the worker's name back at once from whoever took it."""

    async def at_once(*_: object) -> None: ...

    Relay._wait_for_silence = at_once  # type: ignore[method-assign,assignment]


def without_transactions() -> None:
    """Send as producers do that have no transactional id."""

    async def nothing(_: Transaction) -> None: ...

    relay_module.transactional_ids = lambda *_: (None, None)  # type: ignore[attr-defined,assignment]
    Transaction.begin = Transaction.commit = nothing  # type: ignore[method-assign,assignment]


TRICKS: dict[str, Callable[[], None]] = {
    "stop-before-commit": stop_before_commit,
    "stop-between-transactions": stop_between_transactions,
    "die-before-position": die_before_position,
    "patient-broker": patient_broker,
    "without-transactions": without_transactions,
    "without-silence": without_silence,
}


def main(path: str, servers: str, prefix: str, worker: str, *tricks: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for trick in tricks:
        TRICKS[trick]()
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
