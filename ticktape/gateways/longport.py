"""Gateways of kind `longport`: from settings to what each is to get."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from codec.markets import US, parse_symbol
from ingest.longport.address import Address
from ingest.longport.gateway import LongPortConfig, LongPortGateway
from ingest.longport.limits import AccountLimits
from ingest.longport.poll_plan import COMMAND_OF_FEED
from ingest.longport.signature import Credentials
from ticktape.gateways.kinds import Shared, of_kind
from ticktape.gateways.wanted import poll_configs, tick_polls, tick_subscriptions, tick_symbols
from ticktape.settings import BadSettings, GatewaySettings, LongPortSettings, Settings
from ticktape.wiring import revealed


class LongPortGateways:
    """The LongPort accounts of this process; gateways of one account share its limits."""

    def __init__(self) -> None:
        self._keys: dict[str, Credentials] = {}
        self._gateways: list[LongPortGateway] = []

    def read_keys(self, gateways: Sequence[GatewaySettings]) -> None:
        self._keys |= {each.name: credentials(each) for each in of_kind(gateways, LongPortSettings)}

    async def make(self, settings: Settings, shared: Shared) -> Sequence[LongPortGateway]:
        limits: dict[str, AccountLimits] = {}
        for config in gateway_configs(settings, self._keys):
            of_account = limits.setdefault(config.credentials.app_key, AccountLimits(random.Random()))
            gateway = LongPortGateway(config, shared.pipeline, shared.clock, limits=of_account, hours=shared.hours)
            self._gateways.append(gateway)
        return self._gateways

    def reconfigure(self, settings: Settings) -> None:
        configs = {config.name: config for config in gateway_configs(settings, self._keys)}
        for gateway in self._gateways:
            if (config := configs[gateway.name]) != gateway.config:
                gateway.reconfigure(config)

    async def stop(self) -> None:
        pass


def credentials(gateway: LongPortSettings) -> Credentials:
    """The keys of an account.

    Raises
    ------
    BadSettings
        One is missing.
    """
    keys = {name: revealed(getattr(gateway, name)) or "" for name in ("app_key", "app_secret", "access_token")}
    problems = [
        f"gateway {gateway.name}: {name} is missing: set TICKTAPE_GATEWAY__{gateway.environment_name}__{name.upper()} "
        f"or {name}_file"
        for name, key in keys.items()
        if not key
    ]
    if problems:
        raise BadSettings(problems)
    return Credentials(**keys)


def gateway_configs(settings: Settings, keys: Mapping[str, Credentials]) -> list[LongPortConfig]:
    """The gateways that are in `keys`, by name, each with all its symbols, in file order."""
    accounts = of_kind(settings.gateway, LongPortSettings)
    return [_gateway_config(settings, each, keys[each.name]) for each in accounts if each.name in keys]


def _gateway_config(settings: Settings, gateway: LongPortSettings, keys: Credentials) -> LongPortConfig:
    overnight = any(
        parse_symbol(symbol)[0] == US
        for subscription in tick_subscriptions(settings, gateway)
        if subscription.session == "all"
        for symbol in subscription.symbols
    )
    return LongPortConfig(
        name=gateway.name,
        address=Address(gateway.url),
        http_url=gateway.http_url,
        credentials=keys,
        symbols=tick_symbols(settings, gateway),
        polls=poll_configs(settings, gateway, COMMAND_OF_FEED),
        tick_polls=tick_polls(settings, gateway),
        overnight=overnight,
    )
