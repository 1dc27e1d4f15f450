"""Generated vector code as intrinsics of Numba, for the loops of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vggish_core.codegen.tile_products import Rows, multiply_rows
from vggish_core.codegen.vector_code import VectorCode, index


def pointer(context: Any, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value) -> ir.Value:
    """Where the values of an array argument lie."""
    return cgutils.create_struct_proxy(array_type)(context, builder, array).data


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
    at = types.intp
    signature = types.void(a, at, at, b, at, at, c, at, at, depth, types.boolean, lanes, rows, vectors, prefetches)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        a, a_start, a_stride, b, b_start, ahead, c, c_start, c_stride, _, adds, *_ = arguments
        a, b, c = (pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 6))
        multiply_rows(
            VectorCode(builder, lanes.literal_value),
            (rows.literal_value, vectors.literal_value),
            Rows(builder.gep(a, [a_start]), a_stride),
            Rows(builder.gep(b, [b_start]), index(lanes.literal_value * vectors.literal_value)),
            Rows(builder.gep(c, [c_start]), c_stride),
            depth.literal_value,
            adds,
            builder.gep(b, [ahead]) if prefetches.literal_value else None,
        )
        return context.get_dummy_value()

    return signature, generate
