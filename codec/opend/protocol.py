"""OpenD's frame header and protocol ids (docs/protocols/opend.md 1.1 and 3)."""

from __future__ import annotations

import enum
import hashlib
import struct

MAGIC = b"FT"
HEADER = struct.Struct("<2sIBBII20s8s")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 44

# Where each header field begins.
PROTO_ID_AT, FORMAT_AT, SERIAL_AT, BODY_BYTES_AT, SHA1_AT = 2, 6, 8, 12, 16
MAGIC_WORD = int.from_bytes(MAGIC, "little")

FRAME_BYTES_MAX = 16 << 20
"""Default bound on a frame's body: 1000 ticks need 90 kB."""


class ProtoId(enum.IntEnum):
    """The calls and pushes that we know; `NOTIFY` and `UPDATE_TICKER` are pushes."""

    INIT_CONNECT = 1001
    GET_GLOBAL_STATE = 1002
    NOTIFY = 1003
    KEEP_ALIVE = 1004
    GET_USER_INFO = 1005
    SUB = 3001
    REG_QOT_PUSH = 3002
    GET_SUB_INFO = 3003
    GET_TICKER = 3010
    UPDATE_TICKER = 3011
    GET_STATIC_INFO = 3202
    GET_CAPITAL_FLOW = 3211
    GET_CAPITAL_DISTRIBUTION = 3212
    REQUEST_TRADE_DATE = 3219
    GET_MARKET_STATE = 3223
    GET_ARK_STOCK_DYNAMIC = 3424


class BodyFormat(enum.IntEnum):
    """The header's fmtType."""

    PROTOBUF = 0
    JSON = 1


class PacketEncAlgo(enum.IntEnum):
    """InitConnect's packetEncAlgo: what a client asks for. What it gets, the reply decides (codec/opend/cipher.py)."""

    FTAES_ECB = 0
    NONE = -1
    AES_ECB = 1
    AES_CBC = 2


class SubType(enum.IntEnum):
    """What 3001 subscribes to; more exist, these are ours."""

    TICKER = 4


class SessionChoice(enum.IntEnum):
    """3001's `session`, for US symbols."""

    RTH = 1
    ETH = 2
    ALL = 3


def pack_frame(
    proto_id: int,
    serial: int,
    body: bytes,
    body_format: BodyFormat = BodyFormat.PROTOBUF,
    *,
    sealed: bytes | None = None,
) -> bytes:
    """One frame as it travels: header with the body's length and SHA-1, then the body.

    `sealed` is the body encrypted, to travel in its place: the length is then that one's, the SHA-1 is not.
    """
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    sent = body if sealed is None else sealed
    return HEADER.pack(MAGIC, proto_id, body_format, 0, serial, len(sent), digest, bytes(8)) + sent
