"""Keys made for a test: OpenD's are RSA of 1024 bit in PKCS#1."""

from __future__ import annotations

import functools

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)


@functools.cache
def rsa_pem(bits: int = 1024, *, number: int = 0, password: bytes | None = None) -> bytes:
    """A private key; another `number` is another key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, protection)
