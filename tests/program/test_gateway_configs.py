"""From subscriptions to what a gateway is to get."""

from __future__ import annotations

from pathlib import Path

from codec.opend.protocol import SessionChoice
from ingest.opend.encryption import PLAIN
from ingest.opend.front import WebSocketPort
from ticktape.gateways.opend import gateway_configs
from ticktape.keys import wire_mode
from ticktape.settings import OpenDSettings, load_settings


def test_what_is_asked_for_twice_gets_the_wider_wish(tmp_path: Path) -> None:
    file = tmp_path / "ticktape.toml"
    file.write_text(
        """
[[gateway]]
name = "g"
kind = "opend"
subscription_quota_reserve = 7

[[subscription]]
gateway = "g"
symbols = ["US.AAPL", "US.MSFT", "HK.00700", "HK.00005"]
session = "rth"
mode = "poll"
poll_interval = "5s"

[[subscription]]
gateway = "g"
symbols = ["US.MSFT", "HK.00005", "US.NVDA"]
session = "eth"

[[subscription]]
gateway = "g"
symbols = ["HK.00700"]
mode = "poll"
poll_interval = "2s"

[[subscription]]
gateway = "g"
symbols = ["US.TSLA"]
feeds = ["capital_flow"]
"""
    )
    [config] = gateway_configs(load_settings(file, {}), {"g": PLAIN})
    assert config.symbols == ("US.AAPL", "US.MSFT", "HK.00700", "HK.00005", "US.NVDA")
    assert config.us_sessions["US.AAPL"] is SessionChoice.RTH
    assert config.us_sessions["US.MSFT"] is config.us_sessions["US.NVDA"] is SessionChoice.ETH
    assert config.tick_polls == {"US.AAPL": 5.0, "HK.00700": 2.0}
    assert config.quota_reserve == 7
    assert [poll.symbols for poll in config.polls] == [("US.TSLA",)]


def test_the_key_of_the_websocket_port_comes_from_its_file_and_is_in_no_text(tmp_path: Path) -> None:
    file = tmp_path / "ticktape.toml"
    (tmp_path / "key.txt").write_text("secret\n")
    file.write_text(
        """
[[gateway]]
name = "g"
kind = "opend"
url = "wss://10.0.0.7:33333"
websocket_key_file = "key.txt"
"""
    )
    settings = load_settings(file, {})
    [gateway] = settings.gateway
    assert isinstance(gateway, OpenDSettings)
    wire = wire_mode(gateway)
    assert wire.websocket == WebSocketPort("wss://10.0.0.7:33333", "secret")
    [config] = gateway_configs(settings, {"g": wire})
    assert (config.host, config.port) == ("10.0.0.7", 33333)
    assert "secret" not in f"{settings!r} {config!r}"
