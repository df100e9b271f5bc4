"""The benchmarks as pytest-benchmark runs them; `python -m benchmarks.decode` is the way in.

A round of a peer times one pass of ours and then one of theirs, so that whatever else the machine does
meets both; the ratio is that of the medians. All times are of the processor, so that waiting for one
does not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.decode import ours, peers
from benchmarks.decode.cases import Case, Peer
from benchmarks.decode.columns import check_equal
from benchmarks.decode.report import Measured, Report
from codec.clock import MarketClock
from codec.columns import BLOCK_ROWS, TickBuffer
from codec.opend.decoder import OpenDDecoder
from codec.symbols import SymbolTable

ROUNDS = 9
CALLS = 10_000


def _seconds(read: Callable[[], object]) -> float:
    begin = time.process_time()
    read()
    return time.process_time() - begin


def test_ours_beside_memcpy(benchmark: Any, case: Case, report: Report) -> None:
    """Ours alone; before each round the same bytes are copied, which is as fast as memory gets."""
    reader = case.ours(case.corpus)
    data = case.corpus.data[: case.corpus.size_bytes]
    target = np.empty_like(data)
    copied_s: list[float] = []

    def setup() -> None:
        copied_s.append(_seconds(lambda: np.copyto(target, data)))
        reader.prepare()

    benchmark.group = case.name
    benchmark.pedantic(reader.read, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    report.add_memcpy(case, statistics.median(copied_s), _median_s(benchmark))


def test_peer(benchmark: Any, case: Case, peer: Peer, report: Report) -> None:
    """A peer, with ours before each of its rounds."""
    mine, theirs, their_rows = case.readers(peer)
    ours_s: list[float] = []

    def setup() -> None:
        mine.prepare()
        ours_s.append(_seconds(mine.read))
        theirs.prepare()

    benchmark.group = case.name
    benchmark.pedantic(theirs.read, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    report.add(
        Measured(
            case.name,
            peer.name,
            peer.floor,
            ours_per_s=case.corpus.tick_count / statistics.median(ours_s),
            peer_per_s=their_rows / _median_s(benchmark),
        )
    )


def test_single_call(benchmark: Any, report: Report) -> None:
    """One chunk with one frame of one tick: what a call costs, every layer of Python included."""
    corpus = report.one_frame
    symbols, ticks = SymbolTable(ours.PARTITIONS), TickBuffer()
    decoder = OpenDDecoder(symbols, MarketClock(), checks_sha1=False)
    theirs = peers.OneFrame(corpus.bodies(1)[0])
    ours_s: list[float] = []

    def call() -> None:
        ticks.rows = 0
        decoder.decode(corpus.data, 0, corpus.size_bytes, ours.RECV_NS, ticks)

    def setup() -> None:
        begin = time.perf_counter()
        call()
        ours_s.append(time.perf_counter() - begin)

    call()
    theirs.read()
    mine = {name: ticks.column(name) for name in BLOCK_ROWS}
    check_equal("single_call", "upb", mine, {name: theirs.ticks.column(name) for name in BLOCK_ROWS})
    benchmark.group = "single_call"
    benchmark._timer = time.perf_counter  # a call is shorter than the processor's own clock tells
    benchmark.pedantic(theirs.read, setup=setup, rounds=CALLS, warmup_rounds=100)
    report.add(
        Measured(
            "single_call",
            "upb",
            1.2,
            ours_per_s=1 / statistics.median(ours_s),
            peer_per_s=1 / _median_s(benchmark),
        )
    )


def _median_s(benchmark: Any) -> float:
    median: float = benchmark.stats.stats.median
    return median


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases = metafunc.config.stash[Report.KEY].cases
    if "peer" in metafunc.fixturenames:
        pairs = [(case, peer) for case in cases for peer in case.peers]
        metafunc.parametrize(("case", "peer"), pairs, ids=[f"{case.name}-{peer.name}" for case, peer in pairs])
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="module")
def report(pytestconfig: pytest.Config) -> Report:
    return pytestconfig.stash[Report.KEY]
