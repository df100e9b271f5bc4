"""A gateway against the simulator, a process of its own, with its faults: what is journaled is what was traded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from codec.tables import DEAD_LETTERS, GAPS
from ingest.opend import session as session_module
from ingest.opend.encryption import WireMode
from ingest.opend.front import WebSocketPort
from tests.ingest.dressed import wire_mode
from tests.ingest.journal import until
from tests.ingest.running import running
from tests.support.keys import rsa_pem
from tests.support.sdk import simulator_options
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.symbols import list_symbols

SYMBOLS, TICKS, RATE = 20, 1000, 675
"""So few that the last 1000 ticks of a symbol are all it has, however slow the machine."""

_EVERYTHING = "mid-frame-close=8,bad-sha1=12,duplicate=0.2,cached-repush=20,split"
RUNS = {
    "breaks": "mid-frame-close=8,split",
    "drops": "drop=0.2",
    "late": "reorder=0.1",
    "stall": "stall@0.4+60",
    "corruption": "bad-sha1=12,duplicate=0.2,cached-repush=20",
    "everything": _EVERYTHING,
    "everything, encrypted": _EVERYTHING,
    "everything, encrypted JSON": _EVERYTHING,
    "everything, WebSocket": "mid-frame-close=8,duplicate=0.2,cached-repush=20,split",
    "outages": "logout@0.2+0.3,backend-lost@0.6+0.2,right-lost@1+0.2",
}
"""Strengths at which each fault strikes in a second and a half, whatever its luck."""
OUTAGES = {"not_logged_in", "gateway_lost_backend", "quote_right_lost"}
KEY = "a key of the WebSocket port"
MODES = {"everything, encrypted": "ecb", "everything, encrypted JSON": "json-cbc"}


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Simulator]]:
    """One for each run, started together: each takes seconds to load its kernels."""
    key_file = tmp_path_factory.mktemp("keys") / "key.pem"
    key_file.write_bytes(rsa_pem())
    with ExitStack() as stack, ThreadPoolExecutor(len(RUNS)) as threads:

        def start(seed: int, name: str) -> Simulator:
            options = ("--symbols", SYMBOLS, "--rate", RATE, "--ticks-max", TICKS, "--seed", seed)
            security = simulator_options(MODES.get(name, "plain"), key_file)
            faults = ("--faults", RUNS[name], "--log-format", "json")
            websocket = ("--websocket-port", 0, "--websocket-key", KEY)
            return stack.enter_context(opend_simulator(*options, *security, *faults, *websocket))

        yield dict(zip(RUNS, threads.map(start, range(len(RUNS)), RUNS), strict=True))


@pytest.mark.parametrize("name", RUNS)
async def test_what_is_journaled_is_what_was_traded(
    name: str, simulators: Mapping[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    opend = simulators[name]
    if name == "stall":
        monkeypatch.setattr(session_module, "SILENCE_NS_MAX", 3_000_000_000)
    symbols = [listing.symbol for listing in list_symbols(SYMBOLS)]
    mode = wire_mode(MODES.get(name, "plain"))
    if "WebSocket" in name:
        mode = WireMode(websocket=WebSocketPort(f"ws://127.0.0.1:{opend.websocket_port}", KEY))
    async with running(opend.port, *symbols, wire=mode) as run:
        await until(lambda: run.pipeline.stats.journaled_rows["ticks"] >= TICKS, timeout_s=40)
        if name == "outages":  # the last one may come when everything is traded
            await until(lambda: {row["cause"] for row in run.journal.rows(GAPS.name)} >= OUTAGES, timeout_s=40)
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

    # Before its first tick came, a symbol without a counter may have missed anything.
    ended = [row for row in gaps if row["from_sequence"] is not None or str(row["symbol"]).startswith("HK.")]
    assert [row for row in ended if (row["state"], row["missing"]) != ("filled", 0)] == [], "every hole has ended"
    letters = run.gateway.stats.dead_letters
    assert stats.journaled_rows[DEAD_LETTERS.name] == letters["ticks", "bad_sha1"] == sum(letters.values())
    assert (run.gateway.stats.connects > 1) == (name == "stall" or "close" in RUNS[name])
    assert (letters.total() > 0) == ("bad-sha1" in RUNS[name])
    assert ("decode_error" in {row["cause"] for row in gaps}) == ("bad-sha1" in RUNS[name])
    assert ({row["cause"] for row in gaps} >= OUTAGES) == (name == "outages")
    if "drop" in RUNS[name] or "reorder" in RUNS[name]:
        assert {row["cause"] for row in gaps} == {"sequence_step"}
        assert {row["certainty"] for row in gaps} == {"certain"}
    if "duplicate" in RUNS[name]:
        assert stats.repeat_rows["ticks"] > truth["repeats"] > 100
