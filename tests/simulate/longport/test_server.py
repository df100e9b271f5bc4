"""The simulated LongPort as others use it: a process, two ports, a line of JSON at the end.

What a client received must be what the simulator says it made, whatever goes wrong on the way.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from protos.longport import control_pb2, subscription_pb2, trade_days_pb2, trade_pb2
from protos.longport.quote_profile_pb2 import UserQuoteProfileRequest, UserQuoteProfileResponse
from tests.simulate.longport.client import Client, Refused, TcpClient, WsClient, ask_token
from tests.support.simulator import Simulator, longport_simulator
from ticktape.simulate.checksum import mix_ticks
from ticktape.simulate.longport_trades import list_longport_symbols, wire_symbol
from ticktape.simulate.market import CACHE_TICKS

SYMBOLS = [wire_symbol(listing) for listing in list_longport_symbols(6)]
CANONICAL = {wire_symbol(listing): listing.symbol for listing in list_longport_symbols(6)}
DIRECTIONS = ("neutral", "sell", "buy")
SESSIONS = ("regular", "pre", "post", "overnight")
TRANSPORTS = ("tcp", "ws")

Content = tuple[int, float, int, str, str, str]
"""Second, price, volume, direction, condition, session."""


def connect(simulator: Simulator, transport: str) -> Client:
    return TcpClient(simulator.tcp_port) if transport == "tcp" else WsClient(simulator.port)


def logged_in(simulator: Simulator, transport: str = "tcp") -> Client:
    client = connect(simulator, transport)
    client.log_in(ask_token(simulator.port)["data"]["otp"])
    return client


def content(trade: trade_pb2.Trade) -> Content:
    price, direction, session = float(trade.price), DIRECTIONS[trade.direction], SESSIONS[trade.trade_session]
    return trade.timestamp, price, trade.volume, direction, trade.trade_type, session


def pushed(pushes: Iterable[trade_pb2.PushTrade]) -> Counter[tuple[str, Content]]:
    """Each trade as often as it traded: a push that has a sequence counts once, however often it came."""
    once: dict[tuple[str, int, bytes], trade_pb2.PushTrade] = {}
    trades: Counter[tuple[str, Content]] = Counter()
    for number, push in enumerate(pushes):
        once.setdefault((push.symbol, push.sequence or -number, push.SerializeToString()), push)
    for push in once.values():
        trades.update((push.symbol, content(trade)) for trade in push.trade)
    return trades


def checksum(trades: Counter[Content]) -> str:
    rows = [content for content, count in trades.items() for _ in range(count)]
    seconds, prices, volumes, directions = (np.array([row[column] for row in rows]) for column in range(4))
    numbers = np.array([("unknown", "buy", "sell", "neutral").index(word) for word in directions.tolist()], np.uint8)
    shares = volumes.astype(np.float64)
    mixed = mix_ticks(
        np.zeros(len(rows), np.int64), prices, shares, prices * shares, numbers, seconds.astype(np.int64) * 1_000_000
    )
    return str(int(mixed.sum()))


def made(path: Path) -> Counter[tuple[str, Content]]:
    """What the truth file says."""
    table = parquet.read_table(path).to_pydict()
    spelled = {canonical: wire for wire, canonical in CANONICAL.items()}
    names = ("symbol", "ts_event", "price", "volume", "direction", "condition", "session")
    rows = zip(*(table[name] for name in names), strict=True)
    return Counter(
        (spelled[symbol], (int(at.timestamp()), price, int(volume), direction, condition, session))
        for symbol, at, price, volume, direction, condition, session in rows
    )


def pulled(client: Client, symbols: Iterable[str] = SYMBOLS) -> Counter[tuple[str, Content]]:
    return Counter((symbol, content(trade)) for symbol in symbols for trade in client.trades(symbol))


@pytest.fixture(scope="module")
def quiet() -> Iterator[Simulator]:
    """A market for questions, at no great rate."""
    with longport_simulator("--symbols", 600, "--rate", 100, "--seed", 3) as simulator:
        yield simulator


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_pushed_and_pulled_is_what_was_made(transport: str, tmp_path: Path) -> None:
    file = tmp_path / "truth.parquet"
    options = ("--symbols", 6, "--rate", 1500, "--ticks-max", 2500, "--seed", 5)
    with longport_simulator(*options, "--truth", file) as longport:
        client = logged_in(longport, transport)
        client.subscribe(SYMBOLS)
        cached = Counter(
            (symbol, content(trade)) for symbol in SYMBOLS for trade in client.trades(symbol)[:CACHE_TICKS]
        )
        client.collect(2.5)
        truth = longport.stop()
        client.collect(2)
    assert [close.code for close in client.closes] == [control_pb2.Close.SERVER_SHUTDOWN]
    trades = pushed(client.pushes)
    whole = trades + cached
    assert whole == made(file)
    told = truth["tables"]["ticks"]
    assert told["rows"] == sum(whole.values()) == 2500
    for symbol in SYMBOLS:
        of_symbol = Counter({each: count for (name, each), count in whole.items() if name == symbol})
        assert told["symbols"][CANONICAL[symbol]] == {
            "rows": sum(of_symbol.values()),
            "checksum": checksum(of_symbol),
        }
    assert {each[5] for name, each in whole if name.endswith(".HK")} == {"regular"}
    assert {each[5] for name, each in whole if name.endswith(".US")} == {"overnight"}
    assert any(len(push.trade) > 1 for push in client.pushes)
    for symbol in SYMBOLS:
        sequences = [push.sequence for push in client.pushes if push.symbol == symbol]
        assert sequences == sorted(set(sequences))


def test_with_every_fault_each_trade_is_still_pushed_or_pulled(tmp_path: Path) -> None:
    """The client keeps what it was pushed, and closes what it missed with a last pull of everything."""
    file = tmp_path / "truth.parquet"
    faults = (
        "duplicate=0.2,reorder=0.1,drop=0.05,regress=2,reuse=0.1,unsequenced=0.1,gzip=0.2,sign=0.2,split=0.01,"
        "coalesce=0.05,disconnect=0.5,close-packet=0.5"
    )
    plan = "0.8:mid-packet-close,1.6:ws-close,2.4:expire,3.2:mid-packet-close,4:ws-close"
    options = ("--symbols", 6, "--rate", 200, "--ticks-per-push-max", 3, "--ticks-max", 900, "--faults-at", plan)
    seen: list[trade_pb2.PushTrade] = []
    first_bytes: set[int] = set()
    closes: list[int] = []
    connections, session = 0, ""
    with longport_simulator(*options, "--faults", faults, "--truth", file, "--seed", 11) as longport:
        deadline_s = time.monotonic() + 6
        while time.monotonic() < deadline_s:
            client = connect(longport, TRANSPORTS[connections % 2])
            connections += 1
            with contextlib.suppress(ConnectionError):
                try:
                    client.resume(session)
                except Refused:  # at first, and when all sessions have ended
                    client.log_in(ask_token(longport.port)["data"]["otp"])
                session = client.session
                client.subscribe(SYMBOLS)
                client.collect(deadline_s - time.monotonic())
            seen += client.pushes
            first_bytes |= set(client.first_bytes)
            closes += [close.code for close in client.closes]
            client.close()
        for _ in range(20):  # links go on breaking
            client = logged_in(longport)
            with contextlib.suppress(ConnectionError):
                last = pulled(client)
                break
        truth = longport.stop()
    whole = made(file)
    assert sum(whole.values()) == truth["tables"]["ticks"]["rows"] == 900
    struck = truth["faults"]
    assert all(struck.get(fault) for fault in ("regress", "reuse", "mid-packet-close", "ws-close", "expire")), struck
    assert connections > 5
    assert control_pb2.Close.SESSION_EXPIRED in closes
    assert first_bytes == {0x03, 0x13, 0x23, 0x33}
    assert truth["repeats"] > 20
    trades = pushed(seen)
    assert not trades - whole, "something was pushed that was never made, or too often"
    missing = whole - trades
    assert missing, "nothing was dropped"
    assert not missing - last, "what was not pushed can be pulled, of fewer than 1000 trades"
    sequences = [(push.symbol, push.sequence) for push in seen if push.sequence]
    of_symbol = [[number for name, number in sequences if name == symbol] for symbol in SYMBOLS]
    assert any(numbers != sorted(numbers) for numbers in of_symbol)
    payloads: dict[tuple[str, int], set[bytes]] = {}
    for push in seen:
        payloads.setdefault((push.symbol, push.sequence), set()).add(push.SerializeToString())
    assert any(sequence and len(under) > 1 for (_, sequence), under in payloads.items())
    assert any(not push.sequence for push in seen)


def test_whoever_has_no_keys_gets_nothing(quiet: Simulator) -> None:
    assert ask_token(quiet.port, "another secret")["message"] == "signature invalid"
    answer = ask_token(quiet.port)
    assert (answer["code"], answer["message"], answer["data"]["limit"]) == (0, "success", 10)
    client = TcpClient(quiet.tcp_port)
    with pytest.raises(Refused, match="log in first"):
        client.subscribe(SYMBOLS)
    client.log_in(answer["data"]["otp"])
    with pytest.raises(Refused) as refused:
        TcpClient(quiet.tcp_port).log_in(answer["data"]["otp"])
    assert refused.value.status == 5
    assert ask_token(quiet.port)["data"]["online"] >= 1
    client.close()


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda client: client.subscribe(["700.HK", "NONE.US"]), 7, 301600),
        (lambda client: client.subscribe(["00700.HK"]), 7, 301600),
        (lambda client: client.subscribe(["700.HK"], []), 7, 301600),
        (lambda client: client.subscribe(["700.HK"], [9]), 7, 301600),
        (lambda client: client.trades("NONE.HK"), 7, 301600),
        (lambda client: client.trades("700.HK", 1001), 7, 301607),
        (lambda client: client.trades("700.HK", 0), 3, 301600),
        (lambda client: client.flow("NONE.HK"), 7, 301600),
        (lambda client: client.call(88, control_pb2.Error(), control_pb2.Error), 3, 301600),
        (lambda client: client.answer(client.ask(24, b"\xff"), control_pb2.Error), 3, 301600),
        (lambda client: client.subscribe([wire_symbol(each) for each in list_longport_symbols(501)]), 7, 301605),
    ],
)
def test_what_is_refused_and_how(quiet: Simulator, call: Callable[[Client], object], status: int, code: int) -> None:
    client = logged_in(quiet)
    with pytest.raises(Refused) as refused:
        call(client)
    assert (refused.value.status, refused.value.code) == (status, code)
    client.close()
    time.sleep(0.2)  # the account's ten calls a second


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_requests_compressed_signed_and_with_unpacked_enums(quiet: Simulator, transport: str) -> None:
    time.sleep(1)  # the account's ten calls a second
    client = logged_in(quiet, transport)
    request = subscription_pb2.SubscribeRequest(symbol=["700.HK"])
    unpacked = request.SerializeToString() + b"\x10\x04\x10\x01"
    reply = client.answer(client.ask(6, unpacked, compressed=True, signed=True), subscription_pb2.SubscriptionResponse)
    assert [(each.symbol, list(each.sub_type)) for each in reply.sub_list] == [("700.HK", [1, 4])]
    # Only the types are taken that are named.
    packed = subscription_pb2.UnsubscribeRequest(symbol=["700.HK"], sub_type=[subscription_pb2.QUOTE])
    client.call(7, packed, subscription_pb2.SubscriptionResponse)
    left = client.call(5, subscription_pb2.SubscriptionResponse(), subscription_pb2.SubscriptionResponse)
    assert [(each.symbol, list(each.sub_type)) for each in left.sub_list] == [("700.HK", [4])]
    client.close()


def test_after_unsubscribing_nothing_comes(quiet: Simulator) -> None:
    client = logged_in(quiet)
    client.subscribe(["700.HK", "AAPL.US"])
    client.collect(1)
    assert {push.symbol for push in client.pushes} == {"700.HK", "AAPL.US"}
    everything = subscription_pb2.UnsubscribeRequest(unsub_all=True)
    client.call(7, everything, subscription_pb2.SubscriptionResponse)
    before = len(client.pushes)
    client.collect(0.5)
    assert len(client.pushes) == before
    client.close()


def test_profile_trade_days_and_heartbeats(quiet: Simulator) -> None:
    client = logged_in(quiet)
    profile = client.call(4, UserQuoteProfileRequest(language="en"), UserQuoteProfileResponse)
    assert (profile.subscribe_limit, len(profile.rate_limit)) == (500, 0)
    request = trade_days_pb2.MarketTradeDayRequest(market="HK", beg_day="20261129", end_day="20261202")
    days = client.call(9, request, trade_days_pb2.MarketTradeDayResponse)
    assert list(days.trade_day) == ["20261129", "20261130", "20261201", "20261202"]
    beat = client.call(1, control_pb2.Heartbeat(timestamp=7, heartbeat_id=3), control_pb2.Heartbeat)
    assert (beat.timestamp, beat.heartbeat_id) == (7, 3)
    client.close()


def test_flow_is_cumulative_and_its_newest_minute_is_revised(quiet: Simulator) -> None:
    client = logged_in(quiet)
    first = client.flow("700.HK").capital_flow_lines
    time.sleep(1.2)
    second = client.flow("700.HK").capital_flow_lines
    assert first[-1].timestamp in (second[-1].timestamp, second[-1].timestamp - 60)
    assert [line.inflow for line in first[:-1]] == [line.inflow for line in second[: len(first) - 1]]
    assert first[-1].inflow != second[len(first) - 1].inflow
    assert all(line.timestamp % 60 == 0 for line in second)
    assert all(len(line.inflow.rpartition(".")[2]) == 3 for line in second)
    whole_day = client.flow("AAPL.US").capital_flow_lines
    assert len(whole_day) == 391, "New York has closed; its day is whole"
    client.close()


def test_answers_can_be_slow_while_pushes_go_on_and_five_calls_are_the_most() -> None:
    with longport_simulator("--symbols", 6, "--rate", 500, "--faults", "slow-reply=0.8") as longport:
        client = logged_in(longport)
        client.subscribe(SYMBOLS)
        began_s = time.monotonic()
        body = trade_pb2.SecurityTradeRequest(symbol="700.HK", count=1000).SerializeToString()
        asked = [client.ask(17, body) for _ in range(6)]
        with pytest.raises(Refused, match="301606 over 5 calls at once"):
            client.answer(asked[5], control_pb2.Error)
        before = len(client.pushes)
        replies = [client.answer(request, trade_pb2.SecurityTradeResponse) for request in asked[:5]]
        took_s = time.monotonic() - began_s
    assert len(replies) == 5
    assert 0.8 <= took_s < 3, "they waited side by side"
    assert len(client.pushes) - before > 100


def test_an_account_has_its_limits() -> None:
    options = ("--symbols", 6, "--rate", 100, "--one-connection", "--connections", 2, "--rate-limits", "24:1/2")
    with longport_simulator(*options, "--faults", "away@1+1") as longport:
        older = logged_in(longport, "ws")
        profile = older.call(4, UserQuoteProfileRequest(language="en"), UserQuoteProfileResponse)
        assert [(each.command, each.limit, each.burst) for each in profile.rate_limit] == [(24, 1, 2)]
        older.flow("700.HK")
        older.flow("700.HK")
        with pytest.raises(Refused, match="301606"):
            older.flow("700.HK")
        newer = logged_in(longport, "tcp")
        older.collect(1)
        assert [close.code for close in older.closes] == [control_pb2.Close.CONNECT_DUPLICATE]
        newer.subscribe(SYMBOLS)  # and a second later nobody is there
        newer.collect(1.6)
        with pytest.raises((ConnectionError, OSError)):
            logged_in(longport)
        time.sleep(1.2)
        again = connect(longport, "tcp")
        again.resume(newer.session)
        assert again.session != newer.session
        truth = longport.stop()
    assert truth["requests"]["query_capital_flow_intraday"] == 3
    assert truth["frequency"]["query_capital_flow_intraday"] == {"most_in_1_s": 3}


@pytest.mark.parametrize(
    ("transport", "garbage"),
    [
        ("tcp", b"\x07" + bytes(20)),
        ("tcp", b"\x21\x18" + bytes(8) + b"\x01x"),
        ("ws", b"\x01\x18"),
        ("ws", b"\x03" + bytes(9)),
    ],
)
def test_what_is_no_packet_ends_the_connection(quiet: Simulator, transport: str, garbage: bytes) -> None:
    client = logged_in(quiet, transport)
    client.send(garbage)
    client.collect(3)
    assert [close.code for close in client.closes] == [control_pb2.Close.UNPACK_ERROR]


def test_handshakes_that_are_none(quiet: Simulator) -> None:
    client = TcpClient(quiet.tcp_port, b"\x12\x09")
    with pytest.raises(ConnectionError):
        client.read()
    assert WsClient(quiet.port, "/v2?version=1&codec=2&platform=9").status == 400
    assert WsClient(quiet.port, "/?platform=9&codec=1&version=1").status == 101
    assert WsClient(quiet.port, "/v2?version=1&codec=1&platform=9").status == 101


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "{port}"], "the port is in use; choose another with --port"),
        (["--port", "0", "--tcp-port", "{port}"], "the port is in use; choose another with --tcp-port"),
        (["--port", "0", "--faults", "bad-sha1"], "no fault is called 'bad-sha1'"),
        (["--port", "0", "--faults", "gzip=2"], "out of range: share of pushes and answers that are compressed"),
        (["--port", "0", "--rate-limits", "17"], "write COMMAND:LIMIT/BURST"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(quiet: Simulator, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "ticktape.simulate", "longport"]
    command += [option.format(port=quiet.port) for option in options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_same_seed_is_the_same_market() -> None:
    def run() -> dict[str, Any]:
        with longport_simulator("--symbols", 6, "--rate", 0, "--ticks-max", 3000, "--seed", 8) as longport:
            client = logged_in(longport)
            client.subscribe(SYMBOLS)
            client.collect(1)
            return {push.symbol: [trade.price for trade in push.trade] for push in client.pushes[:50]}

    assert run() == run()
