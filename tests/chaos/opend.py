"""A simulated OpenD whose market can be halted, and tells then what it has made: `python -m tests.chaos.opend`.

It takes commands on standard input, one word a line: `halt` writes every tick made so far to the file of `--truth`
and is answered by a line once nothing more comes; `go` lets the market live on.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import uvloop
from numpy.typing import NDArray
from pyarrow import parquet

from tests.chaos.plan import WORKERS
from tests.support.simulator import wait_until_listening
from tests.support.tether import tethered
from ticktape.logs import configure_logs
from ticktape.options import LogFormat
from ticktape.simulate.faults import Faults
from ticktape.simulate.opend_server import OpenDServer, Options, write_truth
from ticktape.simulate.symbols import list_symbols

PROJECT = Path(__file__).resolve().parents[2]
SYMBOLS = 12
FAULTS = "duplicate=0.02"
"""All the time: repeats are dropped."""


def symbols_of(worker: str) -> list[str]:
    """Its half: of each pair of a Hong Kong and a US symbol, as they are traded, every other one."""
    place = WORKERS.index(worker)
    names = [listing.symbol for listing in list_symbols(SYMBOLS)]
    return [name for number, name in enumerate(names) if number // 2 % len(WORKERS) == place]


def day_between_months(today: datetime.date) -> datetime.date:
    """The next weekend day that ends a month: Hong Kong's simulated market trades on it, and the night before
    belongs to Monday's trading day in the US. So an insert of ticks spans two table partitions."""
    day = today
    while day.weekday() < 5 or (day + datetime.timedelta(days=1)).day != 1:
        day += datetime.timedelta(days=1)
    return day


class Truth:
    """What the market has made.

    Attributes
    ----------
    sequences, checksums : (n,) of each symbol, by ascending sequence
    """

    def __init__(self, path: Path) -> None:
        table = parquet.read_table(path)
        column: Any = table.column("symbol").combine_chunks()
        names, numbers = column.dictionary.to_pylist(), column.indices.to_numpy()
        sequences, checksums = table.column("sequence").to_numpy(), table.column("checksum").to_numpy()
        order = np.lexsort((sequences, numbers))
        bounds = np.searchsorted(numbers[order], np.arange(len(names) + 1))
        self.sequences: dict[str, NDArray[np.int64]] = {}
        self.checksums: dict[str, NDArray[np.uint64]] = {}
        for name, begin, end in zip(names, bounds[:-1], bounds[1:], strict=True):
            if end > begin:
                self.sequences[name] = sequences[order[begin:end]]
                self.checksums[name] = checksums[order[begin:end]]


class OpenD:
    """The simulator as the harness sees it. A context manager."""

    def __init__(self, folder: Path, seed: int, rate: float) -> None:
        self._truth = folder / "truth.parquet"
        self._arguments = ["--seed", str(seed), "--rate", str(rate), "--truth", str(self._truth)]
        self._log = folder / "opend.log"
        self.port = 0

    def __enter__(self) -> Self:
        command = tethered([sys.executable, "-m", "tests.chaos.opend", *self._arguments])
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
            )
        self.port = int(wait_until_listening(self._process).rpartition(":")[2])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def halt(self) -> Truth:
        """Let nobody trade any more; everything made until now."""
        self._say("halt")
        return Truth(self._truth)

    def go(self) -> None:
        """Let them trade again."""
        self._say("go")

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        assert self._process.stdout.readline() == f"{word}\n", "the simulator is gone"


class _Server(OpenDServer):
    """An OpenD whose market stands still while it is halted; it answers as always."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._halted = False

    def _step(self, elapsed_s: float, behind_s: float) -> int:
        return 0 if self._halted else super()._step(elapsed_s, behind_s)

    async def obey(self, truth: Path) -> None:
        commands = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while word := (await commands.readline()).decode():
            self._halted = word == "halt\n"
            if self._halted:
                write_truth(truth, self.market)
            sys.stdout.write(word)
            sys.stdout.flush()


async def _serve(options: Options, truth: Path) -> None:
    server = _Server(options)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run())
        tasks.create_task(server.obey(truth))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.opend", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--truth", type=Path, required=True)
    arguments = parser.parse_args()
    configure_logs(LogFormat.JSON)
    options = Options(
        port=0,
        date=str(day_between_months(datetime.datetime.now(datetime.UTC).date())),
        seed=arguments.seed,
        symbols=SYMBOLS,
        rate=arguments.rate,
        faults=Faults.parse(FAULTS, arguments.seed),
        truth=arguments.truth,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, arguments.truth))


if __name__ == "__main__":
    main()
