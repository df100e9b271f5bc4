"""The kernels as plain Python: what they compute does not hang on the compiler, and coverage sees inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codec.bits import JIT_DISABLED

PROJECT = Path(__file__).parents[2]


@pytest.mark.skipif(JIT_DISABLED, reason="this is that run")
def test_the_tests_of_this_folder_pass_without_the_compiler() -> None:
    """With fewer examples (tests/codec/examples.py), and without a warning of integers that wrap around."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-W", "error::RuntimeWarning", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(Path(__file__).parent)],
        check=False,
        cwd=PROJECT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
