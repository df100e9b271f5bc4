"""Frames as an OpenD sends them, made with the generated classes and nothing of the code under test."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from codec.markets import parse_symbol
from codec.opend.protocol import HEADER, HEADER_BYTES, SHA1_AT, BodyFormat, ProtoId, pack_frame
from protos.opend import (
    common_pb2,
    global_state_pb2,
    init_connect_pb2,
    keep_alive_pb2,
    notify_pb2,
    static_info_pb2,
    subscription_pb2,
    ticker_pb2,
    user_info_pb2,
)

START_S = 1795138200
"""Friday 2026-11-20 09:30 in Hong Kong, 01:30 UTC."""

REALTIME, CACHED = 1, 3
_HONG_KONG = ZoneInfo("Asia/Hong_Kong")


def make_tick(number: int, *, push_type: int | None = REALTIME, **fields: Any) -> ticker_pb2.Ticker:
    """The tick `number` of a day at ten ticks a second: its sequence, time and price follow from it."""
    second = START_S + number // 10
    text = datetime.datetime.fromtimestamp(second, _HONG_KONG).strftime("%Y-%m-%d %H:%M:%S")
    values: dict[str, Any] = {
        "time": text,
        "sequence": sequence_of(number),
        "dir": 1 + number % 3,
        "price": 500 + number % 7 * 0.5,
        "volume": 100 * (1 + number % 5),
        "turnover": 50_000.0 + number,
        "recvTime": second + 0.25,
        "type": 1,
        "typeSign": 32,
        "timestamp": float(second),
    }
    if push_type is not None:
        values["pushDataType"] = push_type
    return ticker_pb2.Ticker(**values | fields)


def sequence_of(number: int) -> int:
    """As Hong Kong's: the second above, a counter below."""
    return (START_S + number // 10) << 32 | number


def make_ticks(numbers: Iterable[int], *, push_type: int | None = REALTIME) -> list[ticker_pb2.Ticker]:
    return [make_tick(number, push_type=push_type) for number in numbers]


def push_frame(
    symbol: str, ticks: Sequence[ticker_pb2.Ticker], *, serial: int = 0, code: str | None = None, name: str = "NAME"
) -> bytes:
    """A 3011 push; `code` where the gateway spells the symbol's code in another way."""
    s2c = ticker_pb2.UpdateTickerS2C(security=_security(symbol, code), tickerList=ticks, name=name)
    return _frame(ProtoId.UPDATE_TICKER, serial, ticker_pb2.UpdateTickerResponse(retType=0, s2c=s2c))


def pull_frame(symbol: str, ticks: Sequence[ticker_pb2.Ticker], *, serial: int) -> bytes:
    """A 3010 reply."""
    s2c = ticker_pb2.GetTickerS2C(security=_security(symbol), tickerList=ticks, name="NAME")
    return _frame(ProtoId.GET_TICKER, serial, ticker_pb2.GetTickerResponse(retType=0, s2c=s2c))


def accept_frame(
    *, serial: int = 1, keep_alive_s: int = 10, connection: int = 77, key: str | None = None, vector: str | None = None
) -> bytes:
    """InitConnect accepted; with a `vector` AES is CBC, where there is encryption."""
    s2c = init_connect_pb2.InitConnectS2C(
        serverVer=1011,
        loginUserID=5,
        connID=connection,
        connAESKey=SECRET if key is None else key,
        keepAliveInterval=keep_alive_s,
        aesCBCiv=vector,
    )
    return _frame(ProtoId.INIT_CONNECT, serial, init_connect_pb2.InitConnectResponse(retType=0, s2c=s2c))


SECRET = "0123456789abcdef"
"""The key in the answer to InitConnect."""
VECTOR = "fedcba9876543210"


def subscribed_frame(serial: int) -> bytes:
    """A Sub that went well."""
    return _frame(ProtoId.SUB, serial, subscription_pb2.SubResponse(retType=0, s2c=subscription_pb2.SubS2C()))


MARKETS = ("marketHK", "marketUS", "marketSH", "marketSZ", "marketHKFuture")
"""GetGlobalState's required ones."""
MORNING, CLOSED = 3, 6
"""QotMarketState."""


def state_frame(
    serial: int,
    logged_in: bool = True,
    program: common_pb2.ProgramStatusType = common_pb2.ProgramStatusType_Ready,
    market_states: Mapping[str, Any] = MappingProxyType(dict.fromkeys(MARKETS, CLOSED)),
    *,
    time_s: int = START_S,
    build: int = 1,
) -> bytes:
    """A GetGlobalState reply."""
    s2c = global_state_pb2.GetGlobalStateS2C(
        qotLogined=logged_in,
        trdLogined=True,
        serverVer=1011,
        serverBuildNo=build,
        time=time_s,
        programStatus=common_pb2.ProgramStatus(type=program),
        **market_states,
    )
    return _frame(ProtoId.GET_GLOBAL_STATE, serial, global_state_pb2.GetGlobalStateResponse(retType=0, s2c=s2c))


def user_frame(serial: int, rights: Mapping[str, Any]) -> bytes:
    """A GetUserInfo reply."""
    s2c = user_info_pb2.GetUserInfoS2C(subQuota=2000, **rights)
    return _frame(ProtoId.GET_USER_INFO, serial, user_info_pb2.GetUserInfoResponse(retType=0, s2c=s2c))


def quota_frame(serial: int, used: int, left: int) -> bytes:
    """A GetSubInfo reply that says nothing of single subscriptions."""
    s2c = subscription_pb2.GetSubInfoS2C(totalUsedQuota=used, remainQuota=left)
    return _frame(ProtoId.GET_SUB_INFO, serial, subscription_pb2.GetSubInfoResponse(retType=0, s2c=s2c))


def names_frame(serial: int, symbols: Iterable[str]) -> bytes:
    """A GetStaticInfo reply; each is a stock called after its code."""
    s2c = static_info_pb2.GetStaticInfoS2C()
    for number, symbol in enumerate(symbols):
        basic = s2c.staticInfoList.add().basic
        basic.security.CopyFrom(_security(symbol))
        basic.id, basic.lotSize, basic.secType, basic.exchType = number, 100, 3, 1
        basic.name, basic.listTime, basic.delisting = symbol.partition(".")[2], "2004-06-16", False
    return _frame(ProtoId.GET_STATIC_INFO, serial, static_info_pb2.GetStaticInfoResponse(retType=0, s2c=s2c))


def alive_frame(serial: int) -> bytes:
    s2c = keep_alive_pb2.KeepAliveS2C(time=START_S)
    return _frame(ProtoId.KEEP_ALIVE, serial, keep_alive_pb2.KeepAliveResponse(retType=0, s2c=s2c))


def notice_frame(text: str = "kicked out", *, serial: int = 0) -> bytes:
    return notify_frame(serial=serial, type=1, event=notify_pb2.NotifyGtwEvent(eventType=7, desc=text))


def notify_frame(*, serial: int = 0, **fields: Any) -> bytes:
    """A Notify push."""
    s2c = notify_pb2.NotifyS2C(**fields)
    return _frame(ProtoId.NOTIFY, serial, notify_pb2.NotifyResponse(retType=0, s2c=s2c))


def refusal_frame(proto_id: int, serial: int, text: str = "no right", *, ret_type: int = -1, code: int = 9) -> bytes:
    """Any call refused: the beginning of every response is the same."""
    response = subscription_pb2.SubResponse(retType=ret_type, retMsg=text, errCode=code)
    return _frame(proto_id, serial, response)


def bad_json_frame(proto_id: int, serial: int) -> bytes:
    """JSON, and no message of ours."""
    return pack_frame(proto_id, serial, b'{"retType": 0, "s2c": 1}', BodyFormat.JSON)


def with_bad_sha1(frame: bytes) -> bytes:
    spoiled = bytearray(frame)
    spoiled[SHA1_AT] ^= 0xFF
    return bytes(spoiled)


def read_frames(data: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
    """Whole frames of `data` as (protocol id, serial, body), and the rest."""
    frames, at = [], 0
    while len(data) - at >= HEADER_BYTES:
        _, proto_id, _, _, serial, body_bytes, _, _ = HEADER.unpack_from(data, at)
        end = at + HEADER_BYTES + body_bytes
        if end > len(data):
            break
        frames.append((proto_id, serial, data[at + HEADER_BYTES : end]))
        at = end
    return frames, data[at:]


def _security(symbol: str, code: str | None = None) -> common_pb2.Security:
    market, usual = parse_symbol(symbol)
    return common_pb2.Security(market=market, code=code or usual)


def _frame(proto_id: int, serial: int, message: Any) -> bytes:
    return pack_frame(proto_id, serial, message.SerializeToString())
