"""Requests are granted once they are written down, and what was written is what the next process begins with."""

from __future__ import annotations

import asyncio

from codec.errors import TicktapeError
from ingest.quota_keeper import QuotaKeeper
from ingest.quotas import GRANT_REQUESTS
from ingest.rate_limiter import Quota
from tests.ingest.journal import until

CALL, LOGIN = 3211, 10_000_001
QUOTAS = {CALL: (Quota(30, 30), Quota(10, 1))}


class Store:
    """In memory; refuses while told so."""

    def __init__(self) -> None:
        self.kept: bytes | None = None
        self.full = False

    def load(self) -> bytes | None:
        return self.kept

    def save(self, kept: bytes) -> None:
        if self.full:
            raise TicktapeError("the disk is full")
        self.kept = kept


async def test_nothing_is_granted_while_it_cannot_be_written_down() -> None:
    store = Store()
    store.full = True
    keeper = QuotaKeeper(QUOTAS, store)
    told: list[bool] = []
    keeper.granted.append(lambda: told.append(True))
    await keeper.start()
    call = keeper.of(LOGIN, 1.0).calls[CALL]
    await until(lambda: keeper.trouble is not None)
    assert (call.granted, told) == (0, [])
    store.full = False
    await until(lambda: told)
    assert (call.granted, keeper.trouble) == (GRANT_REQUESTS, None)
    await keeper.stop()
    assert call.granted == 0


async def test_the_next_process_begins_with_what_the_last_one_sent() -> None:
    store = Store()
    loop = asyncio.get_running_loop()
    keeper = QuotaKeeper(QUOTAS, store)
    await keeper.start()
    call = keeper.of(LOGIN, 1.0).calls[CALL]
    await until(lambda: call.granted)
    for _ in range(3):
        call.sent(int(loop.time() * 1e9))
        call.limiter.ended(int(loop.time() * 1e9))
    await keeper.stop()
    following = QuotaKeeper(QUOTAS, store)
    await following.start()
    limiter = following.of(LOGIN, 1.0).calls[CALL].limiter
    assert len(limiter.ended_ns(int(loop.time() * 1e9))) == 3
    await following.stop()


async def test_what_cannot_be_read_is_begun_anew() -> None:
    store = Store()
    store.kept = b"not ours"
    keeper = QuotaKeeper(QUOTAS, store)
    await keeper.start()
    call = keeper.of(LOGIN, 1.0).calls[CALL]
    await until(lambda: call.granted)
    await keeper.stop()
