"""A record log without a broker or a disk, for tests of the writer alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from codec.tables import TICKS
from sinks.positions import Position
from sinks.record_log import EpochOver, LoggedRecord, Place, RecordLogUnavailable, Revoked, StoredUntil
from tests.support.batches import make_table_record


class ScriptedLog:
    """A log in memory whose places can be taken away and whose commits can fail."""

    def __init__(self, records: list[LoggedRecord]) -> None:
        self.waiting = list(records)
        self.commits: list[dict[Place, Position]] = []
        self.commits_to_fail = 0
        self.fetched = self.measured = 0
        self.beginnings: dict[Place, Position] = {}
        self.epoch_over = False
        self.revoke: Revoked

    async def start(self, revoked: Revoked, stored_until: StoredUntil) -> None:
        self.revoke = revoked

    async def stop(self) -> None:
        """Nothing is open."""

    async def fetch(self, timeout_s: float) -> list[LoggedRecord]:
        if not self.waiting:
            await asyncio.sleep(timeout_s)
        fetched, self.waiting = self.waiting[:1], self.waiting[1:]
        self.fetched += len(fetched)
        return fetched

    async def measure_lag(self) -> None:
        self.measured += 1

    def beginning(self, place: Place) -> Position:
        return self.beginnings.get(place, Position(0))

    async def commit(self, positions: Mapping[Place, Position], epoch: int) -> None:
        if self.commits_to_fail:
            self.commits_to_fail -= 1
            raise RecordLogUnavailable("no coordinator")
        self.commits.append(dict(positions))

    def require(self, epoch: int) -> None:
        if self.epoch_over:
            raise EpochOver("no heartbeat was answered")

    @property
    def stored(self) -> dict[Place, int]:
        """Up to where each place is stored, as far as it was ever committed."""
        return {place: position.next_offset for each in self.commits for place, position in each.items()}


def scripted(partition: int, count: int) -> list[LoggedRecord]:
    """Records of one place at the offsets 0, 2, 4, …, of 10 rows each."""
    return [
        LoggedRecord("t", partition, 2 * n, 2 * n + 2, make_table_record(TICKS, 10, seed=n, first=n * 10))
        for n in range(count)
    ]
