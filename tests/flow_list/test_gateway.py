"""A gateway over real HTTP and a journal in memory: what is stored, counted and said."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from codec.clock import MarketClock
from codec.tables import CAPITAL_FLOW_SUMMARY, DEAD_LETTERS
from ingest.flow_list.client import FlowListClient, FlowListConfig
from ingest.flow_list.gateway import FlowListGateway
from ingest.flow_list.plan import ListWish
from ingest.pipeline import TickPipeline
from tests.flow_list.server import Answer, Server, entry, error, listed, serving, status
from tests.ingest.journal import MemoryJournal, until

FEED = CAPITAL_FLOW_SUMMARY.name
EVERY_S = 0.15


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


class Running:
    """A gateway at work."""

    def __init__(self, server: Server, journal: MemoryJournal, *symbols: str) -> None:
        self.journal = journal
        self.pipeline = TickPipeline(journal.append, partition_count=4, windows=journal)
        self.config = FlowListConfig("flows", server.url, wanted=(ListWish(symbols or ("HK.00700",), EVERY_S),))
        client = FlowListClient(self.config, MarketClock(), timeout_s=5.0)
        self.gateway = FlowListGateway(self.config, self.pipeline, MarketClock(), client=client, rng=random.Random(1))

    @property
    def status(self) -> Any:
        return self.gateway.status()

    async def asked(self, server: Server, count: int) -> None:
        """Once so many more requests were answered, and what came of them is in the journal."""
        wanted = sum(self.gateway.stats.requests.values()) + count
        await until(lambda: sum(self.gateway.stats.requests.values()) >= wanted)

    def amounts(self) -> list[float]:
        return [row["main_net_inflow"] for row in self.journal.rows(FEED)]


@asynccontextmanager
async def running(server: Server, *symbols: str, journal: MemoryJournal | None = None) -> AsyncIterator[Running]:
    run = Running(server, journal or MemoryJournal(), *symbols)
    await run.pipeline.start()
    await run.gateway.start()
    try:
        yield run
    finally:
        await run.gateway.stop()
        await run.pipeline.stop(5.0)


async def test_only_new_and_changed_rows_go_on_and_every_version_stays(server: Server) -> None:
    server.answers = [listed(entry(amount=1)), listed(entry(amount=1)), listed(entry(amount=2))]
    server.always = listed(entry(amount=2), entry(amount=5, at="2024-03-20 09:59:00"))  # an older time is a row too
    journal = MemoryJournal()
    async with running(server, journal=journal) as run:
        await until(lambda: len(run.journal.rows(FEED)) == 3)
        await run.asked(server, 2)
        assert run.gateway.ready
        assert run.gateway.up
        assert run.gateway.logged_in
    assert run.amounts() == [1.0, 2.0, 5.0]
    assert run.pipeline.stats.repeat_rows[FEED] >= 3
    [first, *_] = run.journal.rows(FEED)
    assert (first["source"], first["symbol"], first["gateway"]) == ("flow-list", "HK.00700", "flows")
    async with running(server, journal=journal) as run:  # a process that starts anew knows what was published
        await run.asked(server, 2)
    assert run.amounts() == [1.0, 2.0, 5.0]


async def test_bad_entries_cost_nothing_but_themselves_and_are_kept(server: Server) -> None:
    server.always = listed(entry(), entry(code="US.AAPL", amount="x"), entry(code="US.NVDA", amount="1e6"), 7)
    async with running(server, "HK.00700", "US.AAPL", "US.NVDA", "HK.00005") as run:
        await until(lambda: run.pipeline.stats.journaled_rows[DEAD_LETTERS.name] >= 2)
        assert {row["symbol"] for row in run.journal.rows(FEED)} == {"HK.00700", "US.NVDA"}
        letters = run.journal.rows(DEAD_LETTERS.name)[:2]
    assert [(row["feed"], row["reason"], row["gateway"]) for row in letters] == [(FEED, "bad_row", "flows")] * 2
    assert letters[0]["detail"] == "entry 1: main_net_inflow is 'x': no number"
    assert b'"code":"US.AAPL"' in letters[0]["payload"]
    assert letters[1]["payload"] == b"7"
    assert run.gateway.stats.dead_letters[FEED, "bad_row"] >= 2


_BODY = b"<html>busy</html>"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_BODY, {"requests": "unreadable", "dead_letters": "undecodable"}),
        (status(200, b"\x1f\x8b not", Content_Encoding="gzip"), {"requests": "unreadable", "dead_letters": "bad_gzip"}),
        (error(1016, "GET_CAPITAL_FLOW_FAILED"), {"requests": "refused", "ret_codes": "1016"}),
        (error(-7), {"requests": "refused", "ret_codes": "-7"}),
        (status(503), {"requests": "http_error", "http_statuses": "503"}),
        (status(429), {"requests": "too_frequent", "http_statuses": "429"}),
        (listed(entry(), entry(code="HK.00005")), {"requests": "ok", "notices": "not_asked_for"}),
        (listed(), {"requests": "ok", "notices": "missing"}),
        (listed(entry(amount="12")), {"requests": "ok", "notices": "number_as_text"}),
        (listed(entry(main_net_inflow_ratio="--")), {"requests": "ok", "notices": "placeholder"}),
        (listed(entry(main_net_inflow_ratio=50)), {"requests": "ok", "notices": "large_ratio"}),
        (listed(entry(amount=2**53 + 1)), {"requests": "ok", "notices": "inexact"}),
        (listed(entry(currency="HKD"), more=1), {"requests": "ok", "notices": "unknown_key"}),
        (listed(entry(code=" hk.00700")), {"requests": "ok", "notices": "code_spelling"}),
        (listed(entry(at="2999-01-01 10:00:00"), entry(at="2099-01-04 10:00:00")), {"notices": "in_the_future"}),
        (listed(entry(amount=1), entry(amount=2)), {"requests": "ok", "notices": "replaced"}),
        (listed(entry(code="US.AAPL", at="2024-11-03 01:30:00")), {"notices": "clock_change"}),
        (b'{"ret_code": 1, "ret_code": 0, "data": {"capital_flow_list": []}}', {"notices": "repeated_key"}),
    ],
)
async def test_whatever_comes_is_counted_in_status(
    server: Server, answer: bytes | Answer, expected: dict[str, str]
) -> None:
    server.always = answer
    async with running(server, "HK.00700") as run:
        await until(lambda: all(run.status[group].get(name, 0) >= 1 for group, name in expected.items()))
        assert run.status["polled"] == 1


async def test_a_wrong_parameter_is_said_once_and_tried_again_when_the_configuration_is_read_again(
    server: Server,
) -> None:
    server.always = error(1001, "INVALID_PARAM")
    with capture_logs() as logs:
        async with running(server) as run:
            await until(lambda: run.gateway.gave_up)
            assert not run.gateway.ready
            assert not run.gateway.logged_in
            assert "ret_code 1001: INVALID_PARAM; nothing is asked until" in run.status["trouble"]
            assert len(server.requests) == 1
            server.always = listed(entry())
            run.gateway.reconfigure(run.config)
            await until(lambda: run.gateway.ready)
            assert run.status["trouble"] is None
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["reason"] for entry in errors] == ["ret_code 1001: INVALID_PARAM"]
    assert "headers_file" in errors[0]["remedy"]


async def test_wrong_codes_are_dropped_and_shown_and_the_others_are_stored(server: Server) -> None:
    async def answer(request: Any) -> Any:
        symbols = server.asked[-1]
        wrong = "HK.00002" in symbols
        body = error(1002, "INVALID_CODE") if wrong else listed(*(entry(code=symbol) for symbol in symbols))
        return await status(200, body)(request)

    server.always = answer
    with capture_logs() as logs:
        async with running(server, "HK.00001", "HK.00002", "HK.00003") as run:
            await until(lambda: run.gateway.ready)
            assert run.status["refused"] == {"HK.00002": "ret_code 1002: INVALID_CODE"}
            assert run.status["trouble"] is None
            await until(lambda: server.asked[-1] == ["HK.00001", "HK.00003"])
        assert {row["symbol"] for row in run.journal.rows(FEED)} == {"HK.00001", "HK.00003"}
    assert [entry["symbol"] for entry in logs if "refused" in entry["event"]] == ["HK.00002"]


async def test_trouble_is_said_once_and_its_end_too(server: Server) -> None:
    server.answers = [status(503), status(503, Retry_After="0"), listed(entry())]
    with capture_logs() as logs:
        async with running(server) as run:
            await until(lambda: not run.gateway.up and run.status["trouble"])
            assert run.status["last_error"] == "HTTP status 503 (Service Unavailable)"
            await until(lambda: run.gateway.ready)
            assert run.status["last_error"] is None
    said = [entry["event"] for entry in logs]
    assert said.count("no list; trying again") == 1
    assert said.count("answers with lists again") == 1


async def test_other_symbols_take_effect_at_once(server: Server) -> None:
    async with running(server) as run:
        await until(lambda: run.gateway.ready)
        wanted = (ListWish(("US.AAPL", "US.NVDA"), 60.0),)
        run.gateway.reconfigure(FlowListConfig("flows", server.url, wanted=wanted))
        await until(lambda: server.asked[-1] == ["US.AAPL", "US.NVDA"])
        assert run.status["polled"] == 2


async def test_nothing_is_asked_while_the_journal_takes_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.pipeline.WAITING_ROWS_MAX", 2)
    server.always = listed(entry("HK.00001"), entry("HK.00002"), entry("HK.00003"))
    journal = MemoryJournal()
    journal.full = True
    async with running(server, journal=journal):
        await until(lambda: journal.refusals > 2)
        before = len(server.requests)
        assert before <= 2
        await until(lambda: journal.refusals > 5)
        assert len(server.requests) == before
        journal.full = False
        await until(lambda: len(server.requests) > before + 2)


async def test_a_list_of_a_thousand_of_which_every_tenth_is_bad(server: Server) -> None:
    symbols = [f"HK.{code:05}" for code in range(1, 1001)]
    server.always = listed(*(entry(s, amount="x" if at % 10 == 9 else at) for at, s in enumerate(symbols)))
    async with running(server, *symbols[:100]) as run:
        await until(lambda: run.pipeline.stats.journaled_rows[DEAD_LETTERS.name] >= 100)
        assert len(run.journal.rows(FEED)) == 900
        assert run.status["dead_letters"]["bad_row"] % 100 == 0
