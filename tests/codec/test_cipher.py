"""OpenD's ciphers against pycryptodome's, which the official SDKs use; and what is none of theirs."""

from __future__ import annotations

import pytest
from Crypto.Cipher import AES, PKCS1_v1_5
from Crypto.PublicKey import RSA
from Crypto.Util.Padding import pad
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codec.opend.cipher import (
    AES_BLOCK_BYTES,
    RSA_BODY_BYTES_MAX,
    BadKey,
    CbcCipher,
    Cipher,
    FtaesEcbCipher,
    RsaCipher,
    Undecryptable,
    aes_cipher,
)
from tests.support.keys import rsa_pem

KEY, VECTOR = "0123456789ABCDEF", "FEDCBA9876543210"
bodies = st.binary(max_size=400)


def theirs_cbc(plain: bytes) -> bytes:
    return AES.new(KEY.encode(), AES.MODE_CBC, VECTOR.encode()).encrypt(pad(plain, 16))


def theirs_ftaes(plain: bytes) -> bytes:
    rest = len(plain) % 16
    padded = plain + bytes(16 - rest if rest else 0)
    return AES.new(KEY.encode(), AES.MODE_ECB).encrypt(padded) + bytes(15) + bytes([rest])


def theirs_rsa(plain: bytes) -> bytes:
    cipher = PKCS1_v1_5.new(RSA.import_key(rsa_pem()))
    return b"".join(cipher.encrypt(plain[at : at + 100]) for at in range(0, len(plain), 100))


def rsa_opened(sealed: bytes) -> bytes:
    cipher = PKCS1_v1_5.new(RSA.import_key(rsa_pem()))
    return b"".join(cipher.decrypt(sealed[at : at + 128], b"") for at in range(0, len(sealed), 128))


@settings(deadline=None)
@given(plain=bodies)
@example(plain=bytes(32))
@example(plain=b"\x10" * 16)
def test_cbc_and_ftaes_seal_and_open_as_theirs(plain: bytes) -> None:
    cbc, ftaes = aes_cipher(KEY, VECTOR), aes_cipher(KEY, None)
    assert cbc.seal(plain) == theirs_cbc(plain)
    assert ftaes.seal(plain) == theirs_ftaes(plain)
    assert cbc.open(memoryview(theirs_cbc(plain))) == plain
    assert ftaes.open(memoryview(theirs_ftaes(plain))) == plain


@settings(deadline=None, max_examples=30)
@given(plain=bodies)
def test_rsa_is_sealed_in_pieces_of_a_hundred_bytes(plain: bytes) -> None:
    cipher = RsaCipher(rsa_pem())
    sealed = cipher.seal(plain)
    assert len(sealed) == -(-len(plain) // 100) * 128
    assert rsa_opened(sealed) == plain
    assert cipher.open(memoryview(theirs_rsa(plain))) == plain


def test_the_reply_alone_chooses_the_aes() -> None:
    assert isinstance(aes_cipher(KEY, VECTOR), CbcCipher)
    assert isinstance(aes_cipher(KEY, None), FtaesEcbCipher)


@pytest.mark.parametrize(
    ("key", "vector"), [("", None), ("short", None), (KEY + "0", VECTOR), (KEY, ""), (KEY, "x" * 15), ("é" * 16, None)]
)
def test_a_key_or_vector_of_another_length_is_refused_and_not_told(key: str, vector: str | None) -> None:
    with pytest.raises(BadKey) as caught:
        aes_cipher(key, vector)
    assert not key or key not in str(caught.value)


SEALED = {
    "cbc": (aes_cipher(KEY, VECTOR), theirs_cbc(b"some body of 28 bytes, plain")),
    "ftaes": (aes_cipher(KEY, None), theirs_ftaes(b"some body of 28 bytes, plain")),
    "rsa": (RsaCipher(rsa_pem()), theirs_rsa(b"some body of 28 bytes, plain")),
}


@pytest.mark.parametrize("name", SEALED)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_comes_is_opened_or_refused(name: str, data: st.DataObject) -> None:
    cipher, sealed = SEALED[name]
    spoiled = bytearray(sealed)
    for at in data.draw(st.lists(st.integers(0, len(sealed) - 1), max_size=3)):
        spoiled[at] ^= data.draw(st.integers(1, 255))
    tried = data.draw(st.one_of(st.just(bytes(spoiled)), st.binary(max_size=300), st.just(sealed[: len(spoiled) // 2])))
    try:
        plain = cipher.open(tried)
    except Undecryptable:
        return
    assert len(plain) <= len(tried)


@pytest.mark.parametrize(
    ("cipher", "sealed"),
    [
        (aes_cipher(KEY, VECTOR), b""),
        (aes_cipher(KEY, VECTOR), bytes(17)),
        (aes_cipher(KEY, VECTOR), AES.new(KEY.encode(), AES.MODE_CBC, VECTOR.encode()).encrypt(bytes(16))),
        (aes_cipher(KEY, VECTOR), AES.new(KEY.encode(), AES.MODE_CBC, VECTOR.encode()).encrypt(b"\x11" * 32)),
        (aes_cipher(KEY, VECTOR), AES.new(KEY.encode(), AES.MODE_CBC, VECTOR.encode()).encrypt(b"\x03" * 15 + b"\x04")),
        (aes_cipher(KEY, None), b""),
        (aes_cipher(KEY, None), bytes(31)),
        (aes_cipher(KEY, None), bytes(31) + b"\x10"),
        (aes_cipher(KEY, None), bytes(15) + b"\x01"),
        (RsaCipher(rsa_pem()), bytes(127)),
        (RsaCipher(rsa_pem()), bytes(RSA_BODY_BYTES_MAX + 128)),
        (RsaCipher(rsa_pem()), b"\xff" * 128),
    ],
)
def test_what_no_cipher_makes_is_refused(cipher: Cipher, sealed: bytes) -> None:
    with pytest.raises(Undecryptable):
        cipher.open(sealed)


def test_a_trailer_of_an_empty_body_stands_alone() -> None:
    assert aes_cipher(KEY, None).open(bytes(AES_BLOCK_BYTES)) == b""


def not_rsa() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_half() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (rsa_pem(2048), "the key has 2048 bit; OpenD takes 1024"),
        (rsa_pem(password=b"secret"), "protected by a password"),
        (not_rsa(), "not of RSA"),
        (public_half(), "no private key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "no private key"),
        (b"", "no private key"),
        (b"\xff\x00 not even text", "no private key"),
    ],
    ids=["2048 bit", "password", "EC", "public", "damaged", "empty", "binary"],
)
def test_a_key_that_opend_would_not_take_is_refused_in_plain_words(pem: bytes, says: str) -> None:
    with pytest.raises(BadKey, match=says):
        RsaCipher(pem)
