"""What an observation sees in ticks made by hand."""

from __future__ import annotations

import pytest

from codec.markets import HK, US
from codec.symbols import SymbolTable
from ingest.opend.observation import Observation, Observed
from ingest.opend.observe import Visit
from tests.codec.tick_rows import Tick, buffer_of
from ticktape.observe import verdicts_on

SECOND = 1_795_138_200


def tick(symbol_id: int, counter: int, *, second: int = SECOND, **fields: object) -> Tick:
    values = {"symbol_id": symbol_id, "sequence": second << 32 | counter, "ts_event_us": SECOND * 1_000_000}
    return Tick(**{**values, **fields})  # type: ignore[arg-type]


def observe(*reads: list[Tick], times_differ: int = 0) -> Observed:
    symbols = SymbolTable(1)
    for market, code in ((HK, "00700"), (US, "AAPL")):
        symbols.id_of(market, code)
    observation = Observation(symbols, "futu")
    for read in reads:
        observation.add(buffer_of(read))
    return observation.observed(times_differ)


def failing(observed: Observed, *, keep_alive_s: float = 10.0, silence_s: float = 1.0) -> list[str]:
    visit = Visit(("HK.00700",), (), keep_alive_s, silence_s, False, observed)
    return [verdict.assumption for verdict in verdicts_on(visit) if verdict.holds is False]


def test_ticks_as_we_believe_them() -> None:
    seen = observe(
        [tick(0, 1), tick(0, 2), tick(1, 0), tick(1, 1)], [tick(0, 2), tick(0, 3), tick(1, 0, second=SECOND - 1,
         ts_event_us=(SECOND - 1) * 1_000_000)],
    )  # fmt: skip
    assert (seen.ticks, seen.counted_ticks, seen.skipped, seen.repeats, seen.conflicts) == (7, 3, 0, 1, 0)
    assert (seen.us_ticks, seen.us_word_max, seen.us_backwards, seen.seconds_differ) == (3, 1, 1, 0)
    assert failing(seen) == []


def test_a_hole_that_a_pull_fills_is_no_step() -> None:
    assert observe([tick(0, 1), tick(0, 4)]).skipped == 2
    assert observe([tick(0, 1), tick(0, 4)], [tick(0, 2), tick(0, 3)]).skipped == 0


@pytest.mark.parametrize(
    ("observed", "assumption"),
    [
        (observe([tick(0, 1), tick(0, 3)]), "Hong Kong's counter"),
        (observe([tick(0, 1, second=SECOND + 1)]), "a sequence's high word"),
        (observe([tick(1, 1), tick(1, 1, price=1.0)]), "a symbol's sequence names one tick"),
        (observe([tick(1, 1 << 31)]), "New York's low word"),
        (observe([tick(1, 1)], times_differ=1), "text and number"),
    ],
)
def test_each_assumption_fails_alone(observed: Observed, assumption: str) -> None:
    [failed] = failing(observed)
    assert failed.startswith(assumption)


def test_a_silent_link_fails_and_nothing_seen_fails_nothing() -> None:
    assert failing(observe([tick(0, 1)]), silence_s=40.0) == failing(observe([]), keep_alive_s=60.0)
    assert failing(observe([])) == []


def test_latency_is_told_where_the_clocks_agree() -> None:
    sent_us = (SECOND * 1_000_000) + 100_000
    seen = observe([tick(0, 1, ts_gateway_us=sent_us, ts_recv_ns=(sent_us + 5_000) * 1000)])
    assert seen.latency_s is not None
    assert [round(late_s, 9) for late_s in seen.latency_s] == [0.005, 0.005]
    assert observe([tick(0, 1)]).latency_s is None
