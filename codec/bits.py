"""Unaligned loads and bit tricks that numba has no word for.

Each intrinsic has a pure-Python twin, used when numba is switched off (`NUMBA_DISABLE_JIT=1`), so
that every kernel also runs, slowly, as plain Python.

`fetch_early` asks the memory for the line of 64 bytes that holds element `offset`, which will be needed soon
(of an array of more dimensions, counted flat); where it lies does not matter, also behind the array.

`byte_at` and `put` are plain indexing without numba's care for negative indices, which costs a
compare and a select at every access.

`nearest` is the integer nearest to a double, half to even; of what has none, NaN included, it is any number.

`stay_apart` in the body of a kernel keeps LLVM from copying it into its callers: what is rarely needed
would take registers from what is always, and time to compile wherever it is called.

Rule 1: a load may read up to 8 bytes past the last byte it is asked about; whoever calls a kernel
leaves `PAD_BYTES` behind the data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

PAD_BYTES = 256
"""Readable bytes that must follow the data of every kernel that reads the wire: more than a whole
tick of the speculative template, so that it can read on before it looks where the tick ends."""

FETCH_AHEAD_BYTES = 2048
"""How far ahead of what is decoded `fetch_early` is asked: measured best of 512 to 2048, a quarter less time
a tick for buffers that the processor's second cache does not hold."""
LINE_BYTES = 64

JIT_DISABLED = bool(numba.config.DISABLE_JIT)


def compiles_for(feature: str) -> bool:
    """Whether kernels are compiled for a processor with `feature`, as LLVM names it."""
    if JIT_DISABLED:
        return False
    if numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None:
        return f"+{feature}" in (numba.config.CPU_FEATURES or "").split(",")
    return bool(binding.get_host_cpu_features().get(feature, False))


HAS_GATHER = compiles_for("bmi2")
"""Whether `gather_bits` is one instruction; without, it is not to be called."""


def _load_intrinsic(llvm_type: ir.Type, result: types.Type) -> Any:
    @intrinsic  # type: ignore[misc, unused-ignore]
    def load(typing_context: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            pointer = builder.gep(data, [arguments[1]])
            value = builder.load(builder.bitcast(pointer, llvm_type.as_pointer()))
            value.align = 1
            return value

        return result(array, types.int64), codegen

    return load


def _store_intrinsic(llvm_type: ir.Type, kind: types.Type) -> Any:
    @intrinsic  # type: ignore[misc, unused-ignore]
    def store(typing_context: Any, array: Any, offset: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            pointer = builder.gep(data, [arguments[1]])
            builder.store(arguments[2], builder.bitcast(pointer, llvm_type.as_pointer())).align = 1
            return context.get_dummy_value()

        return types.void(array, types.int64, kind), codegen

    return store


@intrinsic  # type: ignore[misc, unused-ignore]
def _byte_at(typing_context: Any, array: Any, offset: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.zext(builder.load(builder.gep(data, [arguments[1]])), ir.IntType(64))

    return types.int64(array, types.int64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _put(typing_context: Any, block: Any, part: Any, row: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = builder.extract_value(array.shape, 1)
        place = builder.add(builder.mul(arguments[1], width), arguments[2])
        builder.store(arguments[3], builder.gep(array.data, [place]))
        return context.get_dummy_value()

    return types.void(block, types.int64, types.int64, block.dtype), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _leading_zeros(typing_context: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _fetch_early(typing_context: Any, array: Any, offset: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _stay_apart(typing_context: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _gather_bits(typing_context: Any, word: Any, where: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word64 = ir.IntType(64)
        kind = ir.FunctionType(word64, [word64, word64])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.bmi.pext.64"), arguments)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _nearest(typing_context: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [ir.DoubleType()])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.lrint.i64.f64"), arguments)

    return types.int64(types.float64), codegen


@intrinsic  # type: ignore[misc, unused-ignore]
def _multiply_high(typing_context: Any, one: Any, other: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


def stack_array(length: int, kind: type[np.generic]) -> Callable[[], NDArray[Any]]:
    """A kernel that gives `length` elements of its caller's stack, zeroed whenever the caller begins.

    What it gives is gone when the caller returns; each call site has one piece, also in a loop. Zeroing
    has its price: a kernel that is called for each field does not ask for half a kilobyte.
    """
    if JIT_DISABLED:
        return lambda: np.zeros(length, kind)
    item_bytes = np.dtype(kind).itemsize
    array_type = types.Array(from_dtype(np.dtype(kind)), 1, "C")

    @intrinsic  # type: ignore[misc, unused-ignore]
    def on_stack(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            space = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(64), -(-length * item_bytes // 8)))
            array = context.make_array(array_type)(context, builder)
            populate_array(
                array,
                data=builder.bitcast(space, array.data.type),
                shape=[context.get_constant(types.intp, length)],
                strides=[context.get_constant(types.intp, item_bytes)],
                itemsize=context.get_constant(types.intp, item_bytes),
                meminfo=None,
            )
            return array._getvalue()

        return array_type(), codegen

    return cast(Callable[[], NDArray[Any]], on_stack)


def _bits_intrinsic(source: types.Type, result: types.Type, llvm_result: ir.Type) -> Any:
    @intrinsic  # type: ignore[misc, unused-ignore]
    def reinterpret(typing_context: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvm_result)

        return result(source), codegen

    return reinterpret


def _python_load(kind: str, size_bytes: int, scalar: Any) -> Any:
    def load(array: NDArray[np.uint8], offset: int) -> Any:
        return scalar(struct.unpack_from(kind, array[offset : offset + size_bytes].tobytes())[0])

    return load


if TYPE_CHECKING:

    def byte_at(array: NDArray[np.uint8], offset: int) -> int: ...
    def fetch_early(array: NDArray[Any], offset: int) -> None: ...
    def stay_apart() -> None: ...
    def put(block: NDArray[Any], part: int, row: int, value: float) -> None: ...
    def load_u16(array: NDArray[np.uint8], offset: int) -> np.uint16: ...
    def load_u32(array: NDArray[np.uint8], offset: int) -> np.uint32: ...
    def load_u64(array: NDArray[np.uint8], offset: int) -> np.uint64: ...
    def load_f64(array: NDArray[np.uint8], offset: int) -> float: ...
    def store_u32(array: NDArray[np.uint8], offset: int, value: np.uint32) -> None: ...
    def store_u64(array: NDArray[np.uint8], offset: int, value: np.uint64) -> None: ...
    def trailing_zeros(value: np.uint64) -> np.uint64: ...
    def leading_zeros(value: np.uint64) -> np.uint64: ...
    def gather_bits(word: np.uint64, where: np.uint64) -> np.uint64: ...
    def nearest(value: float) -> int: ...
    def multiply_high(one: np.uint64, other: np.uint64) -> np.uint64: ...
    def bits_of(value: float) -> np.uint64: ...
    def double_of(bits: np.uint64) -> float: ...

elif JIT_DISABLED:

    def fetch_early(array, offset):
        pass

    def stay_apart():
        pass

    def byte_at(array, offset):
        return int(array[offset])

    def put(block, part, row, value):
        block[part, row] = value

    load_u16 = _python_load("<H", 2, np.uint16)
    load_u32 = _python_load("<I", 4, np.uint32)
    load_u64 = _python_load("<Q", 8, np.uint64)
    load_f64 = _python_load("<d", 8, np.float64)

    def store_u32(array, offset, value):
        array[offset : offset + 4] = np.frombuffer(struct.pack("<I", int(value)), np.uint8)

    def store_u64(array, offset, value):
        array[offset : offset + 8] = np.frombuffer(struct.pack("<Q", int(value)), np.uint8)

    def trailing_zeros(value):
        number = int(value)
        return np.uint64((number & -number).bit_length() - 1 if number else 64)

    def leading_zeros(value):
        return np.uint64(64 - int(value).bit_length())

    def gather_bits(word, where):
        gathered, place, left = 0, 0, int(where)
        while left:
            lowest = left & -left
            gathered |= bool(int(word) & lowest) << place
            place, left = place + 1, left ^ lowest
        return np.uint64(gathered)

    def nearest(value):
        return np.int64(np.rint(value)) if abs(value) < 2.0**62 else np.int64(-(2**63))

    def multiply_high(one, other):
        return np.uint64(int(one) * int(other) >> 64)

    def bits_of(value):
        return np.uint64(struct.unpack("<Q", struct.pack("<d", value))[0])

    def double_of(bits):
        return np.float64(struct.unpack("<d", struct.pack("<Q", int(bits)))[0])

else:
    byte_at, put, fetch_early, stay_apart = _byte_at, _put, _fetch_early, _stay_apart
    load_u16 = _load_intrinsic(ir.IntType(16), types.uint16)
    load_u32 = _load_intrinsic(ir.IntType(32), types.uint32)
    load_u64 = _load_intrinsic(ir.IntType(64), types.uint64)
    load_f64 = _load_intrinsic(ir.DoubleType(), types.float64)
    store_u32 = _store_intrinsic(ir.IntType(32), types.uint32)
    store_u64 = _store_intrinsic(ir.IntType(64), types.uint64)
    trailing_zeros, leading_zeros, multiply_high = _trailing_zeros, _leading_zeros, _multiply_high
    gather_bits, nearest = _gather_bits, _nearest
    bits_of = _bits_intrinsic(types.float64, types.uint64, ir.IntType(64))
    double_of = _bits_intrinsic(types.uint64, types.float64, ir.DoubleType())
