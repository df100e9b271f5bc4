"""The configuration: one TOML file, any key of it also from the environment."""

from ticktape.settings.load import find_config, load_settings
from ticktape.settings.model import (
    FlowListSettings,
    GatewaySettings,
    LongPortSettings,
    OpenDSettings,
    Settings,
    SubscriptionSettings,
)
from ticktape.settings.problems import BadSettings

__all__ = [
    "BadSettings",
    "FlowListSettings",
    "GatewaySettings",
    "LongPortSettings",
    "OpenDSettings",
    "Settings",
    "SubscriptionSettings",
    "find_config",
    "load_settings",
]
