"""Packets as a gateway sends them."""

from __future__ import annotations

import gzip

TRAILER = bytes(range(24))


def push(body: bytes, command: int = 104, *, signed: bool = False, compressed: bool = False) -> bytes:
    return _packet(3, bytes((command,)), body, signed, compressed)


def response(
    body: bytes,
    command: int = 17,
    request_id: int = 1,
    status: int = 0,
    *,
    signed: bool = False,
    compressed: bool = False,
) -> bytes:
    fields = bytes((command,)) + request_id.to_bytes(4, "big") + bytes((status,))
    return _packet(2, fields, body, signed, compressed)


def request(body: bytes, command: int, request_id: int = 1, *, signed: bool = False, compressed: bool = False) -> bytes:
    fields = bytes((command,)) + request_id.to_bytes(4, "big") + (5000).to_bytes(2, "big")
    return _packet(1, fields, body, signed, compressed)


def _packet(kind: int, fields: bytes, body: bytes, signed: bool, compressed: bool) -> bytes:
    if compressed:
        body = gzip.compress(body, mtime=0)
    first = kind | (0x10 if signed else 0) | (0x20 if compressed else 0)
    return bytes((first,)) + fields + len(body).to_bytes(3, "big") + body + (TRAILER if signed else b"")
