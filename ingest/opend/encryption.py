"""How the bodies of one connection travel: in which format, and encrypted or not.

Encrypted frames are opened before the kernels see them: they read plain frames, headers included,
from one buffer, as if nobody had encrypted anything.

Rule 1: the keys belong to one connection and end with it.
Rule 2: a frame that cannot be opened stands alone: it is told in its place among the others, and the
next one is opened. A header that cannot be trusted is handed on as it is, for the decoder to judge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.opend.cipher import Cipher, RsaCipher, Undecryptable, aes_cipher
from codec.opend.decoder import Refused
from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC, BodyFormat, PacketEncAlgo, ProtoId
from codec.spans import Span
from ingest.opend.front import WebSocketPort


@dataclass(frozen=True, slots=True)
class WireMode:
    """What a gateway's connections are to be like, as configured.

    Attributes
    ----------
    body_format : of our requests, so of the replies; pushes are asked for in it
    rsa : the cipher of InitConnect; None for a connection without encryption
    websocket : the port to go to instead of the TCP port; its packets are protobuf, and not encrypted by us
    """

    body_format: BodyFormat = BodyFormat.PROTOBUF
    rsa: RsaCipher | None = None
    websocket: WebSocketPort | None = None

    @property
    def algorithm(self) -> PacketEncAlgo:
        """What InitConnect asks for, as the official SDK does."""
        return PacketEncAlgo.NONE if self.rsa is None else PacketEncAlgo.AES_CBC

    @property
    def has_sha1(self) -> bool:
        """Whether each frame brings the SHA-1 of its body."""
        return self.websocket is None

    @property
    def hint(self) -> str:
        """What may be wrong on either side when the greeting makes no sense."""
        if self.websocket is not None:
            return "is it OpenD's WebSocket port, and websocket_key its key?"
        if self.rsa is None:
            return "if OpenD has an rsa_private_key, set rsa_key_file to the same key"
        return "has OpenD the key of our rsa_key_file as its rsa_private_key?"


PLAIN = WireMode()
"""What a gateway has unless configured otherwise."""


class Encryption:
    """The ciphers of one encrypted connection, and its frames once they are plain.

    Attributes
    ----------
    plain : (n,) uint8, plain frames and `PAD_BYTES`; plain[start:stop] is still to be read
    """

    def __init__(self, rsa: RsaCipher, body_bytes_max: int) -> None:
        self.plain: NDArray[np.uint8] = np.zeros(PAD_BYTES, np.uint8)
        self.start = self.stop = 0
        self._rsa = rsa
        self._aes: Cipher | None = None
        self._body_bytes_max = body_bytes_max

    def seal(self, proto_id: int, body: bytes) -> bytes:
        """A request's body as it travels."""
        cipher = self._cipher(proto_id)
        assert cipher is not None, "the session sends only InitConnect before it is accepted"
        return cipher.seal(body)

    def agree(self, key: str, vector: str | None) -> None:
        """InitConnect was accepted with these: `vector` None where the reply has none. Raises BadKey."""
        self._aes = aes_cipher(key, vector)

    def open(self, source: NDArray[np.uint8], start: int, stop: int) -> tuple[int, Refused | None]:
        """Open whole frames of source[start:stop] into `plain`, which has been read.

        Stops behind InitConnect's reply, which brings the key of what follows, and before a frame
        that cannot be opened; that one is returned when it is the first.

        Returns
        -------
        consumed : the position of the next byte to open
        refused : the frame before it, when it cannot be opened
        """
        assert self.start == self.stop, "what is plain is read before more is opened"
        view, at = source.data, start
        pieces: list[bytes] = []
        while at + len(MAGIC) <= stop:
            if bytes(view[at : at + len(MAGIC)]) != MAGIC:
                pieces.append(bytes(view[at:stop]))
                at = stop
                break
            if at + HEADER_BYTES > stop:
                break
            magic, proto_id, body_format, version, serial, body_bytes, digest, rest = HEADER.unpack_from(view, at)
            if body_bytes > self._body_bytes_max:
                pieces.append(bytes(view[at:stop]))
                at = stop
                break
            end = at + HEADER_BYTES + body_bytes
            if end > stop:
                break
            try:
                body = self._open_body(proto_id, view[at + HEADER_BYTES : end], digest)
            except Undecryptable as error:
                if pieces:
                    break
                span = Span(at, end - at)
                return end, Refused(span, proto_id, serial, "undecryptable", str(error), None, None)
            pieces += HEADER.pack(magic, proto_id, body_format, version, serial, len(body), digest, rest), body
            at = end
            if self._aes is None:
                break
        self.plain = np.frombuffer(bytearray(b"".join((*pieces, bytes(PAD_BYTES)))), np.uint8)
        self.start, self.stop = 0, len(self.plain) - PAD_BYTES
        return at, None

    def _cipher(self, proto_id: int) -> Cipher | None:
        if self._aes is not None:
            return self._aes
        return self._rsa if proto_id == ProtoId.INIT_CONNECT else None

    def _open_body(self, proto_id: int, sealed: memoryview, digest: bytes) -> bytes:
        cipher = self._cipher(proto_id)
        if cipher is None:
            raise Undecryptable("it came before the key to it")
        if not sealed:
            return b""  # the decoder has its own word for it
        if self._aes is None and hashlib.sha1(sealed, usedforsecurity=False).digest() == digest:
            raise Undecryptable("the gateway does not encrypt: its answer to InitConnect is plain")
        return cipher.open(sealed)
