"""The official JavaScript SDK in a Node of its own, set up in a folder of the project when it is first needed."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[1] / "javascript"
FOLDER = Path(__file__).parents[2] / ".cache" / "javascript"
_WANTED = ("package.json", "package-lock.json")
_NODE_WITH_WEBSOCKET = 22
INSTALL_TIMEOUT_S, RUN_TIMEOUT_S = 240, 90


def why_not() -> str | None:
    """What this machine lacks, if anything."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        return f"there is no {' and no '.join(missing)} on this machine"
    version = _node_version()
    return None if version >= 20 else f"node {version} has no WebSocket; 20 and newer have"


def collect_ticks(port: int, key: str, wanted: int, symbols: list[str], file: Path) -> dict[str, Any]:
    """What the SDK saw of the symbols, once that were so many ticks; or that it was not let in."""
    _set_up()
    client = FOLDER / "client.mjs"
    shutil.copyfile(SOURCES / client.name, client)
    options = ["--experimental-websocket"] if _node_version() < _NODE_WITH_WEBSOCKET else []
    command = ["node", *options, str(client), str(port), key, str(wanted), str(file), *symbols]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def _node_version() -> int:
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    found = re.match(r"v(\d+)\.", said)
    assert found is not None, said
    return int(found[1])


def _set_up() -> None:
    """Install what the lock file names, unless that was done; once at a time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {name: (SOURCES / name).read_bytes() for name in _WANTED}
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = FOLDER / "installed"
        if installed.exists() and installed.read_bytes() == wanted["package-lock.json"]:
            return
        for name, content in wanted.items():
            (FOLDER / name).write_bytes(content)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"npm ci: {done.stderr}"
        installed.write_bytes(wanted["package-lock.json"])
