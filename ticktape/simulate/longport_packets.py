"""Packets of the simulated LongPort: pushes made many at a time, single ones, and packets as they come in."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.errors import TicktapeError
from codec.longport.packets import inflate
from codec.longport.protocol import (
    COMPRESSED_BIT,
    PUSH_HEADER_BYTES,
    REQUEST_HEADER_BYTES,
    RESPONSE_HEADER_BYTES,
    SIGNED_BIT,
    TRAILER_BYTES,
    TYPE_BITS,
    Command,
    PacketType,
)
from ticktape.simulate.longport_encode import MESSAGE_HEADER_BYTES_MAX, frame_messages

_HEADER_BYTES = {
    PacketType.REQUEST: REQUEST_HEADER_BYTES,
    PacketType.RESPONSE: RESPONSE_HEADER_BYTES,
    PacketType.PUSH: PUSH_HEADER_BYTES,
}
_REQUEST_HEADER = struct.Struct(">BBIH")
_HEARTBEAT_TIMEOUT_MS = 10_000


class BadPacket(TicktapeError):
    """What a client sent is no packet: close with UnpackError."""


@dataclass(frozen=True, slots=True)
class Packets:
    """Encoded packets.

    Attributes
    ----------
    data : (n_bytes,) uint8
    at : (n + 1,) int64, where each begins; the last is the end
    symbol : (n,) int64, index of the symbol of each
    sequence : (n,) int64, what it says of itself; 0 for none
    """

    data: NDArray[np.uint8]
    at: NDArray[np.int64]
    symbol: NDArray[np.int64]
    sequence: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.symbol)

    @classmethod
    def joined(cls, packets: Sequence[bytes], symbol: Iterable[int] = (), sequence: Iterable[int] = ()) -> Packets:
        """Single packets, one after the other; without symbols for what is not of trades."""
        at = np.concatenate((np.zeros(1, np.int64), np.cumsum([len(packet) for packet in packets], dtype=np.int64)))
        data = np.frombuffer(b"".join(packets), np.uint8)
        return cls(data, at, np.array([*symbol], np.int64), np.array([*sequence], np.int64))

    def packet(self, index: int) -> bytes:
        """One of them."""
        return self.data[self.at[index] : self.at[index + 1]].tobytes()

    def only(self, keep: NDArray[np.bool_]) -> Packets:
        """Those whose entry in `keep`, (n,), is true."""
        if keep.all():
            return self
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        pieces = [self.data[self.at[i] : self.at[j]] for i, j in zip(edges[::2], edges[1::2], strict=True)]
        sizes = np.diff(self.at)[keep]
        at = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        data = np.concatenate(pieces) if pieces else self.data[:0]
        return Packets(data, at, self.symbol[keep], self.sequence[keep])

    def of(self, wanted: NDArray[np.bool_]) -> Packets:
        """Those of the symbols whose entry in `wanted`, (n_symbols,), is true."""
        return self.only(wanted[self.symbol])

    def stream(self) -> bytes:
        """As they travel over TCP."""
        return self.data.tobytes()

    def messages(self) -> bytes:
        """As they travel over WebSocket: each is one binary message."""
        count = len(self.at) - 1
        out = np.empty(len(self.data) + count * MESSAGE_HEADER_BYTES_MAX, np.uint8)
        return out[: frame_messages(self.data, self.at, out)].tobytes()


def pack_push(command: int, body: bytes) -> bytes:
    """One push."""
    return bytes((PacketType.PUSH, command)) + len(body).to_bytes(3, "big") + body


def pack_heartbeat(request_id: int, body: bytes) -> bytes:
    """A request that only asks whether somebody is there."""
    header = _REQUEST_HEADER.pack(PacketType.REQUEST, Command.HEARTBEAT, request_id, _HEARTBEAT_TIMEOUT_MS)
    return header + len(body).to_bytes(3, "big") + body


def dress(packet: bytes, rng: random.Random, *, compressed: bool, signed: bool) -> bytes:
    """A plain packet with its body compressed, with a trailer behind it, or both."""
    header_bytes = _HEADER_BYTES[PacketType(packet[0] & TYPE_BITS)]
    body = packet[header_bytes:]
    first = packet[0] | (COMPRESSED_BIT if compressed else 0) | (SIGNED_BIT if signed else 0)
    if compressed:
        body = gzip.compress(body, mtime=0)
    trailer = rng.randbytes(TRAILER_BYTES) if signed else b""
    return bytes((first,)) + packet[1 : header_bytes - 3] + len(body).to_bytes(3, "big") + body + trailer


@dataclass(frozen=True, slots=True)
class Received:
    """A packet from a client, its body inflated."""

    packet_type: PacketType
    command: int
    request_id: int
    body: bytes
    size_bytes: int
    """Of the whole packet on the wire."""


def read_packet(data: bytes | bytearray, at: int) -> Received | None:
    """The packet that begins at `at`, None while it is not whole. Raises BadPacket."""
    if at == len(data):
        return None
    first = data[at]
    kind = first & TYPE_BITS
    if kind not in (PacketType.REQUEST, PacketType.RESPONSE):
        raise BadPacket(f"a packet of type {kind} from a client")
    packet_type = PacketType(kind)
    body_at = at + _HEADER_BYTES[packet_type]
    if len(data) < body_at:
        return None
    body_stop = body_at + int.from_bytes(data[body_at - 3 : body_at], "big")
    stop = body_stop + (TRAILER_BYTES if first & SIGNED_BIT else 0)
    if len(data) < stop:
        return None
    body: bytes | None = bytes(data[body_at:body_stop])
    if first & COMPRESSED_BIT and body is not None:
        body = inflate(body)
    if body is None:
        raise BadPacket("a body that is not gzip")
    request_id = int.from_bytes(data[at + 2 : at + 6], "big")
    return Received(packet_type, data[at + 1], request_id, body, stop - at)
