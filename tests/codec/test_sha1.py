"""SHA-1 kernels against hashlib."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import PAD_BYTES
from codec.sha1 import DIGEST_BYTES, _compress_scalar, sha1_into, sha1_matches
from tests.codec.examples import examples

INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)


def kernel_digest(data: bytes, before: int = 0) -> bytes:
    """By `sha1_into`, with the data at an odd place and other bytes around it."""
    source = np.frombuffer(bytearray(b"\xaa" * before + data + b"\xbb" * PAD_BYTES), np.uint8)
    digest = np.zeros(DIGEST_BYTES + 2, np.uint8)
    sha1_into(source, before, before + len(data), digest, 1)
    assert digest[0] == digest[-1] == 0
    return digest[1:-1].tobytes()


def scalar_digest(data: bytes) -> bytes:
    """By the scalar step alone, whatever instructions this processor has; padding as FIPS 180-4 says."""
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + struct.pack(">Q", 8 * len(data))
    source = np.frombuffer(bytearray(padded + bytes(PAD_BYTES)), np.uint8)
    state = np.zeros(8, np.uint32)
    state[:5] = INITIAL
    for at in range(0, len(padded), 64):
        _compress_scalar(source, at, state)
    return struct.pack(">5I", *state[:5].tolist())


@pytest.mark.parametrize("size", [*range(130), 183, 184, 1000])
def test_every_length_around_the_blocks(size: int) -> None:
    data = bytes((7 * at + size) % 256 for at in range(size))
    assert kernel_digest(data, size % 9) == hashlib.sha1(data).digest()


@examples(200)
@given(data=st.binary(max_size=400), before=st.integers(0, 70))
def test_digests_equal_those_of_hashlib(data: bytes, before: int) -> None:
    assert kernel_digest(data, before) == hashlib.sha1(data).digest()


@examples(200)
@given(data=st.binary(max_size=400))
def test_so_do_the_scalar_ones(data: bytes) -> None:
    assert scalar_digest(data) == hashlib.sha1(data).digest()


@examples(50)
@given(data=st.binary(max_size=200), bit=st.integers(0, 8 * DIGEST_BYTES - 1))
def test_one_wrong_bit_is_no_match(data: bytes, bit: int) -> None:
    source = np.frombuffer(bytearray(hashlib.sha1(data).digest() + data + bytes(PAD_BYTES)), np.uint8)
    stop = DIGEST_BYTES + len(data)
    assert sha1_matches(source, DIGEST_BYTES, stop, 0)
    source[bit // 8] ^= 1 << bit % 8
    assert not sha1_matches(source, DIGEST_BYTES, stop, 0)
