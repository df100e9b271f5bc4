"""import-linter's contracts notice what they forbid: each is broken once, in a copy of the packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_LINTER = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
_LAYERS, _PURE = (contract["name"] for contract in _LINTER["contracts"])


@pytest.fixture(scope="module")
def copy_of_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for package in _LINTER["root_packages"]:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the packages in `folder`; it looks in the working folder before anything installed."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run((program, "--no-cache"), cwd=folder, capture_output=True, text=True, check=False)


def test_the_packages_keep_every_contract(copy_of_packages: Path) -> None:
    result = lint_imports(copy_of_packages)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "forbidden", "contract"),
    [
        ("ingest", "import sinks", _LAYERS),
        ("sinks", "import ingest", _LAYERS),
        ("sinks", "import ticktape", _LAYERS),
        ("codec", "import sinks", _LAYERS),
        ("protos", "import codec", _LAYERS),
        ("codec", "import socket", _PURE),
        ("codec.opend", "from time import time_ns", _PURE),
        ("protos.opend", "import logging", _PURE),
    ],
)
def test_a_forbidden_import_is_noticed(copy_of_packages: Path, module: str, forbidden: str, contract: str) -> None:
    path = copy_of_packages.joinpath(*module.split("."), "__init__.py")
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{forbidden}\n", encoding="utf-8")
    try:
        result = lint_imports(copy_of_packages)
    finally:
        path.write_text(before, encoding="utf-8")
    assert result.returncode == 1
    assert f"{contract} BROKEN" in " ".join(result.stdout.split())
