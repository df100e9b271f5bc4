"""constraints.txt: one exact version of everything that is installed, and no word on where it comes from."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LINES = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = [Requirement(line) for line in LINES]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_line_is_one_exact_version() -> None:
    for pin in PINS:
        assert pin.url is None, pin
        assert not pin.extras, pin
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert "*" not in specifier.version, pin


def test_a_name_is_pinned_once_for_any_machine() -> None:
    unconditional = [canonicalize_name(pin.name) for pin in PINS if pin.marker is None]
    assert len(unconditional) == len(set(unconditional))
    applying = [canonicalize_name(pin.name) for pin in PINS if pin.marker is None or pin.marker.evaluate()]
    assert len(applying) == len(set(applying))


def test_everything_that_the_project_needs_is_pinned_and_installed_so() -> None:
    pinned = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in PINS
        if pin.marker is None or pin.marker.evaluate()
    }
    needed = needed_by(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    assert needed
    installed = {name: importlib.metadata.version(name) for name in needed}
    assert installed == {name: pinned.get(name) for name in needed}, "run `make constraints`, or set up .venv again"


def needed_by(*requirement_lists: list[str]) -> set[NormalizedName]:
    """Canonical names of everything that is installed for these requirements, theirs included."""
    needed: set[NormalizedName] = set()
    waiting = [(Requirement(text), "") for texts in requirement_lists for text in texts]
    while waiting:
        requirement, extra_of_parent = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(requirement.name)
        if name in needed and not requirement.extras:
            continue
        needed.add(name)
        children = importlib.metadata.requires(name) or ()
        waiting += [(Requirement(text), extra) for text in children for extra in ("", *requirement.extras)]
    return needed
