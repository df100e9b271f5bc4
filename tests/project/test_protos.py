"""The checked-in protobuf code is what the compiler makes of the .proto files, to the byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    sources = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.glob("protos/*/*.proto"))
    assert sources
    outputs = (f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    command = (sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *map(str, sources))
    subprocess.run(command, cwd=REPOSITORY, check=True)

    generated = {path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2.py*")}
    checked_in = {path.relative_to(REPOSITORY) for path in REPOSITORY.glob("protos/*/*_pb2.py*")}
    assert checked_in == generated
    stale = [
        str(path) for path in sorted(generated) if (tmp_path / path).read_bytes() != (REPOSITORY / path).read_bytes()
    ]
    assert not stale, "run `make protos`"
