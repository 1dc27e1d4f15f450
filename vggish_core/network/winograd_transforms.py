"""Winograd's F(4x4, 3x3): matrices, transformed filters, and the transforms of tiles as compiled code.

A 3x3 convolution of a 6x6 tile d with a filter g, 4x4 outputs y, by 36 instead of 144 products a pair of channels:

    y = At [(G g Gt) * (Bt d B)] A

(S. Winograd, 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.) The matrices
follow from the points at which polynomials are evaluated (Toom-Cook). The points decide the rounding error; 0, ±√2,
±1/√2 and ∞ are the best known to us, and the textbook's 0, ±1, ±2, ∞ are worse than a direct convolution. √2 is
replaced by 45/32: then every coefficient of the transforms of tiles is a float32 without rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from vggish_core.codegen.intrinsics import pointer
from vggish_core.codegen.vector_code import Vector, VectorCode, weighted_sum

OUTPUTS = 4
"""Height and width of the outputs of a tile."""
INPUTS = OUTPUTS + 2
"""Height and width of a tile."""
PRODUCTS = INPUTS * INPUTS
"""Products of a tile and pair of channels."""

POINTS = (0.0, 45 / 32, -45 / 32, 45 / 64, -45 / 64)
"""And infinity. Opposite points are neighbours: their rows share their even and their odd part."""


def matrices(points: Sequence[float] = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points -> At [4, 6], G [6, 3], Bt [6, 6] float64, the last row or column of each for the point at infinity."""
    At, G, Bt = np.zeros((OUTPUTS, INPUTS)), np.zeros((INPUTS, 3)), np.zeros((INPUTS, INPUTS))
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        At[:, i] = point ** np.arange(OUTPUTS)
        G[i] = point ** np.arange(3) / np.prod([point - other for other in others])
        Bt[i, :-1] = np.poly(others)[::-1]
    At[-1, -1] = G[-1, -1] = 1
    Bt[-1] = np.poly(points)[::-1]
    return At, G, Bt


AT, G, BT = matrices()


def transform_filters(weights: np.ndarray) -> np.ndarray:
    """Filters [3, 3, in, out] -> G g Gt, computed in float64: float32 [36, in, out]."""
    transformed = np.kron(G, G) @ weights.reshape(9, -1).astype(np.float64)
    return transformed.astype(np.float32).reshape(PRODUCTS, *weights.shape[2:])


def transformed_inputs(d: Sequence[Vector]) -> list[Vector]:
    """Six vectors d -> Bt d."""
    rows = [weighted_sum(BT[0], d)]
    for i in (1, 3):
        even = weighted_sum(BT[i, 0::2], d[0::2])
        odd = weighted_sum(BT[i, 1::2], d[1::2])
        rows += [odd + even, even - odd] if BT[i + 1, 2] == BT[i, 2] else [odd + even, odd - even]
    return [*rows, weighted_sum(BT[5], d)]


def transformed_outputs(m: Sequence[Vector]) -> list[Vector]:
    """Six vectors m -> At m, four."""
    sums = [m[0], m[1] + m[2], m[3] + m[4], m[5]]
    differences = [m[0], m[1] - m[2], m[3] - m[4], m[5]]
    return [weighted_sum(AT[i, [0, 1, 3, 5]], differences if i % 2 else sums) for i in range(OUTPUTS)]


def _in_both_directions(transform: Any, grid: Sequence[Sequence[Vector]]) -> list[list[Vector]]:
    """A transform of every column, then of every row."""
    columns = [transform(column) for column in zip(*grid, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


@intrinsic(prefer_literal=True)
def transform_tile(  # type: ignore[no-untyped-def]
    typing, source, corner, row_stride, column_stride, target, position, plane_stride, lanes
):
    """Bt d B of the 6x6 tile at `corner`, `lanes` channels of it, to 36 planes."""
    del typing
    index = types.intp
    signature = types.void(source, index, index, index, target, index, index, lanes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        code = VectorCode(builder, lanes.literal_value)
        source, corner, row_stride, column_stride, target, position, plane_stride, _ = arguments
        source, target = (pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 4))
        tile = [
            [code.load(source, code.position(corner, (i, row_stride), (j, column_stride))) for j in range(INPUTS)]
            for i in range(INPUTS)
        ]
        for i, row in enumerate(_in_both_directions(transformed_inputs, tile)):
            for j, vector in enumerate(row):
                code.store(vector, target, code.position(position, (INPUTS * i + j, plane_stride)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def finish_tile(  # type: ignore[no-untyped-def]
    typing, source, position, plane_stride, biases, channel, target, corner, row_stride, column_stride, lanes, pooled
):
    """At m A of 36 planes, then the largest of 2x2 if `pooled`, bias and ReLU: `lanes` channels of the outputs."""
    del typing
    index = types.intp
    signature = types.void(source, index, index, biases, index, target, index, index, index, lanes, pooled)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        code = VectorCode(builder, lanes.literal_value)
        source, position, plane_stride, biases, channel, target, corner, row_stride, column_stride, *_ = arguments
        source, biases, target = (pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 5))
        products = [
            [code.load(source, code.position(position, (INPUTS * i + j, plane_stride))) for j in range(INPUTS)]
            for i in range(INPUTS)
        ]
        outputs = _in_both_directions(transformed_outputs, products)
        if pooled.literal_value:
            outputs = [[largest(outputs, 2 * i, 2 * j) for j in range(OUTPUTS // 2)] for i in range(OUTPUTS // 2)]
        bias = code.load(biases, channel)
        for i, row in enumerate(outputs):
            for j, vector in enumerate(row):
                place = code.position(corner, (i, row_stride), (j, column_stride))
                code.store(code.zero().maximum(vector + bias), target, place)
        return context.get_dummy_value()

    return signature, generate


def largest(grid: Sequence[Sequence[Vector]], i: int, j: int) -> Vector:
    """The largest of the 2x2 vectors at [i, j]. Adding a bias or taking the ReLU afterwards gives the same bits."""
    upper, lower = grid[i], grid[i + 1]
    return upper[j].maximum(upper[j + 1]).maximum(lower[j].maximum(lower[j + 1]))


@intrinsic(prefer_literal=True)
def first_convolution(  # type: ignore[no-untyped-def]
    typing, source, corner, row_stride, weights, biases, channel, target, position, channels, lanes
):
    """A 3x3 convolution of one channel, the largest of 2x2, bias and ReLU: `lanes` of `channels` of a pooled pixel."""
    del typing
    index = types.intp
    signature = types.void(source, index, index, weights, biases, index, target, index, index, lanes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        code = VectorCode(builder, lanes.literal_value)
        source, corner, row_stride, weights, biases, channel, target, position, channels, _ = arguments
        source, weights, biases, target = (
            pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 4, 6)
        )
        one = ir.Constant(row_stride.type, 1)
        pixels = [
            [code.broadcast(source, code.position(corner, (i, row_stride), (j, one))) for j in range(4)]
            for i in range(4)
        ]
        taps = [code.load(weights, code.position(channel, (tap, channels))) for tap in range(9)]
        outputs = [[code.zero() for _ in range(2)] for _ in range(2)]
        for tap in range(9):
            for i in range(2):
                for j in range(2):
                    pixel = pixels[i + tap // 3][j + tap % 3]
                    outputs[i][j] = outputs[i][j].plus_product(pixel, taps[tap])
        vector = largest(outputs, 0, 0) + code.load(biases, channel)
        code.store(code.zero().maximum(vector), target, position)
        return context.get_dummy_value()

    return signature, generate
