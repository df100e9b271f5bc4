"""Stores that daemons filled, and hands that take rows out of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.daemons import ticktape

AUDIT_S_MAX = 120.0


def audited(config: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report of `ticktape audit --format json`."""
    done = ticktape(config, "audit", "--format", "json", *arguments, timeout_s=AUDIT_S_MAX)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def symbols_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["symbol"]: each for day in report["days"] for each in day["symbols"]}


def unexplained(report: dict[str, Any]) -> list[str]:
    return [f"{each['symbol']}: {each['what']}" for day in report["days"] for each in day["unexplained"]]


def by_hand(folder: Path, *statements: str) -> None:
    """Run statements on an embedded store, as somebody with a ClickHouse client does."""
    code = "import chdb, sys\nc = chdb.connect(sys.argv[1])\nfor s in sys.argv[2:]: c.query(s)\nc.close()"
    subprocess.run([sys.executable, "-c", code, str(folder), *statements], check=True, timeout=60)


def delete(where: str) -> str:
    return f"ALTER TABLE ticktape.ticks DELETE WHERE {where} SETTINGS mutations_sync = 2"
