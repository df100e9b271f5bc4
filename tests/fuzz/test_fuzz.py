"""The fuzzer finds nothing in a short run, and finds what it is made to find."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from codec.bits import JIT_DISABLED, PAD_BYTES
from codec.columns import TickBuffer
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import wire
from tests.fuzz import broken
from tests.fuzz.cases import Case, Mismatch, Runner, case_of
from tests.fuzz.guarded import GuardedMemory, GuardedPages, Placing
from tests.fuzz.messages import rearranged, shortened
from tests.fuzz.opend import TickTimes
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

PROJECT = Path(__file__).parents[2]


def fuzz(*options: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of the program."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--save", str(folder), *options],
        cwd=PROJECT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=850,
    )
    return run.returncode, run.stdout


def ends_by(action: Callable[[], object]) -> int:
    """The signal that ends a process which does this, 0 for none."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()  # pytest's: the fault is meant
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class Silent:
    """A watch that nobody looks at."""

    def __init__(self) -> None:
        self.calls = self.compares = 0

    def calling(self, variant: int, index: int) -> None: ...

    def called(self, took_ns: int, size_bytes: int) -> None:
        self.calls += 1

    def compared(self) -> None:
        self.compares += 1


@pytest.mark.timeout(900)  # where kernels have yet to be compiled
@pytest.mark.skipif(JIT_DISABLED, reason="plain Python stays within its memory by itself")
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    code, output = fuzz("--seed", "20261120", "--cases", "8", folder=tmp_path)
    assert code == 0, output
    for kind in TARGETS:
        assert re.search(rf"^  {kind.name} +8 cases +[0-9,]{{3,}} calls", output, re.MULTILINE), output


def test_what_is_found_is_saved_and_found_again(tmp_path: Path) -> None:
    broken_ones = ("--targets", "tests.fuzz.broken")
    code, output = fuzz(*broken_ones, "--kernel", "reads-behind", "--seed", "4", folder=tmp_path)
    assert code == 1
    found = re.search(r"FOUND in reads-behind, seed 4, case (\d+), input (\d+): ended by SIGSEGV", output)
    assert found is not None, output
    (saved,) = tmp_path.iterdir()
    assert saved.name == f"reads-behind-4-{found[1]}.json"
    case = Case.load(saved)
    assert case == case_of(broken.ReadsBehind(4), 4, int(found[1]))
    misread = [broken.ReadsBehind.trigger in data for data in case.inputs]
    assert misread.index(True) == int(found[2])
    code, output = fuzz(*broken_ones, "--replay", str(saved), folder=tmp_path)
    assert code == 1
    assert "SIGSEGV" in output
    assert list(tmp_path.iterdir()) == [saved]


def test_a_call_that_does_not_come_back_is_found(tmp_path: Path) -> None:
    options = ("--targets", "tests.fuzz.broken", "--kernel", "comes-not-back", "--call-seconds", "0.3")
    code, output = fuzz(*options, folder=tmp_path)
    assert code == 1
    assert re.search(r"FOUND in comes-not-back, seed 0, case \d+, input \d+: not back after [0-9.]+ s", output), output


def one_case(kind: type[Target]) -> tuple[Target, Case]:
    return kind(1), Case(kind.name, 7, (b"sound", b"not \xff"), has_oracle=False)


@pytest.mark.parametrize("kind", [broken.ReadsBehind, broken.ReadsBefore, broken.Writes])
def test_memory_that_must_not_be_touched(kind: type[Target]) -> None:
    target, case = one_case(kind)
    assert ends_by(lambda: Runner(Silent()).run(target, case)) == signal.SIGSEGV
    sound = Case(case.kernel, case.limits, case.inputs[:1], has_oracle=False)
    assert ends_by(lambda: Runner(Silent()).run(target, sound)) == 0


def test_an_outcome_that_hangs_on_what_lies_behind_the_data() -> None:
    with pytest.raises(Mismatch, match="input 1 gave"):
        Runner(Silent()).run(*one_case(broken.BelievesThePad))


def test_an_exception_gets_out() -> None:
    with pytest.raises(OverflowError):
        Runner(Silent()).run(*one_case(broken.Raises))


def test_the_same_seed_makes_the_same_cases() -> None:
    one, other = TickTimes(3), TickTimes(3)
    cases = [case_of(one, 3, number) for number in range(20)]
    assert cases == [case_of(other, 3, number) for number in range(20)]
    assert cases != [case_of(other, 4, number) for number in range(20)]


def test_a_saved_case_is_the_same_when_loaded(tmp_path: Path) -> None:
    case = Case("opend", 2**32 - 1, (b"", b"\x00\xff"), has_oracle=True)
    case.saved(tmp_path / "case.json")
    assert Case.load(tmp_path / "case.json") == case


def test_a_wrong_row_is_not_what_the_oracle_says(monkeypatch: pytest.MonkeyPatch) -> None:
    target = TickTimes(1)
    data = target.wrap(random.Random(1), [b"2026-11-20 09:30:00"])
    assert target.check(data)
    monkeypatch.setattr("tests.codec.feeding.Feeder.drain", lambda feeder: None)
    with pytest.raises(AssertionError, match="not what the oracle says"):
        target.check(data)


def test_input_lies_between_closed_pages() -> None:
    placing = Placing(1 << 20)
    for size in (0, 1, 5000, 20_000, 1 << 20):
        data, pad = b"d" * size, b"p" * PAD_BYTES
        for place in (placing.at_end, placing.at_beginning):
            with place(data, pad) as (source, start, stop):
                assert source[start:stop].tobytes() == data
                assert source[stop : stop + PAD_BYTES].tobytes() == pad
                assert stop <= len(source) - PAD_BYTES
        with placing.at_end(data, pad) as (source, _, stop):
            assert len(source) == stop + PAD_BYTES
        with placing.at_beginning(data, pad) as (_, start, _):
            assert start == 0


def test_outputs_end_at_a_closed_page() -> None:
    memory, ticks = GuardedMemory(), TickBuffer(3)
    memory.guard(ticks)
    assert ticks.wide.shape == (4, 3)
    for block in (ticks.wide, ticks.real, ticks.narrow, ticks.small):
        behind = block.ctypes.data + block.nbytes
        assert behind % os.sysconf("SC_PAGE_SIZE") == 0
        assert ends_by(partial(ctypes.memset, behind - 1, 0, 1)) == 0
        assert ends_by(partial(ctypes.memset, behind, 0, 1)) == signal.SIGSEGV


def test_arrays_shared_by_two_owners_stay_shared() -> None:
    class Owner:
        def __init__(self, array: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
            self.array, self.arrays, self.name = array, (array, 1), "x"

    array = np.arange(5)
    memory, one, other = GuardedMemory(), Owner(array), Owner(array)
    memory.guard(one, other)
    assert one.array is other.array is one.arrays[0] is other.arrays[0]
    assert one.array is not array
    assert (one.array == array).all()
    assert GuardedPages(1).data[0] == 0


def test_lengths_of_outer_messages_are_right_again_where_a_body_is_cut() -> None:
    inner = wire.number(1, 7) + wire.piece(2, b"text")
    body = wire.number(1, 0) + wire.piece(4, wire.piece(2, inner), 2)
    place = len(body) - 2
    assert shortened(body, place, 0) == body[:place]
    cut = inner[:-2]
    assert shortened(body, place, 3) == wire.number(1, 0) + wire.piece(4, wire.piece(2, cut[:-3] + b"\x02te"), 2)
    assert shortened(body, place, 2) == wire.number(1, 0) + wire.piece(4, wire.piece(2, cut), 2)
    still_long = wire.tag(2, wire.LENGTH_DELIMITED) + wire.varint(len(inner)) + cut
    assert shortened(body, place, 1) == wire.number(1, 0) + wire.piece(4, still_long, 2)


def test_a_rearranged_message_is_still_one() -> None:
    message = UpdateTickerResponse(retType=0)
    message.s2c.security.code = "00700"
    for sequence in range(3):
        message.s2c.tickerList.add(sequence=sequence, time="soon")
    body = message.SerializePartialToString()
    chance = random.Random(5)
    others = {rearranged(chance, body) for _ in range(300)}
    counts = {len(UpdateTickerResponse.FromString(other).s2c.tickerList) for other in others}
    assert counts >= {2, 3, 4, 6, 73}
    assert rearranged(chance, b"\xff no message") == b"\xff no message"
