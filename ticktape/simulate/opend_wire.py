"""How the bodies of one client travel: protobuf or JSON, plain or encrypted (docs/protocols/opend.md 1.3).

Everything in the simulator is made as plain protobuf frames. A client that wants nothing else gets
those very bytes; for others each frame is made anew here, last of all.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from codec.errors import TicktapeError
from codec.opend.cipher import AES_KEY_BYTES, Cipher, RsaCipher, aes_cipher
from codec.opend.json_bodies import to_json
from codec.opend.protocol import HEADER, HEADER_BYTES, BodyFormat, PacketEncAlgo, ProtoId
from ticktape.options import Aes


class WireRefused(TicktapeError):
    """InitConnect asks for what no OpenD has, or this one does not."""


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """The gateway's key, and which AES it uses, whatever its clients ask for."""

    rsa: RsaCipher
    aes: Aes = Aes.CBC


class ClientWire:
    """One connection's way of writing; it begins plain, in protobuf, until InitConnect says otherwise.

    Parameters
    ----------
    key : None for a gateway without a key
    responses : the class of each call's response and of pushes, for those that travel as JSON
    """

    def __init__(self, key: GatewayKey | None, responses: dict[int, type[Message]]) -> None:
        self._key = key
        self._responses = responses
        self._greeting: Cipher | None = key.rsa if key else None
        self._cipher: Cipher | None = None
        self.push_format = BodyFormat.PROTOBUF

    def open(self, proto_id: int, body: bytes) -> bytes:
        """A request's body in plain. Raises Undecryptable."""
        cipher = self._greeting if proto_id == ProtoId.INIT_CONNECT else self._cipher
        return cipher.open(body) if cipher else body

    def agree(self, c2s: Any, s2c: Any, rng: random.Random) -> None:
        """InitConnect asks for `c2s`: keep to it from here on, and put the keys into `s2c`.

        Raises
        ------
        WireRefused
            Of formats there are protobuf and JSON; of AES those that are documented whole.
        """
        if c2s.pushProtoFmt not in (BodyFormat.PROTOBUF, BodyFormat.JSON):
            raise WireRefused(f"unknown pushProtoFmt {c2s.pushProtoFmt}")
        if c2s.packetEncAlgo == PacketEncAlgo.AES_ECB:
            raise WireRefused("packetEncAlgo 1 (AES_ECB) is not simulated: how it pads is not documented")
        self.push_format = BodyFormat(c2s.pushProtoFmt)
        s2c.connAESKey = _key(rng)
        if self._key is None:
            return
        if c2s.packetEncAlgo == PacketEncAlgo.NONE:
            self._greeting = None
            return
        if self._key.aes is Aes.CBC:
            s2c.aesCBCiv = _key(rng)
        self._cipher = aes_cipher(s2c.connAESKey, s2c.aesCBCiv or None)

    def dress(self, frames: bytes, body_format: BodyFormat) -> bytes:
        """Plain protobuf frames as they travel, their bodies in `body_format`."""
        if body_format is BodyFormat.PROTOBUF and self._greeting is None and self._cipher is None:
            return frames
        dressed: list[bytes] = []
        at = 0
        while at < len(frames):
            magic, proto_id, _, version, serial, body_bytes, digest, rest = HEADER.unpack_from(frames, at)
            body = frames[at + HEADER_BYTES : at + HEADER_BYTES + body_bytes]
            at += HEADER_BYTES + body_bytes
            if body_format is BodyFormat.JSON:
                is_sound = _sha1(body) == digest
                body = to_json(self._responses[proto_id].FromString(body))
                digest = _sha1(body) if is_sound else digest  # a wrong one was meant
            cipher = self._greeting if proto_id == ProtoId.INIT_CONNECT else self._cipher
            sent = cipher.seal(body) if cipher else body
            dressed += HEADER.pack(magic, proto_id, body_format, version, serial, len(sent), digest, rest), sent
        return b"".join(dressed)


def _key(rng: random.Random) -> str:
    return f"{rng.getrandbits(4 * AES_KEY_BYTES):0{AES_KEY_BYTES}X}"


def _sha1(body: bytes) -> bytes:
    return hashlib.sha1(body, usedforsecurity=False).digest()
