"""SHA-1 inside kernels: the check of every OpenD body, without a Python call a frame.

On processors with the SHA instructions one 64-byte block costs about 30 ns less than in plain
arithmetic, which is the difference between a check that is always on and one that people turn off.

The construction with the instructions is the one that Intel published; the scalar one is FIPS 180-4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from codec.bits import compiles_for, load_u32, stack_array
from codec.kernel import inlined, kernel

DIGEST_BYTES = 20
_BLOCK_BYTES = 64

_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_ROUND_CONSTANTS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)


HAS_SHA_INSTRUCTIONS = compiles_for("sha")

# The heap would cost as much as a block.
_tail = stack_array(2 * _BLOCK_BYTES, np.uint8)
_state = stack_array(8, np.uint32)
_schedule = stack_array(80, np.uint32)

_I8, _I32 = ir.IntType(8), ir.IntType(32)
_X4 = ir.VectorType(_I32, 4)
_X16 = ir.VectorType(_I8, 16)


def _vector(values: list[int], kind: ir.Type = _I32) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, len(values)), values)


_REVERSED_LANES = _vector([3, 2, 1, 0])
_REVERSED_BYTES = _vector(list(range(15, -1, -1)))


@intrinsic  # type: ignore[misc, unused-ignore]
def _compress_with_instructions(typing_context: Any, source: Any, offset: Any, state: Any) -> Any:
    """Fold the 64 bytes at `offset` of `source` into `state`, (8,) uint32 of which 5 are used."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def call(name: str, *operands: Any, immediate: int | None = None) -> Any:
            kinds = [_X4] * len(operands) + ([] if immediate is None else [_I8])
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_X4, kinds), f"llvm.x86.{name}")
            extra = [] if immediate is None else [ir.Constant(_I8, immediate)]
            return builder.call(function, [*operands, *extra])

        def load_x4(pointer: Any) -> Any:
            value = builder.load(builder.bitcast(pointer, _X4.as_pointer()))
            value.align = 1
            return value

        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        words = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        nothing = ir.Constant(_X4, None)
        undefined = ir.Constant(_X4, ir.Undefined)
        high_lane = ir.Constant(_I32, 3)
        e_word = builder.gep(words, [ir.Constant(ir.IntType(64), 4)])

        abcd_before = builder.shuffle_vector(load_x4(words), undefined, _REVERSED_LANES)
        e_before = builder.insert_element(nothing, builder.load(e_word), high_lane)
        message = []
        for quarter in range(4):
            at = builder.add(arguments[1], ir.Constant(ir.IntType(64), 16 * quarter))
            raw = builder.bitcast(load_x4(builder.gep(data, [at])), _X16)
            swapped = builder.shuffle_vector(raw, ir.Constant(_X16, ir.Undefined), _REVERSED_BYTES)
            message.append(builder.bitcast(swapped, _X4))

        abcd, e_now, e_next = abcd_before, e_before, nothing
        for group in range(20):  # four rounds each
            current = message[group % 4]
            e_now = builder.add(e_now, current) if group == 0 else call("sha1nexte", e_now, current)
            e_next = abcd
            if 3 <= group <= 18:
                message[(group + 1) % 4] = call("sha1msg2", message[(group + 1) % 4], current)
            abcd = call("sha1rnds4", abcd, e_now, immediate=group // 5)
            if 1 <= group <= 16:
                message[(group - 1) % 4] = call("sha1msg1", message[(group - 1) % 4], current)
            if 2 <= group <= 17:
                message[(group - 2) % 4] = builder.xor(message[(group - 2) % 4], current)
            e_now, e_next = e_next, e_now

        e_after = call("sha1nexte", e_now, e_before)
        abcd = builder.shuffle_vector(builder.add(abcd, abcd_before), undefined, _REVERSED_LANES)
        builder.store(abcd, builder.bitcast(words, _X4.as_pointer())).align = 1
        builder.store(builder.extract_element(e_after, high_lane), e_word)
        return context.get_dummy_value()

    return types.void(source, types.int64, state), codegen


@inlined
def _rotated(word: np.uint32, by: int) -> np.uint32:
    return np.uint32((np.uint64(word) << np.uint64(by)) | (np.uint64(word) >> np.uint64(32 - by)))


@kernel
def _compress_scalar(source: NDArray[np.uint8], offset: int, state: NDArray[np.uint32]) -> None:
    """Fold the 64 bytes at `offset` of `source` into `state` by plain arithmetic."""
    schedule = _schedule()
    for i in range(16):
        word = np.uint64(load_u32(source, offset + 4 * i))
        schedule[i] = np.uint32(
            ((word & np.uint64(0xFF)) << np.uint64(24))
            | ((word & np.uint64(0xFF00)) << np.uint64(8))
            | ((word >> np.uint64(8)) & np.uint64(0xFF00))
            | (word >> np.uint64(24))
        )
    for i in range(16, 80):
        schedule[i] = _rotated(schedule[i - 3] ^ schedule[i - 8] ^ schedule[i - 14] ^ schedule[i - 16], 1)
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for i in range(80):
        if i < 20:
            mixed, constant = (b & c) | (~b & d), _ROUND_CONSTANTS[0]
        elif i < 40:
            mixed, constant = b ^ c ^ d, _ROUND_CONSTANTS[1]
        elif i < 60:
            mixed, constant = (b & c) | (b & d) | (c & d), _ROUND_CONSTANTS[2]
        else:
            mixed, constant = b ^ c ^ d, _ROUND_CONSTANTS[3]
        total = (
            np.uint64(_rotated(a, 5)) + np.uint64(mixed) + np.uint64(e) + np.uint64(constant) + np.uint64(schedule[i])
        )
        a, b, c, d, e = np.uint32(total & np.uint64(0xFFFFFFFF)), a, _rotated(b, 30), c, d
    for i, word in enumerate((a, b, c, d, e)):
        state[i] = np.uint32((np.uint64(state[i]) + np.uint64(word)) & np.uint64(0xFFFFFFFF))


if HAS_SHA_INSTRUCTIONS and not TYPE_CHECKING:

    @inlined
    def _compress(source, offset, state):
        _compress_with_instructions(source, offset, state)
else:
    _compress = _compress_scalar


@kernel
def _digest(
    source: NDArray[np.uint8], start: int, stop: int, tail: NDArray[np.uint8], state: NDArray[np.uint32]
) -> None:
    """Leave the digest of source[start:stop] in state[0:5]; `tail` is (128,) of scratch."""
    for i in range(5):
        state[i] = np.uint32(_INITIAL[i])
    at = start
    while at + _BLOCK_BYTES <= stop:
        _compress(source, at, state)
        at += _BLOCK_BYTES
    left = stop - at
    padded = _BLOCK_BYTES if left < 56 else 2 * _BLOCK_BYTES
    for i in range(padded):
        tail[i] = source[at + i] if i < left else np.uint8(0)
    tail[left] = np.uint8(0x80)
    bits = np.uint64(stop - start) << np.uint64(3)
    for i in range(8):
        tail[padded - 1 - i] = np.uint8((bits >> np.uint64(8 * i)) & np.uint64(0xFF))
    _compress(tail, 0, state)
    if padded > _BLOCK_BYTES:
        _compress(tail, _BLOCK_BYTES, state)


@kernel
def sha1_into(source: NDArray[np.uint8], start: int, stop: int, digest: NDArray[np.uint8], digest_at: int) -> None:
    """Write the SHA-1 of source[start:stop] into digest[digest_at : digest_at + 20].

    Parameters
    ----------
    source, digest : (n,) uint8, C-contiguous; may be the same array if the ranges don't overlap
    start, stop : 0 <= start <= stop <= len(source), not checked
    """
    tail, state = _tail(), _state()
    _digest(source, start, stop, tail, state)
    for i in range(DIGEST_BYTES):
        shift = np.uint32(24 - 8 * (i & 3))
        digest[digest_at + i] = np.uint8((state[i >> 2] >> shift) & np.uint32(0xFF))


@kernel
def sha1_matches(source: NDArray[np.uint8], start: int, stop: int, expected_at: int) -> bool:
    """Whether the SHA-1 of source[start:stop] equals the 20 bytes at `expected_at` of `source`."""
    tail, state = _tail(), _state()
    _digest(source, start, stop, tail, state)
    for i in range(DIGEST_BYTES):
        shift = np.uint32(24 - 8 * (i & 3))
        if source[expected_at + i] != np.uint8((state[i >> 2] >> shift) & np.uint32(0xFF)):
            return False
    return True
