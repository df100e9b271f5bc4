"""The official SDK as a reader, in a process of its own: `python -m benchmarks.longport.sdk CASE PORT NUMBER`.

Prints what it measured as one line of JSON: a count and seconds. Its calls hold the GIL, and its threads outlive
the interpreter: the process ends by force.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time

from tests.simulate.longport.sdk_session import SIMULATED_KEYS, open_context
from ticktape.simulate.longport_trades import list_longport_symbols, wire_symbol

SDK = "longbridge"
SYMBOLS = [wire_symbol(listing) for listing in list_longport_symbols(20)]
CALLS = 5
_WAIT_S_MAX = 60.0


def pushes(port: str, trades: int) -> tuple[int, float]:
    """Trades in a callback, from the first one on."""
    module, context = open_context(SDK, port, SIMULATED_KEYS)
    count, first_s, last_s, done = 0, 0.0, 0.0, threading.Event()

    def on_trades(symbol: str, event: object) -> None:
        nonlocal count, first_s, last_s
        first_s = first_s or time.perf_counter()
        count += 1
        if count == trades:
            last_s = time.perf_counter()
            done.set()

    context.set_on_trades(on_trades)
    context.subscribe(SYMBOLS, [module.SubType.Trade])
    assert done.wait(_WAIT_S_MAX), f"only {count} of {trades} trades came"
    return count, last_s - first_s


def pulls(port: str, _: int) -> tuple[int, float]:
    """Five calls from as many threads."""
    module, context = open_context(SDK, port, SIMULATED_KEYS)
    context.subscribe(SYMBOLS[:1], [module.SubType.Quote])  # it connects when it is used
    threads = [threading.Thread(target=context.trades, args=(symbol, 1000)) for symbol in SYMBOLS[:CALLS]]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return CALLS, time.perf_counter() - began_s


def silence(port: str, _: int) -> tuple[int, float]:
    """The longest time without a push around one call."""
    module, context = open_context(SDK, port, SIMULATED_KEYS)
    arrived: list[float] = []
    context.set_on_trades(lambda symbol, event: arrived.append(time.perf_counter()))
    context.subscribe(SYMBOLS, [module.SubType.Trade])
    while len(arrived) < 1000:
        time.sleep(0.05)
    began = len(arrived) - 1
    context.trades(SYMBOLS[0], 1000)
    ended_at = len(arrived)
    while len(arrived) < ended_at + 100:
        time.sleep(0.05)
    around = arrived[began : ended_at + 100]
    return len(around), max(later - earlier for earlier, later in itertools.pairwise(around))


CASES = {"pushes": pushes, "pulls": pulls, "silence": silence}

if __name__ == "__main__":
    case, of_port, number = sys.argv[1:]
    print(json.dumps(CASES[case](of_port, int(number))), flush=True)
    os._exit(0)
