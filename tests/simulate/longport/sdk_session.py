"""Drives an official LongPort SDK against simulators and writes what it saw as JSON.

Run as a process of its own: `python -m tests.simulate.longport.sdk_session longport|longbridge FILE STEP=PORT...`
with the steps below. The SDK's calls hold the GIL until they are answered, and its threads outlive the
interpreter: the process ends by force.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYMBOLS = ["700.HK", "AAPL.US"]
PUSHES_MIN, PUSHES_WAIT_S = 20, 20.0
AWAY_S = 9.0
"""The outage step's length: the simulator is away for a while in it."""
PULLS = 3
SIMULATED_KEYS = ("simulated-key", "simulated-secret", "simulated-token")


def open_context(sdk: str, port: str, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """The package's `openapi` module and a QuoteContext on http:// and ws:// of this machine."""
    prefix = sdk.upper()
    names = ("APP_KEY", "APP_SECRET", "ACCESS_TOKEN")
    environment = dict(zip(names, keys, strict=True)) | {
        "HTTP_URL": f"http://127.0.0.1:{port}",
        "QUOTE_WS_URL": f"ws://127.0.0.1:{port}/v2",
        "TRADE_WS_URL": f"ws://127.0.0.1:{port}/v2",
        "REGION": "hk",
        "PRINT_QUOTE_PACKAGES": "false",
    }
    os.environ.update({f"{prefix}_{name}": value for name, value in environment.items()})
    module = importlib.import_module(f"{sdk}.openapi")
    config = module.Config.from_env() if sdk == "longport" else module.Config.from_apikey_env()
    return module, module.QuoteContext(config)


def plain(trade: Any) -> list[Any]:
    """A trade in the columns of table `ticks`, as JSON can hold them."""
    return [
        trade.timestamp.timestamp(),
        float(trade.price),
        int(trade.volume),
        str(trade.direction).rpartition(".")[2],
        trade.trade_type,
        str(trade.trade_session).rpartition(".")[2],
    ]


def refusal(module: Any, call: Callable[[], object]) -> list[Any]:
    """Code and text of the error that a call ends with."""
    try:
        call()
    except module.OpenApiException as error:
        return [error.code, error.message]
    return [None, "no error"]


def calls(sdk: str, port: str) -> dict[str, Any]:
    """Every call that we care about, and what a slow answer does to everything else."""
    module, context = open_context(sdk, port, SIMULATED_KEYS)
    pushes: list[tuple[float, str, list[list[Any]]]] = []
    context.set_on_trades(
        lambda symbol, event: pushes.append((time.monotonic(), symbol, [plain(trade) for trade in event.trades]))
    )
    context.subscribe(SYMBOLS, [module.SubType.Trade])
    _wait_for(lambda: min(Counter(symbol for _, symbol, _ in pushes)[symbol] for symbol in SYMBOLS) >= PUSHES_MIN)
    seen: dict[str, Any] = {}

    beats: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.005):
            beats.append(time.monotonic())

    beating = threading.Thread(target=beat)
    beating.start()
    time.sleep(0.3)
    began_s = time.monotonic()
    pulled = context.trades(SYMBOLS[0], 1000)
    ended_s = time.monotonic()
    time.sleep(0.3)
    stop.set()
    beating.join()
    seen["pull_s"] = ended_s - began_s
    seen["pushes_while_pulling"] = sum(began_s + 0.05 < at_s < ended_s - 0.05 for at_s, _, _ in pushes)
    seen["beats_while_pulling"] = sum(began_s + 0.05 < at_s < ended_s - 0.05 for at_s in beats)
    seen["pulled"] = [plain(trade) for trade in pulled]

    time.sleep(1.0)  # ten calls a second
    threads = [threading.Thread(target=context.trades, args=(SYMBOLS[0], 10)) for _ in range(PULLS)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen["pulls_s"] = time.monotonic() - began_s

    flow = context.capital_flow(SYMBOLS[0])
    seen["flow"] = [[line.timestamp.timestamp(), float(line.inflow)] for line in flow]
    money = context.capital_distribution(SYMBOLS[0])
    seen["distribution"] = [
        [float(getattr(side, size)) for size in ("large", "medium", "small")]
        for side in (money.capital_in, money.capital_out)
    ]
    seen["unknown"] = refusal(module, lambda: context.capital_flow("NONE.HK"))
    context.unsubscribe(SYMBOLS[:1], [module.SubType.Trade])
    time.sleep(0.2)
    before = len(pushes)
    time.sleep(0.5)
    seen["after_unsubscribing"] = sorted({symbol for _, symbol, _ in pushes[before:]})
    seen["pushed"] = [[symbol, trade] for _, symbol, trades in pushes for trade in trades]
    seen["shows_sequence"] = hasattr(module.PushTrades, "sequence")
    return seen


def outage(sdk: str, port: str) -> list[list[Any]]:
    """What is pushed while the gateway repeats pushes and is away for a while, each trade as often as it came."""
    module, context = open_context(sdk, port, SIMULATED_KEYS)
    pushed: list[list[Any]] = []
    context.set_on_trades(lambda symbol, event: pushed.extend([symbol, plain(trade)] for trade in event.trades))
    context.subscribe(SYMBOLS, [module.SubType.Trade])
    time.sleep(AWAY_S)
    return pushed


def malformed(sdk: str, port: str) -> list[float]:
    """The amounts of a flow whose texts are no numbers (the keys are of tests/ingest/longport/scripted.py)."""
    _, context = open_context(sdk, port, ("key-of-the-app", "secret-of-the-app", "token-of-access"))
    return [float(line.inflow) for line in context.capital_flow(SYMBOLS[0])]


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PUSHES_WAIT_S
    while not holds() and time.monotonic() < deadline_s:
        time.sleep(0.05)


STEPS = {"calls": calls, "outage": outage, "malformed": malformed}

if __name__ == "__main__":
    vendor, file, *wanted = sys.argv[1:]
    Path(file).write_text(
        json.dumps({step: STEPS[step](vendor, port) for step, port in (each.split("=") for each in wanted)})
    )
    os._exit(0)
