"""Gateways of kind `opend`: from settings to what each is to get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codec.opend.protocol import SessionChoice
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.opend.encryption import WireMode
from ingest.opend.poll_plan import CALL_OF_FEED
from ingest.opend.poller import QUOTAS
from ingest.quota_keeper import QuotaKeeper
from ticktape.gateways.kinds import Shared, of_kind
from ticktape.gateways.wanted import poll_configs, tick_polls, tick_subscriptions, tick_symbols
from ticktape.keys import wire_mode
from ticktape.quota_store import JournalQuotaStore
from ticktape.settings import GatewaySettings, OpenDSettings, Settings


class OpenDGateways:
    """The OpenDs of this process, which share the quotas of their logins."""

    def __init__(self) -> None:
        self._wires: dict[str, WireMode] = {}
        self._gateways: list[OpenDGateway] = []
        self._quotas: QuotaKeeper | None = None

    def read_keys(self, gateways: Sequence[GatewaySettings]) -> None:
        self._wires |= {each.name: wire_mode(each) for each in of_kind(gateways, OpenDSettings)}

    async def make(self, settings: Settings, shared: Shared) -> Sequence[OpenDGateway]:
        self._quotas = quotas = QuotaKeeper(QUOTAS, JournalQuotaStore(shared.journal))
        await quotas.start()
        self._gateways = [
            OpenDGateway(config, shared.pipeline, shared.clock, quotas=quotas, hours=shared.hours)
            for config in gateway_configs(settings, self._wires)
        ]
        return self._gateways

    def reconfigure(self, settings: Settings) -> None:
        configs = {config.name: config for config in gateway_configs(settings, self._wires)}
        for gateway in self._gateways:
            if (config := configs[gateway.name]) != gateway.config:
                gateway.reconfigure(config)

    async def stop(self) -> None:
        if self._quotas is not None:
            await self._quotas.stop()


def gateway_configs(settings: Settings, wires: Mapping[str, WireMode]) -> list[GatewayConfig]:
    """The gateways that are in `wires`, by name, each with all its symbols, in file order."""
    opends = of_kind(settings.gateway, OpenDSettings)
    return [_gateway_config(settings, each, wires[each.name]) for each in opends if each.name in wires]


def _gateway_config(settings: Settings, gateway: OpenDSettings, wire: WireMode) -> GatewayConfig:
    ticks = tick_subscriptions(settings, gateway)
    sessions: dict[str, SessionChoice] = {}
    for subscription in ticks:
        session = SessionChoice[subscription.session.upper()]
        for symbol in subscription.symbols:  # asked for twice, the wider one
            sessions[symbol] = max(session, sessions.get(symbol, session))
    port = gateway.port
    assert port is not None, "settings let no other URL pass"
    return GatewayConfig(
        name=gateway.name,
        source=gateway.source,
        host=gateway.host,
        port=port,
        symbols=tick_symbols(settings, gateway),
        polls=poll_configs(settings, gateway, CALL_OF_FEED),
        quota_share=gateway.quota_share,
        us_sessions={symbol: session for symbol, session in sessions.items() if session is not SessionChoice.ALL},
        tick_polls=tick_polls(settings, gateway),
        quota_reserve=gateway.subscription_quota_reserve,
        wire=wire,
        body_bytes_max=gateway.frame_bytes_max,
    )
