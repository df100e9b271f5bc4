"""`ticktape check --observe` against a simulated OpenD: one that is as we believe, and one that counts otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.program.test_daemons import configuration
from tests.support.daemons import free_port, ticktape
from tests.support.simulator import opend_simulator


def observed(folder: Path, port: int, duration: str = "3s") -> tuple[int, str]:
    config = configuration(folder, port, free_port(), free_port())
    done = ticktape(config, "check", "--observe", duration, timeout_s=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--faults", "uncounted=0.2"), 1)])
def test_the_counter_is_tested(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    with opend_simulator("--symbols", 6, "--rate", 600, *options) as opend:
        ended, text = observed(tmp_path, opend.port)
        truth = opend.stop()
    assert ended == code, text
    assert text.count("FAILS") == code, text
    assert ("the ledger's sequence_step holes" in text) == bool(code)
    assert set(truth["tables"]["ticks"]["symbols"]) == {
        "HK.00700", "HK.03690", "HK.09988", "US.AAPL", "US.NVDA", "US.TSLA",
    }  # fmt: skip
    assert "OpenD keeps these subscriptions until their minute is over" in text


def test_only_what_the_quota_leaves_is_watched(tmp_path: Path) -> None:
    with opend_simulator("--symbols", 6, "--rate", 600, "--quota", 2) as opend:
        ended, text = observed(tmp_path, opend.port, "1s")
    assert ended == 0, text
    [watched] = re.findall(r"ticks of (.*)", text)
    assert len(watched.split(", ")) == 2
    assert "not watched, for want of quota or right" in text


def test_nobody_there_and_a_senseless_duration(tmp_path: Path) -> None:
    ended, text = observed(tmp_path, free_port(), "1s")
    assert (ended, "cannot connect" in text) == (1, True)
    ended, text = observed(tmp_path, free_port(), "10")
    assert (ended, "must be a duration" in text) == (2, True)
