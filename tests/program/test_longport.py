"""A LongPort gateway as configured: its keys, what it is to get, and what `ticktape check` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.longport.protocol import Command
from codec.warm import warm
from protos.longport.control_pb2 import Close
from protos.longport.quote_profile_pb2 import UserQuoteProfileResponse
from tests.ingest.longport import wire
from tests.ingest.longport.scripted import KEYS, Exchange, Peer, Script, ScriptedLongPort, sound
from ticktape.check.finding import Finding
from ticktape.check.longport import check_longport
from ticktape.gateways.longport import credentials, gateway_configs
from ticktape.settings import BadSettings, LongPortSettings, Settings, load_settings
from ticktape.settings.supported import refuse_unsupported_gateways

KEYS_FROM_ENVIRONMENT = {
    "TICKTAPE_GATEWAY__LP_1__APP_KEY": KEYS.app_key,
    "TICKTAPE_GATEWAY__LP_1__APP_SECRET": KEYS.app_secret,
    "TICKTAPE_GATEWAY__LP_1__ACCESS_TOKEN": KEYS.access_token,
}
GATEWAY = """
[[gateway]]
name = "lp-1"
kind = "longport"
"""
SUBSCRIPTION = """
[[subscription]]
gateway = "lp-1"
symbols = ["HK.00700", "AAPL.US"]
feeds = ["ticks", "capital_flow"]
"""


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels() -> None:
    warm(["longport"])


def configured(folder: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    file = folder / "ticktape.toml"
    file.write_text(text)
    return load_settings(file, KEYS_FROM_ENVIRONMENT if environment is None else environment)


def account(settings: Settings) -> LongPortSettings:
    [gateway] = settings.gateway
    assert isinstance(gateway, LongPortSettings)
    return gateway


def test_what_is_configured_is_what_is_got(tmp_path: Path) -> None:
    settings = configured(tmp_path, GATEWAY + SUBSCRIPTION)
    keys = credentials(account(settings))
    assert (keys.app_key, keys.app_secret, keys.access_token) == (KEYS.app_key, KEYS.app_secret, KEYS.access_token)
    [config] = gateway_configs(settings, {"lp-1": keys})
    assert config.symbols == ("HK.00700", "US.AAPL")
    assert config.address.websocket_url == ("wss://openapi-quote.longportapp.com/v2?version=1&codec=1&platform=9")
    assert config.http_url == "https://openapi.longportapp.com"
    assert config.overnight
    assert [poll.feed for poll in config.polls] == ["capital_flow"]
    assert gateway_configs(settings, {}) == []
    assert not any(key in repr(config) + repr(settings) for key in KEYS_FROM_ENVIRONMENT.values())


def test_keys_may_come_from_files(tmp_path: Path) -> None:
    for name in ("app_key", "app_secret", "access_token"):
        (tmp_path / name).write_text(f"{name}-of-file\n")
    files = "".join(f'{name}_file = "{name}"\n' for name in ("app_key", "app_secret", "access_token"))
    keys = credentials(account(configured(tmp_path, GATEWAY + files, {})))
    assert keys.access_token == "access_token-of-file"


def test_a_missing_key_is_named_with_where_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as raised:
        credentials(account(configured(tmp_path, GATEWAY, {"TICKTAPE_GATEWAY__LP_1__APP_KEY": KEYS.app_key})))
    assert raised.value.problems == (
        "gateway lp-1: app_secret is missing: set TICKTAPE_GATEWAY__LP_1__APP_SECRET or app_secret_file",
        "gateway lp-1: access_token is missing: set TICKTAPE_GATEWAY__LP_1__ACCESS_TOKEN or access_token_file",
    )
    assert KEYS.app_key not in str(raised.value)


@pytest.mark.parametrize(
    ("symbols", "session", "overnight"),
    [('"US.AAPL"', "all", True), ('"US.AAPL"', "eth", False), ('"HK.00700"', "all", False)],
)
def test_the_overnight_session_is_asked_for_where_it_is_wanted(
    tmp_path: Path, symbols: str, session: str, overnight: bool
) -> None:
    text = f'{GATEWAY}[[subscription]]\ngateway = "lp-1"\nsymbols = [{symbols}]\nsession = "{session}"\n'
    [config] = gateway_configs(configured(tmp_path, text), {"lp-1": KEYS})
    assert config.overnight is overnight


def test_what_longport_cannot_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="LongPort has capital_flow of the running day only"):
        refuse_unsupported_gateways(configured(tmp_path, f'{GATEWAY}{SUBSCRIPTION}periods = ["day"]\n'))
    refuse_unsupported_gateways(configured(tmp_path, GATEWAY + SUBSCRIPTION))


def test_ticks_that_are_pulled_rather_than_pushed(tmp_path: Path) -> None:
    text = f'{GATEWAY}{SUBSCRIPTION}mode = "poll"\npoll_interval = "5s"\n'
    [config] = gateway_configs(configured(tmp_path, text), {"lp-1": KEYS})
    assert config.tick_polls == {"HK.00700": 5.0, "US.AAPL": 5.0}


def test_an_http_url_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="http_url must be https://host"):
        configured(tmp_path, f'{GATEWAY}http_url = "openapi.longportapp.com"\n')


# check


async def findings(
    folder: Path,
    *scripts: Script,
    exchange: Exchange | None = None,
    websocket: bool = False,
    symbols: str = '"HK.00700"',
) -> list[Finding]:
    """What `check` says of a LongPort; never a key."""
    scripted = ScriptedLongPort(*scripts or (sound,), exchange=exchange, websocket=websocket)
    async with scripted as longport:
        urls = f'url = "{longport.address.url}"\nhttp_url = "{longport.http_url}"\n'
        wanted = f'[[subscription]]\ngateway = "lp-1"\nsymbols = [{symbols}]\nfeeds = ["ticks", "capital_flow"]\n'
        settings = configured(folder, GATEWAY + urls + wanted)
        found = await check_longport(settings, account(settings))
    assert not any(key in str(found) for key in [*KEYS_FROM_ENVIRONMENT.values(), "password-1", "session-1"])
    return found


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
async def test_everything_is_in_order(tmp_path: Path, websocket: bool) -> None:
    tick, polls = await findings(tmp_path, websocket=websocket)
    assert tick.failed is polls.failed is None
    assert tick.detail.startswith("LongPort lets us in and answers in ")
    assert "1 of 10 connections in use, quote level LV1; 1 of 500 symbols wanted" in tick.detail
    assert polls.detail == "capital_flow: 1 targets every 60 s (10 requests in 1 s)"


async def test_more_symbols_than_the_account_may_subscribe(tmp_path: Path) -> None:
    exchange = Exchange(profile=UserQuoteProfileResponse(subscribe_limit=1))
    tick, unknown, _ = await findings(
        tmp_path, exchange=exchange, symbols='"HK.00700", "HK.09988", "US.AAPL", "HK_FUTURE.HSImain"'
    )
    assert tick.failed is not None
    assert "4 symbols are wanted, the account may subscribe 1: the last 2 of the file are refused" in tick.detail
    assert tick.remedy
    assert unknown.detail == "1 of 4 symbols are refused: LongPort has no such market"


async def test_keys_that_are_refused(tmp_path: Path) -> None:
    exchange = Exchange(token_refusals=[(403, b'{"code": 403201, "message": "signature invalid"}')])
    [finding] = await findings(tmp_path, exchange=exchange)
    assert finding.failed is not None
    assert finding.detail == "the one-time password is refused: signature invalid (403201)"
    assert "app_secret" in finding.remedy


async def test_missing_keys(tmp_path: Path) -> None:
    settings = configured(tmp_path, GATEWAY, {})
    found = await check_longport(settings, account(settings))
    assert [finding.detail.split(":")[1] for finding in found] == [
        f" {name} is missing" for name in ("app_key", "app_secret", "access_token")
    ]


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
async def test_a_login_that_is_refused_or_ended(tmp_path: Path, websocket: bool) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.error(Command.AUTH, 1, 6, 403, "connections limitation is hit"))

    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.closes(Close.SERVER_SHUTDOWN, "bye"))

    async def has_no_profile(peer: Peer) -> None:
        await peer.login()
        _, request_id, _ = await peer.request()
        await peer.send(wire.error(Command.QUERY_USER_QUOTE_PROFILE, request_id, 7, 301602, "oops"))

    for script, said in (
        (refuses, "the login is refused with status 6: connections limitation is hit (403)"),
        (closes, "the gateway closes, server shutdown (2): bye"),
        (has_no_profile, "the account's profile cannot be had: oops (301602)"),
    ):
        [finding] = await findings(tmp_path, script, websocket=websocket)
        assert finding.failed is not None
        assert finding.detail == said
        assert "correct url of [[gateway]] lp-1" in finding.remedy


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with ScriptedLongPort(sound) as longport:
        urls = f'url = "tcp://127.0.0.1:1"\nhttp_url = "{longport.http_url}"\n'
        settings = configured(tmp_path, GATEWAY + urls)
        [finding] = await check_longport(settings, account(settings))
    assert "cannot connect to tcp://127.0.0.1:1" in finding.detail
