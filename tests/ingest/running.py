"""A gateway over a pipeline over a journal in memory, as a daemon joins them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from codec.opend.protocol import FRAME_BYTES_MAX
from codec.tables import DEAD_LETTERS, GAPS
from ingest.backoff import Backoff
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.ledger import CAUSE_LATE_START
from ingest.opend.encryption import PLAIN, WireMode
from ingest.pipeline import TickPipeline
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.talk import CLOCK

PARTITIONS = 12
AT_ONCE = Backoff(first_s=0.001, growth=1.0, delay_s_max=0.001)


class Running:
    """What the tests look at.

    Attributes
    ----------
    gateway, pipeline, journal : the real ones, over a journal in memory
    """

    def __init__(
        self,
        port: int,
        symbols: tuple[str, ...],
        journal: MemoryJournal,
        *,
        body_bytes_max: int = FRAME_BYTES_MAX,
        backoff: Backoff = AT_ONCE,
        tick_polls: Mapping[str, float] = MappingProxyType({}),
        wire: WireMode = PLAIN,
    ) -> None:
        self.journal = journal
        self.pipeline = TickPipeline(journal.append, partition_count=PARTITIONS, windows=journal)
        config = GatewayConfig(
            name="opend-1",
            source="futu",
            host="127.0.0.1",
            port=port,
            symbols=symbols,
            body_bytes_max=body_bytes_max,
            tick_polls=tick_polls,
            wire=wire,
        )
        self.gateway = OpenDGateway(config, self.pipeline, CLOCK, backoff=backoff, rng=random.Random(1))

    async def sequences(self, count: int) -> list[int]:
        """Of the journaled ticks, once there are `count` of them."""
        await until(lambda: self.pipeline.stats.journaled_rows["ticks"] >= count)
        return self.journal.sequences()

    async def settled(self, gaps: int) -> list[dict[str, object]]:
        """The last version of each hole, once there are `gaps` in the journal and all have ended.

        Late starts are left out: where no counter says otherwise, there is one for each new symbol.
        """

        def versions() -> list[dict[str, object]]:
            latest = {row["gap_id"]: row for row in self.journal.rows(GAPS.name)}
            return [row for row in latest.values() if row["cause"] != CAUSE_LATE_START]

        await until(lambda: len(versions()) >= gaps and all(row["state"] != "open" for row in versions()))
        return versions()

    async def dead_letters(self, count: int) -> list[dict[str, object]]:
        """Once there are so many in the journal."""
        await until(lambda: self.pipeline.stats.journaled_rows[DEAD_LETTERS.name] >= count)
        return self.journal.rows(DEAD_LETTERS.name)


@asynccontextmanager
async def running(
    port: int,
    *symbols: str,
    journal: MemoryJournal | None = None,
    body_bytes_max: int = FRAME_BYTES_MAX,
    backoff: Backoff = AT_ONCE,
    tick_polls: Mapping[str, float] = MappingProxyType({}),
    wire: WireMode = PLAIN,
) -> AsyncIterator[Running]:
    """Started, and stopped at the end."""
    run = Running(
        port,
        symbols,
        journal or MemoryJournal(),
        body_bytes_max=body_bytes_max,
        backoff=backoff,
        tick_polls=tick_polls,
        wire=wire,
    )
    await run.pipeline.start()
    await run.gateway.start()
    try:
        yield run
    finally:
        run.journal.full = False  # whatever the test found
        await run.gateway.stop()
        await run.pipeline.stop(5.0)
