"""A LongPort gateway over a pipeline over a journal in memory, as a daemon joins them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from codec.tables import DEAD_LETTERS, GAPS
from ingest.backoff import Backoff
from ingest.ledger import CAUSE_LATE_START
from ingest.longport.gateway import LongPortConfig, LongPortGateway
from ingest.pipeline import TickPipeline
from ingest.poll_config import PollConfig
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.longport.scripted import KEYS, ScriptedLongPort
from tests.ingest.running import AT_ONCE, PARTITIONS
from tests.ingest.talk import CLOCK


class Running:
    """What the tests look at: the real gateway and pipeline, over a journal in memory."""

    def __init__(
        self,
        longport: ScriptedLongPort,
        symbols: tuple[str, ...],
        journal: MemoryJournal,
        polls: tuple[PollConfig, ...],
        tick_polls: Mapping[str, float],
        backoff: Backoff,
    ) -> None:
        self.journal = journal
        self.pipeline = TickPipeline(journal.append, partition_count=PARTITIONS, windows=journal)
        config = LongPortConfig(
            name="lp",
            address=longport.address,
            http_url=longport.http_url,
            credentials=KEYS,
            symbols=symbols,
            polls=polls,
            tick_polls=tick_polls,
        )
        self.gateway = LongPortGateway(config, self.pipeline, CLOCK, backoff=backoff, rng=random.Random(1))

    async def rows(self, table: str, count: int) -> list[dict[str, Any]]:
        """Of a table, once there are so many in the journal."""
        await until(lambda: self.pipeline.stats.journaled_rows[table] >= count)
        return self.journal.rows(table)

    async def settled(self, gaps: int) -> list[dict[str, Any]]:
        """The last version of each hole, once there are `gaps` in the journal and all have ended; late starts aside."""

        def versions() -> list[dict[str, Any]]:
            latest = {row["gap_id"]: row for row in self.journal.rows(GAPS.name)}
            return [row for row in latest.values() if row["cause"] != CAUSE_LATE_START]

        await until(lambda: len(versions()) >= gaps and all(row["state"] != "open" for row in versions()))
        return versions()

    async def dead_letters(self, count: int) -> list[dict[str, Any]]:
        return await self.rows(DEAD_LETTERS.name, count)


@asynccontextmanager
async def running(
    longport: ScriptedLongPort,
    *symbols: str,
    journal: MemoryJournal | None = None,
    polls: tuple[PollConfig, ...] = (),
    tick_polls: Mapping[str, float] = MappingProxyType({}),
    backoff: Backoff = AT_ONCE,
) -> AsyncIterator[Running]:
    """Started, and stopped at the end."""
    run = Running(longport, symbols, journal or MemoryJournal(), polls, tick_polls, backoff)
    await run.pipeline.start()
    await run.gateway.start()
    try:
        yield run
    finally:
        run.journal.full = False  # whatever the test found
        await run.gateway.stop()
        await run.pipeline.stop(5.0)
