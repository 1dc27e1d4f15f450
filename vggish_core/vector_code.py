"""Vector instructions from Python: building blocks of the compiled kernels, as Numba intrinsics.

Numba's own vectoriser does not keep a tile of a matrix product in registers, so the few loops that matter are spelled
out here as LLVM vectors. What an intrinsic does is written as Python over `Vector` values; it runs once, while Numba
compiles, and leaves straight-line machine code behind.

Every sum is taken in one order, by fused multiply-adds, on any processor that has them: how wide vectors are and how
many fit in registers (`RegisterTile`) decides speed, not bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FLOAT = ir.FloatType()
_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)

SHORT_SUM = 128
"""Products that are summed before they are added to the rest: the error of a sum grows with its length."""
LINE = 16
"""float32 values in a cache line. Strides are one longer than need be, or all rows would share a few of them."""


@dataclass(frozen=True)
class RegisterTile:
    """The part of a product that registers hold: `rows` x (`vectors` * `lanes`) sums.

    Attributes:
      lanes: float32 values in a register.
      rows: rows of the left factor taken together.
      vectors: registers a row.
    """

    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def lines(self) -> int:
        """Cache lines of the right factor that a step takes."""
        return max(1, self.columns // LINE)

    @property
    def few_rows(self) -> int:
        """Rows of the smaller tile for what does not fill whole ones."""
        return self.rows // 3


# Sums, the right factor's vectors and one value of the left factor fill 27 of 32, or 15 of 16, registers.
AVX512 = RegisterTile(lanes=16, rows=12, vectors=2)
AVX2 = RegisterTile(lanes=8, rows=6, vectors=2)
NEON = RegisterTile(lanes=4, rows=6, vectors=4)
SSE = RegisterTile(lanes=4, rows=6, vectors=2)


def register_tile() -> RegisterTile:
    """What suits this processor."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return AVX512
    if features.get("avx"):
        return AVX2
    return NEON if features.get("neon") else SSE


@dataclass(frozen=True)
class Vector:
    """A register of float32 lanes in code that is being generated."""

    builder: ir.IRBuilder
    value: ir.Value

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, other.value))

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, ir.Constant(self.value.type, [factor] * self._lanes)))

    def plus_product(self, factor: Vector | float, other: Vector) -> Vector:
        """self + factor * other, rounded once where the processor can."""
        if not isinstance(factor, Vector):
            factor = Vector(self.builder, ir.Constant(self.value.type, [factor] * self._lanes))
        kind = self.value.type
        name = f"llvm.fmuladd.v{self._lanes}f32"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return Vector(self.builder, self.builder.call(function, [factor.value, other.value, self.value]))

    def maximum(self, other: Vector) -> Vector:
        """The larger lanes; other's where either is not a number."""
        larger = self.builder.fcmp_ordered(">", self.value, other.value)
        return Vector(self.builder, self.builder.select(larger, self.value, other.value))

    @property
    def _lanes(self) -> int:
        return self.value.type.count


class VectorCode:
    """Loads and stores of `Vector`s, for the body of one intrinsic.

    Arrays are flat float32; positions are counted in values.
    """

    def __init__(self, context: Any, builder: ir.IRBuilder, lanes: int) -> None:
        self._context = context
        self.builder = builder
        self.lanes = lanes
        self._type = ir.VectorType(_FLOAT, lanes)

    def pointer(self, array_type: types.Array, array: ir.Value) -> ir.Value:
        return cgutils.create_struct_proxy(array_type)(self._context, self.builder, array).data

    def position(self, start: ir.Value, *steps: tuple[int, ir.Value]) -> ir.Value:
        """start + the sum of count * stride over steps."""
        for count, stride in steps:
            start = self.builder.add(start, self.builder.mul(ir.Constant(_INDEX, count), stride))
        return start

    def load(self, pointer: ir.Value, position: ir.Value) -> Vector:
        value = self.builder.load(self._vector_at(pointer, position))
        value.align = 4
        return Vector(self.builder, value)

    def store(self, vector: Vector, pointer: ir.Value, position: ir.Value) -> None:
        self.builder.store(vector.value, self._vector_at(pointer, position)).align = 4

    def broadcast(self, pointer: ir.Value, position: ir.Value) -> Vector:
        """One value in every lane."""
        value = self.builder.load(self.builder.gep(pointer, [position]))
        undefined = ir.Constant(self._type, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(_LANE, 0))
        everywhere = ir.Constant(ir.VectorType(_LANE, self.lanes), [0] * self.lanes)
        return Vector(self.builder, self.builder.shuffle_vector(first, undefined, everywhere))

    def prefetch(self, pointer: ir.Value, position: ir.Value) -> None:
        """Asks for the cache line at a position, which may be past the end, in the second-level cache."""
        address = self.builder.bitcast(self.builder.gep(pointer, [position]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, _LANE, _LANE, _LANE])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, second_level, data = (ir.Constant(_LANE, value) for value in (0, 2, 1))
        self.builder.call(function, [address, read, second_level, data])

    def zero(self) -> Vector:
        return Vector(self.builder, ir.Constant(self._type, [0.0] * self.lanes))

    def _vector_at(self, pointer: ir.Value, position: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(pointer, [position]), self._type.as_pointer())


def weighted_sum(weights: Iterable[float], vectors: Sequence[Vector]) -> Vector:
    """The sum of weight * vector; weights of zero cost nothing."""
    terms = [(float(weight), vector) for weight, vector in zip(weights, vectors, strict=True) if weight]
    weight, vector = terms[0]
    total = vector if weight == 1 else vector * weight
    for weight, vector in terms[1:]:
        total = total + vector if weight == 1 else total.plus_product(weight, vector)
    return total


@intrinsic(prefer_literal=True)
def multiply_tile(  # type: ignore[no-untyped-def]
    typing, a, a_start, a_stride, b, b_start, ahead, c, c_start, c_stride, depth, adds, lanes, rows, vectors, prefetches
):
    """C [rows, columns] = A [rows, depth] @ B [depth, columns], or C += if `adds`; one `RegisterTile`.

    A and C have a stride from row to row, B is contiguous; depth is a multiple of `SHORT_SUM` or less than that.
    With `prefetches` = 1, a cache line a step is fetched from B's array, beginning at `ahead`: what is needed next.
    `depth`, `lanes`, `rows`, `vectors` and `prefetches` are constants of the code that is generated.
    """
    del typing
    index = types.intp
    signature = types.void(
        a, index, index, b, index, index, c, index, index, depth, types.boolean, lanes, rows, vectors, prefetches
    )
    tile = RegisterTile(lanes.literal_value, rows.literal_value, vectors.literal_value)
    short = min(depth.literal_value, SHORT_SUM)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        code = VectorCode(context, builder, tile.lanes)
        a, a_start, a_stride, b, b_start, ahead, c, c_start, c_stride, _, adds, *_ = arguments
        a, b, c = (code.pointer(signature.args[i], arguments[i]) for i in (0, 3, 6))
        one, zero = ir.Constant(_INDEX, 1), code.zero().value
        cells = [(row, vector) for row in range(tile.rows) for vector in range(tile.vectors)]
        sums = {cell: cgutils.alloca_once(builder, zero.type) for cell in cells}
        with cgutils.for_range(builder, ir.Constant(_INDEX, depth.literal_value // short)) as blocks:
            for cell in cells:
                builder.store(zero, sums[cell])
            with cgutils.for_range(builder, ir.Constant(_INDEX, short)) as loop:
                k = code.position(loop.index, (short, blocks.index))
                line = code.position(b_start, (tile.columns, k))
                right = [code.load(b, code.position(line, (i * tile.lanes, one))) for i in range(tile.vectors)]
                if prefetches.literal_value:
                    code.prefetch(b, code.position(ahead, (LINE, k)))
                for row in range(tile.rows):
                    left = code.broadcast(a, code.position(a_start, (row, a_stride), (1, k)))
                    for vector in range(tile.vectors):
                        total = Vector(builder, builder.load(sums[row, vector]))
                        builder.store(total.plus_product(left, right[vector]).value, sums[row, vector])
            continues = builder.or_(adds, builder.icmp_signed("!=", blocks.index, ir.Constant(_INDEX, 0)))
            for row, vector in cells:
                place = code.position(c_start, (row, c_stride), (vector * tile.lanes, one))
                before = Vector(builder, builder.select(continues, code.load(c, place).value, zero))
                code.store(before + Vector(builder, builder.load(sums[row, vector])), c, place)
        return context.get_dummy_value()

    return signature, generate
