"""A gateway as the hop sees it, whatever its kind, and a kind of gateway as it is made here.

Each kind has a module beside this one: from its settings to what `ingest` is configured with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from codec.clock import MarketClock
from ingest.market_hours import MarketHours
from ingest.pipeline import TickPipeline
from sinks.journal import Journal
from ticktape.settings import GatewaySettings, Settings, SubscriptionSettings


class Counts(Protocol):
    """What a gateway of any kind counts."""

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """By (call, outcome)."""

    @property
    def dead_letters(self) -> Counter[tuple[str, str]]:
        """By (feed, reason)."""


class Gateway(Protocol):
    """One gateway: it tries again for ever, and tells how it is."""

    @property
    def name(self) -> str:
        """As configured."""

    @property
    def ready(self) -> bool:
        """Whether it gives what it was asked for."""

    @property
    def up(self) -> bool:
        """Whether it answers."""

    @property
    def logged_in(self) -> bool:
        """Whether it takes us for somebody who may ask."""

    @property
    def stats(self) -> Counts: ...

    async def start(self) -> None:
        """Begin; troubles of the network are none of starting."""

    async def stop(self) -> None:
        """Let go of everything; also when it was never started."""

    async def wait(self) -> None:
        """Return once stopped; what this raises is a mistake of ours."""

    def status(self) -> dict[str, object]:
        """What `ticktape status` shows of it (ticktape/status.py says which keys)."""

    def quota_used(self) -> dict[str, float]:
        """By call, 1.0 for all of its quota; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all gateways of the process have in common.

    Attributes
    ----------
    journal : open; its control state is where a kind may keep what must survive a restart
    hours : regular hours by market number, outside of which polls pause; None: around the clock
    """

    journal: Journal
    pipeline: TickPipeline
    clock: MarketClock
    hours: Mapping[int, MarketHours] | None


class Kind(Protocol):
    """The gateways of one kind in this process."""

    def read_keys(self, gateways: Sequence[GatewaySettings]) -> None:
        """Read what only files hold of these; those of other kinds are passed over. Called once for each.

        Raises
        ------
        BadSettings
            A file cannot be used.
        """

    async def make(self, settings: Settings, shared: Shared) -> Sequence[Gateway]:
        """The gateways whose keys were read, not started yet. Each has asked the pipeline for its lane."""

    def reconfigure(self, settings: Settings) -> None:
        """The configuration was read again: other subscriptions are wanted, or the same ones once more."""

    async def stop(self) -> None:
        """Called once the gateways have stopped; also when none was made."""


Each = TypeVar("Each", bound=GatewaySettings)


def of_kind(gateways: Sequence[GatewaySettings], kind: type[Each]) -> Iterator[Each]:
    """Those of one kind, in file order."""
    return (gateway for gateway in gateways if isinstance(gateway, kind))


def subscriptions_of(settings: Settings, gateway: GatewaySettings) -> list[SubscriptionSettings]:
    """What is wanted from a gateway, in file order."""
    return [each for each in settings.subscription if each.gateway == gateway.name]
