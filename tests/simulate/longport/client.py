"""A plain, slow, obvious client of LongPort: blocking sockets, generated classes, nothing of ours."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from protos.longport import capital_flow_pb2, control_pb2, subscription_pb2, trade_pb2

TIMEOUT_S = 10.0
KEY, SECRET, TOKEN = "simulated-key", "simulated-secret", "simulated-token"

_Reply = TypeVar("_Reply", bound=Message)


class Refused(Exception):
    """An answer with a status."""

    def __init__(self, status: int, error: control_pb2.Error) -> None:
        super().__init__(f"status {status}: {error.code} {error.msg}")
        self.status, self.code = status, error.code


def ask_token(port: int, secret: str = SECRET) -> dict[str, Any]:
    """The answer of the token endpoint; an HTTP error's too."""
    names = "authorization;x-api-key;x-timestamp"
    headers = {"Authorization": TOKEN, "X-Api-Key": KEY, "X-Timestamp": str(int(time.time()))}
    values = "".join(f"{name.lower()}:{value}\n" for name, value in sorted(headers.items()))
    canonical = f"GET|/v1/socket/token||{values}|{names}|"
    to_sign = "HMAC-SHA256|" + hashlib.sha1(canonical.encode(), usedforsecurity=False).hexdigest()
    digest = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["X-Api-Signature"] = f"HMAC-SHA256 SignedHeaders={names}, Signature={digest}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/socket/token", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    return answer


class Client:
    """One connection.

    Attributes
    ----------
    pushes : PushTrade messages in the order received
    first_bytes : of every push packet, its first byte
    closes : Close messages received
    session : the newest session id
    pings : heartbeats of the gateway
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bytes, self._requests = bytearray(), 0
        self.pushes: list[trade_pb2.PushTrade] = []
        self.first_bytes: list[int] = []
        self.closes: list[control_pb2.Close] = []
        self.session = ""
        self.pings = 0

    def close(self) -> None:
        self._socket.close()

    def log_in(self, otp: str) -> control_pb2.AuthResponse:
        reply = self.call(2, control_pb2.AuthRequest(token=otp), control_pb2.AuthResponse)
        self.session = reply.session_id
        return reply

    def resume(self, session: str) -> control_pb2.ReconnectResponse:
        reply = self.call(3, control_pb2.ReconnectRequest(session_id=session), control_pb2.ReconnectResponse)
        self.session = reply.session_id
        return reply

    def subscribe(self, symbols: Iterable[str], types: Iterable[int] = (4,)) -> subscription_pb2.SubscriptionResponse:
        request = subscription_pb2.SubscribeRequest(symbol=symbols, sub_type=types, is_first_push=True)  # type: ignore[arg-type]
        return self.call(6, request, subscription_pb2.SubscriptionResponse)

    def trades(self, symbol: str, count: int = 1000) -> list[trade_pb2.Trade]:
        request = trade_pb2.SecurityTradeRequest(symbol=symbol, count=count)
        reply = self.call(17, request, trade_pb2.SecurityTradeResponse)
        assert reply.symbol == symbol
        return list(reply.trades)

    def flow(self, symbol: str) -> capital_flow_pb2.CapitalFlowIntradayResponse:
        request = capital_flow_pb2.CapitalFlowIntradayRequest(symbol=symbol)
        return self.call(24, request, capital_flow_pb2.CapitalFlowIntradayResponse)

    def call(self, command: int, request: Message, reply: type[_Reply], **how: bool) -> _Reply:
        """The answer to one call, pushes that come before it kept. Raises Refused."""
        return self.answer(self.ask(command, request.SerializeToString(), **how), reply)

    def ask(self, command: int, body: bytes, *, compressed: bool = False, signed: bool = False) -> int:
        """Send a request; its id."""
        self._requests += 1
        if compressed:
            body = gzip.compress(body)
        first = 1 | (0x20 if compressed else 0) | (0x10 if signed else 0)
        header = struct.pack(">BBIH", first, command, self._requests, 30_000) + len(body).to_bytes(3, "big")
        self.send(header + body + (bytes(24) if signed else b""))
        return self._requests

    def answer(self, request_id: int, reply: type[_Reply]) -> _Reply:
        while True:
            packet = self.read()
            if packet[0] & 0x0F == 2 and int.from_bytes(packet[2:6], "big") == request_id:
                body = self._body(packet, 10)
                if packet[6]:
                    raise Refused(packet[6], control_pb2.Error.FromString(body))
                return reply.FromString(body)

    def collect(self, seconds: float) -> None:
        """Take whatever comes for so long, or until the gateway closes."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                self.read()
            except TimeoutError:
                break
            except ConnectionError:
                return
        self._socket.settimeout(TIMEOUT_S)

    def read(self) -> bytes:
        """The next packet; pushes are kept, heartbeats answered. Raises ConnectionError at the end."""
        packet = self.next_packet()
        kind, command = packet[0] & 0x0F, packet[1]
        if kind == 3 and command == 104:
            self.first_bytes.append(packet[0])
            self.pushes.append(trade_pb2.PushTrade.FromString(self._body(packet, 5)))
        elif kind == 3 and command == 0:
            self.closes.append(control_pb2.Close.FromString(self._body(packet, 5)))
        elif kind == 1:
            self.pings += 1
            self.send(bytes((2, 1)) + packet[2:6] + b"\0" + packet[8:])
        return packet

    def send(self, packet: bytes) -> None:
        raise NotImplementedError

    def next_packet(self) -> bytes:
        raise NotImplementedError

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def take_raw(self, buffer: bytearray, timeout_s: float) -> int:
        """Whatever comes next, not looked at; 0 when nothing does."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv_into(buffer)
        except TimeoutError:
            return 0

    def _take(self, size: int) -> bytes:
        """That many bytes, none lost when a time-out comes in between."""
        while len(self._bytes) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError(f"the gateway closed; {len(self._bytes)} bytes were left")
            self._bytes += data
        return bytes(self._bytes[:size])

    def _drop(self, size: int) -> None:
        del self._bytes[:size]

    @staticmethod
    def _body(packet: bytes, header: int) -> bytes:
        body = packet[header : header + int.from_bytes(packet[header - 3 : header], "big")]
        return gzip.decompress(body) if packet[0] & 0x20 else body


class TcpClient(Client):
    """Over TCP."""

    def __init__(self, port: int, handshake: bytes = b"\x11\x09") -> None:
        super().__init__(port)
        self.send_raw(handshake)

    def send(self, packet: bytes) -> None:
        self.send_raw(packet)

    def next_packet(self) -> bytes:
        header = {1: 11, 2: 10, 3: 5}[self._take(1)[0] & 0x0F]
        head = self._take(header)
        size = header + int.from_bytes(head[-3:], "big") + (24 if head[0] & 0x10 else 0)
        packet = self._take(size)
        self._drop(size)
        return packet


class WsClient(Client):
    """Over WebSocket.

    Attributes
    ----------
    status : of the upgrade
    ws_code : of a close frame that came
    """

    def __init__(self, port: int, target: str = "/v2?version=1&codec=1&platform=9") -> None:
        super().__init__(port)
        key = base64.b64encode(os.urandom(16)).decode()
        self.send_raw(
            f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._bytes:
            self._take(len(self._bytes) + 1)
        end = self._bytes.index(b"\r\n\r\n") + 4
        head = bytes(self._bytes[:end])
        self._drop(end)
        self.status = int(head.split()[1])
        assert b"permessage-deflate" not in head.lower()
        self.ws_code: int | None = None

    def send(self, packet: bytes) -> None:
        self.send_message(0x82, packet)

    def send_message(self, first: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.send_raw(bytes((first,)) + length + bytes(4) + payload)  # a mask of zeros

    def next_packet(self) -> bytes:
        while True:
            first, size = self._take(2)
            at = 2
            if size > 125:
                at = 4 if size == 126 else 10
                size = int.from_bytes(self._take(at)[2:], "big")
            payload = self._take(at + size)[at:]
            self._drop(at + size)
            if first == 0x82:
                return payload
            if first == 0x89:
                self.pings += 1
                self.send_message(0x8A, payload)
            elif first == 0x88:
                self.ws_code = int.from_bytes(payload[:2], "big")
