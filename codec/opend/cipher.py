"""OpenD's encryption of bodies: RSA for InitConnect, AES for all that follows (docs/protocols/opend.md 1.3).

Only bodies are encrypted. A frame's header tells the length of the body as it travels, and the SHA-1
of the plain one, so a wrong key that leaves sound padding is still found.

Rule 1: what comes is bounded before anything is computed of it; whatever cannot be opened is
`Undecryptable`, and no message holds a key or a plain byte.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from codec.errors import TicktapeError

RSA_KEY_BITS = 1024
"""OpenD and the official SDKs take no other length."""
RSA_PIECE_BYTES_MAX = 100
"""Of the plain body; each piece becomes a block of the key's length."""
RSA_BODY_BYTES_MAX = 4096
"""Of an InitConnect as it travels: 32 blocks of 0.1 ms each. A real one has one or two."""

AES_BLOCK_BYTES = 16
AES_KEY_BYTES = 16

Sealed = bytes | memoryview


class BadKey(TicktapeError):
    """A key cannot be used; nothing changes that but another key."""


class Undecryptable(TicktapeError):
    """A body is not what its cipher makes."""


class Cipher(Protocol):
    """Turns plain bodies into those that travel, and back."""

    def seal(self, plain: bytes) -> bytes:
        """The body as it travels."""

    def open(self, sealed: Sealed) -> bytes:
        """The plain body. Raises Undecryptable."""


class RsaCipher:
    """RSA with PKCS#1 v1.5 padding, piece by piece; both sides hold the same private key.

    Parameters
    ----------
    pem : the text of a private key, `BEGIN RSA PRIVATE KEY`

    Raises
    ------
    BadKey
        It is no such key, is protected by a password, or is not of `RSA_KEY_BITS`.
    """

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError:
            raise BadKey("the key is protected by a password; OpenD takes one without") from None
        except (ValueError, UnsupportedAlgorithm):
            raise BadKey("it is no private key in PEM (PKCS#1, BEGIN RSA PRIVATE KEY)") from None
        if not isinstance(key, RSAPrivateKey):
            raise BadKey("the key is not of RSA")
        if key.key_size != RSA_KEY_BITS:
            raise BadKey(f"the key has {key.key_size} bit; OpenD takes {RSA_KEY_BITS}")
        self._private, self._public = key, key.public_key()
        self._block_bytes = key.key_size // 8

    def seal(self, plain: bytes) -> bytes:
        """The body as it travels."""
        pieces = range(0, len(plain), RSA_PIECE_BYTES_MAX)
        return b"".join(self._public.encrypt(plain[at : at + RSA_PIECE_BYTES_MAX], PKCS1v15()) for at in pieces)

    def open(self, sealed: Sealed) -> bytes:
        """The plain body. A block of another key becomes nonsense, which only the SHA-1 shows."""
        size, block = len(sealed), self._block_bytes
        if size % block:
            raise Undecryptable(f"a body of {size} B is not made of RSA blocks of {block} B")
        if size > RSA_BODY_BYTES_MAX:
            raise Undecryptable(f"a body of {size} B is longer than RSA is used for ({RSA_BODY_BYTES_MAX} B)")
        try:
            return b"".join(
                self._private.decrypt(bytes(sealed[at : at + block]), PKCS1v15()) for at in range(0, size, block)
            )
        except ValueError:
            raise Undecryptable("an RSA block cannot be decrypted by our key") from None


class CbcCipher:
    """AES-128-CBC with PKCS#7 padding; every frame begins anew with the same vector."""

    def __init__(self, key: bytes, vector: bytes) -> None:
        self._cipher = BlockCipher(AES(key), CBC(vector))

    def seal(self, plain: bytes) -> bytes:
        """The body as it travels: 1 to 16 bytes longer."""
        padding = AES_BLOCK_BYTES - len(plain) % AES_BLOCK_BYTES
        return self._cipher.encryptor().update(plain + bytes([padding]) * padding)

    def open(self, sealed: Sealed) -> bytes:
        """The plain body."""
        _refuse_broken_blocks(len(sealed))
        padded = self._cipher.decryptor().update(sealed)
        padding = padded[-1]
        if not 1 <= padding <= AES_BLOCK_BYTES or padded[-padding:] != padded[-1:] * padding:
            raise Undecryptable("the padding is not PKCS#7's: another key, or damaged")
        return padded[:-padding]


class FtaesEcbCipher:
    """OpenD's own AES-128-ECB: padded with zeros, and behind it 16 clear bytes.

    The last of them says how many bytes of the last block are the body's, 0 for all.
    """

    def __init__(self, key: bytes) -> None:
        cipher = BlockCipher(AES(key), ECB())
        # Blocks do not depend on one another: one context serves every frame.
        self._encryptor, self._decryptor = cipher.encryptor(), cipher.decryptor()

    def seal(self, plain: bytes) -> bytes:
        """The body as it travels: 16 to 31 bytes longer."""
        rest = len(plain) % AES_BLOCK_BYTES
        padded = plain + bytes(-len(plain) % AES_BLOCK_BYTES)
        return self._encryptor.update(padded) + bytes(AES_BLOCK_BYTES - 1) + bytes([rest])

    def open(self, sealed: Sealed) -> bytes:
        """The plain body."""
        _refuse_broken_blocks(len(sealed))
        rest = sealed[-1]
        if rest >= AES_BLOCK_BYTES:
            raise Undecryptable(f"the trailer says {rest} bytes of a last block of {AES_BLOCK_BYTES}")
        if rest and len(sealed) == AES_BLOCK_BYTES:
            raise Undecryptable("there is a trailer and nothing before it")
        padded = self._decryptor.update(sealed[:-AES_BLOCK_BYTES])
        return padded[: rest - AES_BLOCK_BYTES] if rest else padded


def aes_cipher(key: str, vector: str | None) -> CbcCipher | FtaesEcbCipher:
    """The cipher that an InitConnect reply asks for: by whether it has a vector, and nothing else.

    Parameters
    ----------
    key, vector : connAESKey and aesCBCiv, 16 ASCII characters each; None where the reply has none

    Raises
    ------
    BadKey
        One of them has another length.
    """
    for name, text in (("connAESKey", key), ("aesCBCiv", vector)):
        if text is not None and (len(text) != AES_KEY_BYTES or not text.isascii()):
            raise BadKey(f"{name} is not {AES_KEY_BYTES} ASCII characters")
    return FtaesEcbCipher(key.encode()) if vector is None else CbcCipher(key.encode(), vector.encode())


def _refuse_broken_blocks(size: int) -> None:
    if size == 0 or size % AES_BLOCK_BYTES:
        raise Undecryptable(f"a body of {size} B is not made of AES blocks of {AES_BLOCK_BYTES} B")
