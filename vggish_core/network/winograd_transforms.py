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
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from vggish_core.codegen.vector_code import Vector, VectorCode, index, weighted_sum

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


@dataclass(frozen=True)
class Plane:
    """Where vectors of a grid lie: a pointer to the first, and the values from one row, and one column, to the next."""

    first: ir.Value
    row: int
    column: int

    def at(self, code: VectorCode, i: int, j: int) -> ir.Value:
        """A pointer to the vector at [i, j]."""
        return code.builder.gep(self.first, [index(i * self.row + j * self.column)])


def _load(code: VectorCode, plane: Plane) -> list[list[Vector]]:
    return [[code.load(plane.at(code, i, j), index(0)) for j in range(INPUTS)] for i in range(INPUTS)]


def _store(code: VectorCode, grid: Sequence[Sequence[Vector]], plane: Plane) -> None:
    for i, row in enumerate(grid):
        for j, vector in enumerate(row):
            code.store(vector, plane.at(code, i, j), index(0))


def transform_tile(code: VectorCode, source: Plane, target: Plane) -> None:
    """Bt d B of a 6x6 tile, some channels of it, to 36 planes."""
    _store(code, _in_both_directions(transformed_inputs, _load(code, source)), target)


def finish_tile(code: VectorCode, source: Plane, bias: ir.Value, target: Plane, pooled: bool) -> None:
    """At m A of 36 planes, then the largest of 2x2 if `pooled`, bias and ReLU: some channels of the outputs.

    `bias` points to the channels' own.
    """
    outputs = _in_both_directions(transformed_outputs, _load(code, source))
    if pooled:
        outputs = [[_largest(outputs, 2 * i, 2 * j) for j in range(OUTPUTS // 2)] for i in range(OUTPUTS // 2)]
    biases = code.load(bias, index(0))
    _store(code, [[code.zero().maximum(vector + biases) for vector in row] for row in outputs], target)


def _largest(grid: Sequence[Sequence[Vector]], i: int, j: int) -> Vector:
    """The largest of the 2x2 vectors at [i, j]. Adding a bias or taking the ReLU afterwards gives the same bits."""
    upper, lower = grid[i], grid[i + 1]
    return upper[j].maximum(upper[j + 1]).maximum(lower[j].maximum(lower[j + 1]))


def first_convolution(
    code: VectorCode, source: Plane, weights: ir.Value, channels: int, bias: ir.Value, target: ir.Value
) -> None:
    """A 3x3 convolution of one channel, the largest of 2x2, bias and ReLU: some channels of a pooled pixel.

    Pointers lead to the first of these channels; from a weight to its neighbour's are `channels` values.
    """
    pixels = [[code.broadcast(source.at(code, i, j), index(0)) for j in range(4)] for i in range(4)]
    taps = [code.load(weights, index(tap * channels)) for tap in range(9)]
    outputs = [[code.zero() for _ in range(2)] for _ in range(2)]
    for tap in range(9):
        for i in range(2):
            for j in range(2):
                pixel = pixels[i + tap // 3][j + tap % 3]
                outputs[i][j] = outputs[i][j].plus_product(pixel, taps[tap])
    vector = _largest(outputs, 0, 0) + code.load(bias, index(0))
    code.store(code.zero().maximum(vector), target, index(0))
