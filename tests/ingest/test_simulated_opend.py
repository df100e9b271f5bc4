"""A gateway against the simulator, a process of its own, with its faults: what is journaled is what was traded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from codec.tables import DEAD_LETTERS
from tests.ingest.journal import until
from tests.ingest.running import running
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.symbols import list_symbols

SYMBOLS, TICKS, RATE = 20, 6000, 4000
"""So few a second that the last 1000 ticks of a symbol reach back over any reconnect."""

RUNS = {
    "breaks": "mid-frame-close=8,split",
    "corruption": "bad-sha1=12,duplicate=0.2,cached-repush=20",
    "everything": "mid-frame-close=8,bad-sha1=12,duplicate=0.2,cached-repush=20,split",
}
"""Strengths at which each fault strikes in a second and a half, whatever its luck."""


@pytest.fixture(scope="module")
def simulators() -> Iterator[Mapping[str, Simulator]]:
    """One for each run, started together: each takes seconds to load its kernels."""
    with ExitStack() as stack, ThreadPoolExecutor(len(RUNS)) as threads:

        def start(seed: int, faults: str) -> Simulator:
            options = ("--symbols", SYMBOLS, "--rate", RATE, "--ticks-max", TICKS, "--seed", seed, "--faults", faults)
            return stack.enter_context(opend_simulator(*options, "--log-format", "json"))

        yield dict(zip(RUNS, threads.map(start, range(len(RUNS)), RUNS.values()), strict=True))


@pytest.mark.parametrize("name", RUNS)
async def test_what_is_journaled_is_what_was_traded(name: str, simulators: Mapping[str, Simulator]) -> None:
    opend = simulators[name]
    symbols = [listing.symbol for listing in list_symbols(SYMBOLS)]
    async with running(opend.port, *symbols) as run:
        await until(lambda: run.pipeline.stats.journaled_rows["ticks"] >= TICKS, timeout_s=40)
        gaps = await run.settled(0)
        truth = opend.stop()
    traded = truth["tables"]["ticks"]["symbols"]
    expected = {symbol: {key: of[key] for key in ("rows", "checksum")} for symbol, of in traded.items()}
    assert run.journal.truth() == expected
    assert len(expected) == SYMBOLS
    stats = run.pipeline.stats
    assert sum(of["rows"] for of in expected.values()) == TICKS == stats.journaled_rows["ticks"]
    assert stats.received_rows["ticks"] == TICKS + stats.repeat_rows["ticks"]
    assert stats.conflicts.total() == 0

    assert all((row["state"], row["missing"]) == ("filled", 0) for row in gaps), "every hole has ended"
    letters = run.gateway.stats.dead_letters
    assert stats.journaled_rows[DEAD_LETTERS.name] == letters["ticks", "bad_sha1"] == sum(letters.values())
    assert (run.gateway.stats.connects > 1) == ("close" in RUNS[name])
    assert (letters.total() > 0) == ("bad-sha1" in RUNS[name])
    assert ("decode_error" in {row["cause"] for row in gaps}) == ("bad-sha1" in RUNS[name])
    if "duplicate" in RUNS[name]:
        assert stats.repeat_rows["ticks"] > truth["repeats"] > 100
