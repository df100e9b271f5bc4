"""How an official SDK is run in each mode that it supports, in a process of its own.

Importing an SDK writes log folders below $HOME and starts threads, which belong into no test process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODES = ("plain", "json", "cbc", "ecb", "json-cbc")
"""Of an OpenD connection: JSON bodies, encryption by AES-CBC or by Futu's own ECB, and both; see `open_context`."""


def is_json(mode: str) -> bool:
    return mode.startswith("json")


def aes_of(mode: str) -> str | None:
    """`cbc`, `ecb` or None."""
    last = mode.rpartition("-")[2]
    return last if last in ("cbc", "ecb") else None


def simulator_options(mode: str, key_file: Path) -> list[str]:
    """Of a simulator for clients in `mode`."""
    aes = aes_of(mode)
    return ["--rsa-key", str(key_file), "--aes", aes] if aes else []


def run_sdk(module: str, sdk: str, home: Path, *arguments: str) -> None:
    """Run `module` with `sdk` and the arguments in a process of its own. Raises CalledProcessError."""
    command = [sys.executable, "-m", module, sdk, *arguments]
    environment = {**os.environ, "HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        raise subprocess.CalledProcessError(ended.returncode, command)


def open_context(sdk: Any, port: str, mode: str, key_file: str) -> Any:
    """An OpenQuoteContext of `sdk`, the imported module, in `mode`.

    An SDK that was given a key encrypts its greeting ever after: modes without encryption come first.
    """
    is_encrypted = aes_of(mode) is not None
    if is_encrypted:
        sdk.SysConfig.set_init_rsa_file(key_file)
    sdk.SysConfig.set_proto_fmt(sdk.ProtoFMT.Json if is_json(mode) else sdk.ProtoFMT.Protobuf)
    return sdk.OpenQuoteContext(host="127.0.0.1", port=int(port), is_encrypt=is_encrypted)
