"""The journal beside plain write() of the same bytes, in one run.

    python -m benchmarks.journal [--mebibytes N] [--rounds N] [--seed S] [--json]

journal_append: records as the pipeline makes them, an append of 12 records of 20 kB, into segments of 64 MiB; its
limit is os.write of each append's bytes to one file. journal_append_power is the same with an fdatasync after each
on both sides, of a quarter of the bytes. Ours and the limit take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from codec.records import Record
from sinks.journal import Journal
from sinks.journal.entries import encode_append
from tests.support.records import make_record

MEBIBYTES = 512
ROUNDS = 5
RECORDS_AN_APPEND = 12
RECORD_BYTES = 20_000
_POWER_SHARE = 4


def ours(folder: Path, records: list[Record], appends: int, *, power: bool) -> float:
    """Seconds of `appends` appends to a new journal."""
    journal = Journal.open(folder / "journal", free_bytes_min=0, durability="power" if power else "process")
    began_s = time.perf_counter()
    for _ in range(appends):
        journal.append(records)
    took_s = time.perf_counter() - began_s
    journal.close()
    return took_s


def plain(folder: Path, records: list[Record], appends: int, *, power: bool) -> float:
    """Seconds of writing the bytes of `appends` appends to a new file."""
    data = b"".join(encode_append(records, 0, 0)[0])
    fd = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began_s = time.perf_counter()
    for _ in range(appends):
        os.write(fd, data)
        if power:
            os.fdatasync(fd)
    took_s = time.perf_counter() - began_s
    os.close(fd)
    return took_s


def measure(mebibytes: int = MEBIBYTES, rounds: int = ROUNDS, seed: int = 1) -> list[dict[str, object]]:
    """A result a case: medians over `rounds`, and the ratio of the medians."""
    rng = random.Random(seed)
    records = [make_record(rng.randbytes(RECORD_BYTES), partition=i) for i in range(RECORDS_AN_APPEND)]
    append_bytes = encode_append(records, 0, 0)[1]
    results: list[dict[str, object]] = []
    for case, power in (("journal_append", False), ("journal_append_power", True)):
        appends = (mebibytes << 20) // append_bytes // (_POWER_SHARE if power else 1)
        seconds: dict[Callable[..., float], list[float]] = {ours: [], plain: []}
        for _ in range(rounds):
            for who, taken in seconds.items():
                with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
                    taken.append(who(Path(folder), records, appends, power=power))
        ours_s, plain_s = (statistics.median(seconds[who]) for who in (ours, plain))
        ours_per_s, plain_per_s = (round(appends * append_bytes / each) for each in (ours_s, plain_s))
        results.append(
            {
                "case": case,
                "peer": "write()",
                "ratio": round(plain_s / ours_s, 3),
                "ours_per_s": ours_per_s,
                "peer_per_s": plain_per_s,
            }
        )
    return results


def print_table(results: list[dict[str, object]]) -> None:
    """What `measure` found, to read."""
    table = RichTable("case", "B/s", "write(), B/s", "ratio", title="The journal beside plain write()")
    for result in results:
        table.add_row(
            str(result["case"]), f"{result['ours_per_s']:,}", f"{result['peer_per_s']:,}", str(result["ratio"])
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.journal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mebibytes", type=int, default=MEBIBYTES, help=f"a round (default {MEBIBYTES})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"medians are compared (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the records' bytes (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    results = measure(options.mebibytes, options.rounds, options.seed)
    if options.json:
        for result in results:
            print(json.dumps(result))
        return
    print_table(results)


if __name__ == "__main__":
    main()
