"""Reads the Dockerfile into instructions, and what its environment and user come to at the end."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `COPY`, and the rest of its line with continuations joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the rest, without its --options."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def options(self) -> dict[str, str]:
        """Its --options by name."""
        given = (word.removeprefix("--") for word in shlex.split(self.text) if word.startswith("--"))
        return dict(option.split("=", 1) for option in given)


@dataclass(slots=True)
class Stage:
    """From one FROM to the next."""

    image: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all_of(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]

    def the(self, name: str) -> Instruction:
        """The one instruction of that name."""
        (instruction,) = self.all_of(name)
        return instruction

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for env in self.all_of("ENV") for word in env.words)


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            image, *alias = rest.split(" AS ")
            stages.append(Stage(image, alias[0] if alias else None))
        else:
            stages[-1].instructions.append(Instruction(name, rest))
    return stages
