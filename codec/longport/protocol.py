"""LongPort's packets and commands (docs/protocols/longport.md 1 to 3).

A packet is what the vendor calls a frame. Three kinds, each with a header of its own, all integers
big-endian; behind the body of a signed packet comes a trailer that the body's length leaves out.
"""

from __future__ import annotations

import enum
import gzip
import struct

HANDSHAKE = bytes((0x11, 0x09))
"""What a TCP connection begins with: protocol version 1, protobuf; platform 9, OpenAPI. No answer."""


class PacketType(enum.IntEnum):
    """The low half of a packet's first byte."""

    REQUEST = 1
    RESPONSE = 2
    PUSH = 3


TYPE_BITS, SIGNED_BIT, COMPRESSED_BIT = 0x0F, 0x10, 0x20
"""Of the first byte; the two bits left are reserved, and ignored."""

REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES, PUSH_HEADER_BYTES = 11, 10, 5
TRAILER_BYTES = 24
"""A nonce of 8 bytes and a signature of 16, whose recipe the vendor does not tell."""

BODY_BYTES_MAX = (1 << 24) - 1
"""What a header can say; of a compressed body before it is inflated."""

INFLATED_BYTES_MAX = 64 << 20

REQUEST_COMPRESSED_FROM_BYTES = 1024
"""As the vendor's Go client does; the gateway takes both."""

REQUEST_ID_MAX = (1 << 32) - 1
TIMEOUT_MS_MAX = 60_000

_REQUEST_HEADER = struct.Struct(">BBIH")
_RESPONSE_HEADER = struct.Struct(">BBIB")


class Command(enum.IntEnum):
    """The calls and pushes that we know."""

    CLOSE = 0
    HEARTBEAT = 1
    AUTH = 2
    RECONNECT = 3
    QUERY_USER_QUOTE_PROFILE = 4
    SUBSCRIPTION = 5
    SUBSCRIBE = 6
    UNSUBSCRIBE = 7
    QUERY_MARKET_TRADE_DAY = 9
    QUERY_TRADE = 17
    QUERY_CAPITAL_FLOW_INTRADAY = 24
    QUERY_CAPITAL_FLOW_DISTRIBUTION = 25
    PUSH_TRADE = 104


def pack_request(command: int, request_id: int, body: bytes, timeout_ms: int) -> bytes:
    """One request as it travels; a long body is compressed."""
    assert 1 <= request_id <= REQUEST_ID_MAX
    assert 0 <= timeout_ms <= TIMEOUT_MS_MAX
    first = int(PacketType.REQUEST)
    if len(body) >= REQUEST_COMPRESSED_FROM_BYTES:
        first |= COMPRESSED_BIT
        body = gzip.compress(body, mtime=0)
    assert len(body) <= BODY_BYTES_MAX, "500 symbols need 10 kB"
    return _REQUEST_HEADER.pack(first, command, request_id, timeout_ms) + len(body).to_bytes(3, "big") + body


def pack_response(command: int, request_id: int, body: bytes, status_code: int = 0) -> bytes:
    """One answer as it travels."""
    assert len(body) <= BODY_BYTES_MAX
    header = _RESPONSE_HEADER.pack(int(PacketType.RESPONSE), command, request_id, status_code)
    return header + len(body).to_bytes(3, "big") + body
