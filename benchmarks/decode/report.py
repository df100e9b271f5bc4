"""What was measured, and how it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.decode.cases import Case
from benchmarks.decode.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Measured:
    """Ours against one peer on one case, in rows (or calls) a second; `floor` is the least ratio that is promised."""

    case: str
    peer: str
    floor: float
    ours_per_s: float
    peer_per_s: float

    @property
    def ratio(self) -> float:
        return self.ours_per_s / self.peer_per_s

    def result(self) -> dict[str, object]:
        """As one JSON object."""
        return {
            "case": self.case,
            "peer": self.peer,
            "ratio": float(f"{self.ratio:.3g}"),
            "ours_per_s": round(self.ours_per_s),
            "peer_per_s": round(self.peer_per_s),
        }


@dataclass(slots=True)
class Report:
    """Cases to be measured, and what came out."""

    KEY: ClassVar[pytest.StashKey[Report]] = pytest.StashKey()

    cases: list[Case]
    one_frame: Corpus
    measured: list[Measured] = field(default_factory=list)
    beside_memcpy: list[tuple[str, str, float, float, float]] = field(default_factory=list)

    def pytest_configure(self, config: pytest.Config) -> None:
        """As a plugin: how the tests find it."""
        config.stash[Report.KEY] = self

    def add(self, measured: Measured) -> None:
        self.measured.append(measured)

    def add_memcpy(self, case: Case, copied_s: float, ours_s: float) -> None:
        size, rows = case.corpus.size_bytes, case.corpus.tick_count
        self.beside_memcpy.append(
            (case.name, case.unit, rows / ours_s / 1e6, size / ours_s / 1e9, size / copied_s / 1e9)
        )

    def print(self) -> None:
        """The two tables."""
        speeds = Table("case", "M/s", "GB/s", "memcpy, GB/s", title="Ours, one core")
        for name, unit, rows, ours, memcpy in self.beside_memcpy:
            speeds.add_row(name, f"{rows:.1f} {unit}", f"{ours:.2f}", f"{memcpy:.1f}")
        ratios = Table(
            "case", "peer", "ratio", "at least", "ours /s", "peer /s", title="Against peers, same run, same bytes"
        )
        for each in self.measured:
            style = "" if each.ratio >= each.floor else "bold red"
            ratios.add_row(
                each.case,
                each.peer,
                f"{each.ratio:,.1f}",
                f"{each.floor:g}",
                f"{each.ours_per_s:,.0f}",
                f"{each.peer_per_s:,.0f}",
                style=style,
            )
        console = Console()
        console.print(speeds, ratios)

    def json_lines(self) -> str:
        """One object a line."""
        return "\n".join(json.dumps(each.result()) for each in self.measured)
