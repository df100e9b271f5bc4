"""What must not stand in any tracked file: where packages come from, and paths of one person's machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

_REGISTRIES = (
    "pypi",
    "pythonhosted",
    "npmjs",
    "crates",
    "maven",
    "sonatype",
    "golang",
    "debian",
    "docker",
    "quay",
    "ghcr",
    "gcr",
)
_REGISTRY_HOST = re.compile(rf"\b(?:{'|'.join(_REGISTRIES)})(?:\.[a-z0-9-]+)*\.(?:org|com|io|net)\b", re.IGNORECASE)
_INDEX_OPTION = re.compile(r"--(?:extra-)?index-url\b|--trusted-host\b|--find-links\b")
# At the start of a word: `src/home/` is no machine's path. `/tmp` is where a container mounts its scratch volume.
_MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root|home|Users|tmp/\w+)(?=/|\b)")

# The places that name such things in order to forbid them.
_EXEMPT = {"tests/project/test_tracked_files.py", "tests/deploy/test_dockerfile.py", "LICENSE"}


def tracked_files() -> list[str]:
    """Of git, whatever else lies in the folder."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and name not in _EXEMPT]


def found(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of each match in a tracked file."""
    hits = []
    for name in tracked_files():
        path = REPOSITORY / name
        if not path.is_file():
            continue  # deleted, and not committed yet
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if match := pattern.search(line):
                hits.append(f"{name}:{number}: {match[0]}")
    return hits


@pytest.mark.parametrize("pattern", [_REGISTRY_HOST, _INDEX_OPTION, _MACHINE_PATH], ids=["host", "index", "path"])
def test_no_tracked_file_holds(pattern: re.Pattern[str]) -> None:
    assert not found(pattern)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (_REGISTRY_HOST, "see https://repo1.maven.example.org/x"),
        (_REGISTRY_HOST, "files.pythonhosted.org"),
        (_INDEX_OPTION, "pip install --extra-index-url=x"),
        (_MACHINE_PATH, 'open("/home/me/ticks")'),
        (_MACHINE_PATH, "cd /tmp/scratch && ls"),
        (_MACHINE_PATH, "in /root"),
    ],
)
def test_the_patterns_find(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize("line", ["mountPath: /tmp}", "src/root/x", "https://host/home/", "a/tmp/b"])
def test_a_path_that_is_no_machines(line: str) -> None:
    assert not _MACHINE_PATH.search(line)
