"""Gateways of kind `flow-list`: from settings to what each is to get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingest.flow_list.client import FlowListConfig
from ingest.flow_list.gateway import FEED, FlowListGateway
from ingest.flow_list.plan import ListWish
from ticktape.gateways.kinds import Shared, of_kind, subscriptions_of
from ticktape.keys import read_headers
from ticktape.settings import FlowListSettings, GatewaySettings, Settings

HeaderPairs = tuple[tuple[str, str], ...]


class FlowListGateways:
    """The flow lists of this process."""

    def __init__(self) -> None:
        self._headers: dict[str, HeaderPairs] = {}
        self._gateways: list[FlowListGateway] = []

    def read_keys(self, gateways: Sequence[GatewaySettings]) -> None:
        self._headers |= {each.name: read_headers(each) for each in of_kind(gateways, FlowListSettings)}

    async def make(self, settings: Settings, shared: Shared) -> Sequence[FlowListGateway]:
        self._gateways = [
            FlowListGateway(config, shared.pipeline, shared.clock, hours=shared.hours)
            for config in flow_list_configs(settings, self._headers)
        ]
        return self._gateways

    def reconfigure(self, settings: Settings) -> None:
        configs = {config.name: config for config in flow_list_configs(settings, self._headers)}
        for gateway in self._gateways:
            if (config := configs[gateway.name]) != gateway.config or gateway.gave_up:
                gateway.reconfigure(config)

    async def stop(self) -> None:
        """Nothing is shared."""


def flow_list_configs(settings: Settings, headers: Mapping[str, HeaderPairs]) -> list[FlowListConfig]:
    """The gateways that are in `headers`, by name, in file order."""
    lists = of_kind(settings.gateway, FlowListSettings)
    return [flow_list_config(settings, each, headers[each.name]) for each in lists if each.name in headers]


def flow_list_config(settings: Settings, gateway: FlowListSettings, headers: HeaderPairs) -> FlowListConfig:
    """One gateway with all its symbols."""
    return FlowListConfig(
        name=gateway.name,
        url=gateway.url,
        method=gateway.method,
        market=gateway.market,
        batch_max=gateway.batch_max,
        list_format=gateway.list_format,
        headers=headers,
        wanted=tuple(
            ListWish(each.symbols, each.poll_interval.total_seconds())
            for each in subscriptions_of(settings, gateway)
            if FEED in each.feeds
        ),
        source=gateway.source,
    )
