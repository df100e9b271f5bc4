"""LongPort messages as a gateway sends them, and trades by their number."""

from __future__ import annotations

from collections.abc import Iterable

from codec.longport.protocol import REQUEST_HEADER_BYTES, TRAILER_BYTES, Command
from protos.longport import control_pb2, trade_pb2
from tests.codec.longport import packing

EPOCH_S = 1_795_138_200
"""2026-11-20 09:30 in Hong Kong."""


def trade(number: int) -> trade_pb2.Trade:
    """The trade of this number: no two are alike within a day."""
    return trade_pb2.Trade(
        price=f"{300 + number % 100}.{number % 7}",
        volume=100 + number,
        timestamp=EPOCH_S + number // 4,
        trade_type="U" if number % 3 == 0 else "",
        direction=number % 3,
        trade_session=trade_pb2.NORMAL_TRADE,
    )


def push(symbol: str, sequence: int, numbers: Iterable[int], **dressing: bool) -> bytes:
    """One push; `dressing` is `signed` or `compressed`."""
    message = trade_pb2.PushTrade(symbol=symbol, sequence=sequence, trade=map(trade, numbers))
    return packing.push(message.SerializeToString(), Command.PUSH_TRADE, **dressing)


def pulled(request_id: int, symbol: str, numbers: Iterable[int], **dressing: bool) -> bytes:
    """The answer to cmd 17."""
    message = trade_pb2.SecurityTradeResponse(symbol=symbol, trades=map(trade, numbers))
    return packing.response(message.SerializeToString(), Command.QUERY_TRADE, request_id, **dressing)


def accepted(request_id: int = 1, session_id: str = "s-1", *, command: int = Command.AUTH, expires: int = 0) -> bytes:
    """The answer that lets us in."""
    message = control_pb2.AuthResponse(session_id=session_id, expires=expires, limit=10, online=1)
    return packing.response(message.SerializeToString(), command, request_id)


def error(command: int, request_id: int, status: int, code: int, text: str = "no") -> bytes:
    """An answer that tells of an error."""
    message = control_pb2.Error(code=code, msg=text)
    return packing.response(message.SerializeToString(), command, request_id, status)


def closes(code: int, reason: str = "") -> bytes:
    """The push before a gateway closes."""
    return packing.push(control_pb2.Close(code=code, reason=reason).SerializeToString(), Command.CLOSE)  # type: ignore[arg-type]


def read_request(packet: bytes) -> tuple[int, int, bytes]:
    """Command, request id and body of a request."""
    assert packet[0] & 0x0F == 1
    body = packet[REQUEST_HEADER_BYTES:]
    assert len(body) == int.from_bytes(packet[8:11], "big") + (TRAILER_BYTES if packet[0] & 0x10 else 0)
    return packet[1], int.from_bytes(packet[2:6], "big"), body
