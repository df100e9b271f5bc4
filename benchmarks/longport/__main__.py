"""LongPort's official SDK and ours on the same simulated gateway, in one run.

    python -m benchmarks.longport [--trades N] [--rounds N] [--seed S] [--json]

push_tcp, push_ws: trades a second, one a push, sent as fast as they are read. Ours: from the first to the last one
on disk, through socket, decoding, deduplication and journal. The SDK (`longbridge`, over WebSocket, which is all it
has): from the first to the last one in a Python callback that adds one. `limit` is a socket that is read and
nothing else: what the simulator can send. Its share of a core is shown for each.

pulls: what the slowest of five calls at once takes, each of which the gateway answers after 0.3 s.
silence: the longest time without a push while a call takes 1 s and the gateway pushes on.

Each measurement runs in a fresh process with a simulator of its own; the two take turns, and medians are compared.
Ends with 1 when a ratio is below what the program promises.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.longport.cases import ROUNDS, TRADES, failures, measure, print_tables


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.longport", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trades", type=int, default=TRADES, help=f"that we read a round (default {TRADES:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"medians are compared (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated market (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    cases = measure(options.trades, options.rounds, options.seed)
    if options.json:
        for case in cases:
            print(json.dumps(case.result()))
    else:
        print_tables(cases)
    for text in failures(cases):
        print(text)
    return 1 if failures(cases) else 0


if __name__ == "__main__":
    raise SystemExit(main())
