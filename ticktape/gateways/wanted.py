"""What subscriptions want of a gateway, whatever its kind."""

from __future__ import annotations

from collections.abc import Container

from codec.tables import TICKS
from ingest.poll_config import PollConfig
from ticktape.gateways.kinds import subscriptions_of
from ticktape.settings import GatewaySettings, Settings, SubscriptionSettings


def poll_configs(settings: Settings, gateway: GatewaySettings, polled: Container[str]) -> tuple[PollConfig, ...]:
    """The feeds among `polled` that this gateway is to be asked for."""
    return tuple(
        PollConfig(feed, subscription.symbols, subscription.poll_interval.total_seconds(), subscription.periods)
        for subscription in subscriptions_of(settings, gateway)
        for feed in subscription.feeds
        if feed in polled
    )


def tick_symbols(settings: Settings, gateway: GatewaySettings) -> tuple[str, ...]:
    """Whose ticks are wanted from a gateway, each once, in file order."""
    return tuple(dict.fromkeys(symbol for each in tick_subscriptions(settings, gateway) for symbol in each.symbols))


def tick_subscriptions(settings: Settings, gateway: GatewaySettings) -> list[SubscriptionSettings]:
    """Those that want ticks from a gateway, in file order."""
    return [each for each in subscriptions_of(settings, gateway) if TICKS.name in each.feeds]


def tick_polls(settings: Settings, gateway: GatewaySettings) -> dict[str, float]:
    """Symbols whose ticks are wanted pulled again and again rather than pushed, with the interval in seconds.

    Asked for both ways they are pushed; asked for twice, the shorter interval.
    """
    subscriptions = tick_subscriptions(settings, gateway)
    pushed = {symbol for each in subscriptions if each.mode == "push" for symbol in each.symbols}
    intervals_s: dict[str, float] = {}
    for subscription in subscriptions:
        interval_s = subscription.poll_interval.total_seconds()
        for symbol in subscription.symbols:
            if symbol not in pushed:
                intervals_s[symbol] = min(interval_s, intervals_s.get(symbol, interval_s))
    return intervals_s
