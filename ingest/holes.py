"""The holes that a gateway knows of, told to the account of its source."""

from __future__ import annotations

from collections.abc import Iterable

from codec.markets import Security
from ingest.lane import Lane
from ingest.pipeline import TickPipeline


class Holes:
    """Of the symbols of one gateway."""

    def __init__(self, lane: Lane, pipeline: TickPipeline, gateway: str) -> None:
        self._lane, self._pipeline, self._gateway = lane, pipeline, gateway

    def open(self, security: Security, cause: str) -> None:
        """Ticks may be missing from here on; the next answer to a pull settles it, or `give_up`."""
        self._lane.open_hole(self._lane.symbols.id_of(*security), cause, self._gateway)
        self._pipeline.gathered(self._lane)

    def begin(self, securities: Iterable[Security]) -> None:
        """These are asked for: what was traded before, while we were not there, is a hole."""
        for security in securities:
            self._lane.begin(self._lane.symbols.id_of(*security), self._gateway)

    def give_up(self, security: Security, *, leaves: bool) -> None:
        """The pulls of a symbol failed for good; `leaves` when it is not wanted any more."""
        self._lane.give_up(self._lane.symbols.id_of(*security), leaves=leaves)
        self._pipeline.gathered(self._lane)
