"""The innermost part of every product of matrices: a tile of sums that stays in registers, as LLVM code.

The network's layers and the front end's filters share it, so that both take their sums in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from vggish_core.codegen.registers import LINE
from vggish_core.codegen.vector_code import Vector, VectorCode, index

SHORT_SUM = 128
"""Products that are summed before they are added to the rest: the error of a sum grows with its length."""


@dataclass(frozen=True)
class Rows:
    """Where the rows of a factor or of a product lie: a pointer to the first, and the values from one to the next."""

    first: ir.Value
    stride: ir.Value

    def pointers(self, builder: ir.IRBuilder, count: int) -> list[ir.Value]:
        return [builder.gep(self.first, [builder.mul(index(row), self.stride)]) for row in range(count)]


def multiply_rows(
    code: VectorCode,
    shape: tuple[int, int],
    left: Rows,
    right: Rows,
    target: Rows,
    depth: ir.Value | int,
    adds: ir.Value,
    ahead: ir.Value | None = None,
) -> None:
    """target [rows, columns] = left [rows, depth] @ right [depth, columns], or += if `adds`.

    Args:
      code: where it goes; its lanes and type.
      shape: (rows, vectors of a row).
      depth: known or not; a known one is a multiple of `SHORT_SUM` or less than that.
      adds: i1.
      ahead: a pointer from which a cache line a step is fetched: what is needed next.
    """
    rows, vectors = shape
    builder, one, lanes = code.builder, index(1), code.lanes
    lefts, targets = left.pointers(builder, rows), target.pointers(builder, rows)
    cells = [(row, vector) for row in range(rows) for vector in range(vectors)]
    parts, length = _parts(builder, depth)

    def part(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
        start = builder.mul(number, index(SHORT_SUM))

        def step(offset: ir.Value, sums: Sequence[Vector]) -> Sequence[Vector]:
            k = builder.add(start, offset)
            line = builder.mul(k, right.stride)
            columns = [code.load(right.first, code.position(line, (i * lanes, one))) for i in range(vectors)]
            if ahead is not None:
                code.prefetch(ahead, builder.mul(k, index(LINE)))
            values = [code.broadcast(pointer, k) for pointer in lefts]
            return [
                total.plus_product(values[row], columns[vector])
                for (row, vector), total in zip(cells, sums, strict=True)
            ]

        sums = code.loop(length(number), step, [code.zero()] * len(cells))
        continues = builder.or_(adds, builder.icmp_signed("!=", number, index(0)))
        for (row, vector), total in zip(cells, sums, strict=True):
            place = index(vector * lanes)
            before = builder.select(continues, code.load(targets[row], place).value, code.zero().value)
            code.store(Vector(builder, before) + total, targets[row], place)
        return []

    code.loop(parts, part)


def _parts(builder: ir.IRBuilder, depth: ir.Value | int) -> tuple[ir.Value, Callable[[ir.Value], ir.Value]]:
    """How many short sums a depth takes, and how long each is."""
    if isinstance(depth, int):
        short = min(depth, SHORT_SUM)
        return index(depth // short), lambda number: index(short)
    whole = index(SHORT_SUM)
    parts = builder.sdiv(builder.add(depth, index(SHORT_SUM - 1)), whole)

    def length(number: ir.Value) -> ir.Value:
        left = builder.sub(depth, builder.mul(number, whole))
        return builder.select(builder.icmp_signed("<", left, whole), left, whole)

    return parts, length
