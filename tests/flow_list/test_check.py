"""`ticktape check` of a flow list: what it says of each answer, and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow_list.server import Answer, Server, entry, error, listed, serving, status
from ticktape.check.finding import Finding
from ticktape.check.flow_list import check_flow_list
from ticktape.settings import FlowListSettings, load_settings

SYMBOLS = '["HK.00700", "HK.00005", "US.AAPL"]'


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


async def findings(folder: Path, url: str, more: str = "", symbols: str = SYMBOLS) -> list[Finding]:
    file = folder / "ticktape.toml"
    file.write_text(
        f'[[gateway]]\nname = "flows"\nkind = "flow-list"\nurl = "{url}"\n{more}\n'
        + (
            f'[[subscription]]\ngateway = "flows"\nsymbols = {symbols}\nfeeds = ["capital_flow_summary"]\n'
            if symbols
            else ""
        )
    )
    settings = load_settings(file, {})
    [gateway] = settings.gateway
    assert isinstance(gateway, FlowListSettings)
    return await check_flow_list(settings, gateway)


async def test_a_list_that_works(tmp_path: Path, server: Server) -> None:
    server.always = listed(entry(), entry("HK.00005", main_net_inflow_ratio=50))
    (tmp_path / "headers").write_text("X-Token: abc-def-ghi\n")
    found = await findings(tmp_path, server.url, 'headers_file = "headers"')
    assert [each.failed for each in found] == [None, None]
    assert "with a list of 2 symbols" in found[0].detail
    assert "1 ratios are beyond 1: perhaps percentages" in found[0].detail
    assert found[1].detail == "3 symbols in 2 requests, each every 60 s while its market trades"
    assert server.requests[0].headers["X-Token"] == "abc-def-ghi"
    assert len(server.requests) == 1, "it asks no more than it must"


@pytest.mark.parametrize(
    ("answer", "detail", "remedy"),
    [
        (error(1001, "INVALID_PARAM"), "ret_code 1001: INVALID_PARAM", "correct market, method, list_format or batch"),
        (error(1016, "GET_CAPITAL_FLOW_FAILED"), "ret_code 1016", "try again later"),
        (status(401), "HTTP status 401 (Unauthorized)", "correct the headers in headers_file"),
        (status(404), "HTTP status 404 (Not Found)", "correct url of [[gateway]] flows"),
        (status(405), "HTTP status 405 (Method Not Allowed)", "set method of [[gateway]] flows"),
        (status(302, Location="http://elsewhere/"), "a redirect to http://elsewhere", "correct url of"),
        (status(503), "HTTP status 503 (Service Unavailable)", "try again later"),
        (b"<html>", "the answer cannot be read: not JSON", "is url of [[gateway]] flows the one of"),
    ],
)
async def test_what_is_wrong_and_what_to_do(
    tmp_path: Path, server: Server, answer: bytes | Answer, detail: str, remedy: str
) -> None:
    server.always = answer
    [finding, *_] = await findings(tmp_path, server.url)
    assert finding.failed is not None
    assert detail in finding.detail
    assert remedy in finding.remedy


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with serving() as server:
        url = server.url
    [finding, *_] = await findings(tmp_path, url)
    assert finding.failed is not None
    assert finding.remedy.startswith("start the server")


async def test_wrong_codes_are_named(tmp_path: Path, server: Server) -> None:
    async def answer(request: Any) -> Any:
        wrong = "HK.00005" in server.asked[-1]
        return await status(200, error(1002, "INVALID_CODE") if wrong else listed(entry()))(request)

    server.always = answer
    found = await findings(tmp_path, server.url, symbols='["HK.00700", "HK.00005", "SG.D05"]')
    assert [each.failed is None for each in found] == [True, False, False, True]
    assert {"1 symbols are refused, the first is HK.00005: ret_code 1002: INVALID_CODE"} < {e.detail for e in found}
    assert any("the first is SG.D05: no zone is known" in each.detail for each in found)


async def test_entries_that_cannot_be_read(tmp_path: Path, server: Server) -> None:
    server.always = listed(entry(amount="lots"))
    [finding, *_] = await findings(tmp_path, server.url)
    assert finding.failed is not None
    assert "1 entries cannot be read: entry 0: main_net_inflow is 'lots': no number" in finding.detail


async def test_headers_that_cannot_be_read_and_no_subscription(tmp_path: Path, server: Server) -> None:
    [finding] = await findings(tmp_path, server.url, 'headers_file = "none"')
    assert finding.detail.startswith("gateway flows: headers_file cannot be read: ")
    (tmp_path / "headers").write_text("my-secret-token\n")
    [finding] = await findings(tmp_path, server.url, 'headers_file = "headers"')
    assert "headers: line 1 is not NAME: VALUE" in finding.detail
    assert "my-secret" not in finding.detail
    [finding] = await findings(tmp_path, server.url, symbols="")
    assert "no subscription names it" in finding.detail
    assert finding.failed is None
