"""The official SDKs of LongPort: they accept the simulator, and what they do where a gateway misbehaves.

The second half is docs/sdk-defects.md, column by column: a line of that page stands until the SDK is mended.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from codec.longport.protocol import Command
from tests.ingest.longport.scripted import Exchange, ScriptedLongPort, sound
from tests.simulate.longport.sdk_session import PULLS, SYMBOLS
from tests.support.sdk import run_sdk
from tests.support.simulator import longport_simulator

pytestmark = pytest.mark.sdk
SDKS = ("longport", "longbridge")
SLOW_S = 0.6
CANONICAL = {"HK.00700": "700.HK", "US.AAPL": "AAPL.US"}
AWAY = "away@3+1"


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What each SDK saw, step by step, and of the outage also what was made and asked meanwhile."""
    folder = tmp_path_factory.mktemp("sdk")

    def observed(sdk: str) -> dict[str, Any]:
        home = folder / sdk
        home.mkdir()
        truth_file = home / "truth.parquet"
        # So many that 301606 is never met: each SDK has its own account, and starts with six calls.
        plain = ("--symbols", 6, "--rate", 200, "--seed", 3, "--faults", f"slow-reply={SLOW_S}")
        rough = ("--symbols", 6, "--rate", 100, "--seed", 4, "--faults", f"duplicate=0.5,{AWAY}", "--truth", truth_file)
        with ExitStack() as stack:
            first, second = (stack.enter_context(longport_simulator(*options)) for options in (plain, rough))
            steps = (f"calls={first.port}", f"outage={second.port}")
            run_sdk("tests.simulate.longport.sdk_session", sdk, home, str(home / "seen.json"), *steps)
            told = second.stop()
        seen: dict[str, Any] = json.loads((home / "seen.json").read_text())
        table = parquet.read_table(truth_file).to_pydict()
        made = zip(table["symbol"], table["ts_event"], table["price"], table["volume"], strict=True)
        seen["made"] = [[CANONICAL[symbol], at.timestamp(), price, int(volume)] for symbol, at, price, volume in made]
        seen["told"] = told
        return seen

    with ThreadPoolExecutor(len(SDKS)) as threads:
        yield dict(zip(SDKS, threads.map(observed, SDKS), strict=True))


@pytest.fixture(params=SDKS)
def seen(request: pytest.FixtureRequest, sessions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What one SDK saw."""
    return sessions[request.param]


def test_trades_are_pushed_and_pulled_the_same(seen: dict[str, Any]) -> None:
    calls = seen["calls"]
    assert {symbol for symbol, _ in calls["pushed"]} == set(SYMBOLS)
    pushed = Counter(tuple(trade) for symbol, trade in calls["pushed"] if symbol == SYMBOLS[0])
    pulled = Counter(tuple(trade) for trade in calls["pulled"])
    common = pushed & pulled
    assert sum(common.values()) > 20
    assert not pulled - pushed - common or min(pulled - pushed)[0] <= min(pushed)[0] + 1, "older ones were cached"
    assert {trade[3] for trade in pushed} >= {"Up", "Down"}
    assert {trade[5] for trade in pushed} == {"Intraday"}
    assert {trade[5] for symbol, trade in calls["pushed"] if symbol == SYMBOLS[1]} == {"Overnight"}


def test_money_flows(seen: dict[str, Any]) -> None:
    flow = seen["calls"]["flow"]
    assert flow
    assert all(at % 60 == 0 for at, _ in flow)
    money_in, money_out = seen["calls"]["distribution"]
    assert min(*money_in, *money_out) > 0


def test_errors_have_the_gateways_code(seen: dict[str, Any]) -> None:
    code, message = seen["calls"]["unknown"]
    assert code == 301600
    assert "NONE.HK" in message


def test_after_unsubscribing_only_the_other_symbol_comes(seen: dict[str, Any]) -> None:
    assert SYMBOLS[0] not in seen["calls"]["after_unsubscribing"]


def test_it_pushes_nothing_while_a_pull_is_on_its_way(seen: dict[str, Any]) -> None:
    assert seen["calls"]["pull_s"] >= SLOW_S
    assert seen["calls"]["pushes_while_pulling"] == 0


def test_a_pull_stops_every_other_thread_of_the_process(seen: dict[str, Any]) -> None:
    assert seen["calls"]["beats_while_pulling"] == 0


def test_its_pulls_are_answered_one_after_the_other(seen: dict[str, Any]) -> None:
    assert seen["calls"]["pulls_s"] >= PULLS * SLOW_S


def test_it_shows_no_sequence(seen: dict[str, Any]) -> None:
    assert seen["calls"]["shows_sequence"] is False


def _contents(pushed: list[list[Any]]) -> Counter[tuple[Any, ...]]:
    return Counter((symbol, *trade[:3]) for symbol, trade in pushed)


def test_what_is_pushed_twice_is_handed_on_twice(seen: dict[str, Any]) -> None:
    made = Counter(map(tuple, seen["made"]))
    again = _contents(seen["outage"]) - made
    assert sum(again.values()) > seen["told"]["repeats"] / 2 > 10


def test_the_trades_of_an_outage_are_lost_and_nobody_asks_for_them(seen: dict[str, Any]) -> None:
    """It reconnects and subscribes again."""
    requests = seen["told"]["requests"]
    assert requests["subscribe"] >= 2
    assert "query_trade" not in requests
    first_s, last_s = (end(at for _, (at, *_) in seen["outage"]) for end in (min, max))
    lost = Counter(tuple(trade) for trade in seen["made"] if first_s < trade[1] < last_s) - _contents(seen["outage"])
    assert sum(lost.values()) > 20


def test_an_amount_that_is_no_number_is_zero_to_it(tmp_path: Path) -> None:
    """With longbridge: longport would wait for trade days, which this gateway does not know."""
    exchange = Exchange(flows={SYMBOLS[0]: [(1_795_656_600, "12.5"), (1_795_656_660, "n/a"), (1_795_656_720, "")]})

    async def observe() -> None:
        async with ScriptedLongPort(sound, exchange=exchange, websocket=True) as longport:
            step = f"malformed={longport.http_url.rpartition(':')[2]}"
            file = str(tmp_path / "seen.json")
            await asyncio.to_thread(run_sdk, "tests.simulate.longport.sdk_session", "longbridge", tmp_path, file, step)
            assert longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY] == 1

    asyncio.run(observe())
    assert json.loads((tmp_path / "seen.json").read_text()) == {"malformed": [12.5, 0.0, 0.0]}
