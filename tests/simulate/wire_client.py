"""A plain, slow, obvious client of OpenD: blocking socket, generated classes, nothing of ours."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from codec.markets import parse_symbol, symbol_name
from codec.opend.protocol import HEADER, HEADER_BYTES, ProtoId, SessionChoice, SubType, pack_frame
from protos.opend import init_connect_pb2, subscription_pb2, ticker_pb2

TIMEOUT_S = 10.0

_Response = TypeVar("_Response", bound=Message)


class WireClient:
    """One connection.

    Attributes
    ----------
    pushed : (symbol, Ticker) in the order received
    bad_frames : push frames whose SHA-1 was wrong; their ticks are not in `pushed`
    """

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._buffer = bytearray()
        self._serial = 0
        self.pushed: list[tuple[str, ticker_pb2.Ticker]] = []
        self.bad_frames = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def init_connect(self) -> init_connect_pb2.InitConnectResponse:
        request = init_connect_pb2.InitConnectRequest()
        request.c2s.clientVer, request.c2s.clientID = 1011, "test"
        return self.call(ProtoId.INIT_CONNECT, request, init_connect_pb2.InitConnectResponse)

    def subscribe(self, symbols: Iterable[str], **fields: Any) -> subscription_pb2.SubResponse:
        """Subscribe to ticks with push and first push, all sessions; `fields` say otherwise."""
        request = subscription_pb2.SubRequest()
        for symbol in symbols:
            market, code = parse_symbol(symbol)
            request.c2s.securityList.add(market=market, code=code)
        values: dict[str, Any] = {
            "subTypeList": [SubType.TICKER],
            "isSubOrUnSub": True,
            "isRegOrUnRegPush": True,
            "session": SessionChoice.ALL,
        } | fields
        request.c2s.MergeFrom(subscription_pb2.SubC2S(**values))
        return self.call(ProtoId.SUB, request, subscription_pb2.SubResponse)

    def pull(self, symbol: str, ticks_max: int = 1000) -> ticker_pb2.GetTickerResponse:
        request = ticker_pb2.GetTickerRequest()
        request.c2s.security.market, request.c2s.security.code = parse_symbol(symbol)
        request.c2s.maxRetNum = ticks_max
        return self.call(ProtoId.GET_TICKER, request, ticker_pb2.GetTickerResponse)

    def call(self, proto_id: ProtoId, request: Message, response: type[_Response]) -> _Response:
        """Send a request and wait for its reply; pushes in between are kept."""
        self._serial += 1
        self.send(pack_frame(proto_id, self._serial, request.SerializeToString()))
        for answered, serial, body in self.frames():
            if (answered, serial) == (proto_id, self._serial):
                return response.FromString(body)
        raise ConnectionError("closed before the reply")

    def receive(self, *, quiet_s: float, seconds_max: float = 60.0) -> bool:
        """Take pushes until none came for `quiet_s`, or for `seconds_max`; returns whether the connection stands."""
        deadline_s = time.monotonic() + seconds_max
        self._socket.settimeout(quiet_s)
        try:
            return any(time.monotonic() > deadline_s for _ in self.frames())
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Frames as they come, until the connection closes; pushes are kept on the way.

        What a closed connection left unfinished is dropped with it.
        """
        while True:
            while len(self._buffer) >= HEADER_BYTES:
                magic, proto_id, _, _, serial, body_bytes, digest, _ = HEADER.unpack_from(self._buffer)
                assert magic == b"FT"
                if len(self._buffer) < HEADER_BYTES + body_bytes:
                    break
                body = bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + body_bytes])
                del self._buffer[: HEADER_BYTES + body_bytes]
                if hashlib.sha1(body).digest() != digest:
                    self.bad_frames += 1
                elif proto_id == ProtoId.UPDATE_TICKER:
                    self._keep(ticker_pb2.UpdateTickerResponse.FromString(body).s2c)
                yield proto_id, serial, body
            data = self._socket.recv(1 << 16)
            if not data:
                return
            self._buffer += data

    def _keep(self, s2c: ticker_pb2.UpdateTickerS2C) -> None:
        symbol = symbol_name(s2c.security.market, s2c.security.code)
        self.pushed.extend((symbol, tick) for tick in s2c.tickerList)
