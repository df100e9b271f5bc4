"""From subscriptions to what a gateway is to get."""

from __future__ import annotations

from pathlib import Path

from codec.opend.protocol import SessionChoice
from ingest.opend.encryption import PLAIN
from ticktape.gateways.opend import gateway_configs
from ticktape.settings import load_settings


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
