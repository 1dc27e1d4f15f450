"""The network's layers as compiled loops over flat float32 arrays; each runs in its caller's thread, without the GIL.

A pass of a convolution takes a few tiles through transform, products and inverse while they are in the cache; bias,
ReLU and pooling belong to the inverse. Feature maps are [examples, height + 2, width + 2, channels] with zeros around,
so that no tile needs a case of its own. Strides are constants of the compiled code: products are half again as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba.core import types

from vggish_core import params
from vggish_core.codegen.compilation import compiled
from vggish_core.codegen.intrinsics import multiply_tile
from vggish_core.codegen.vector_code import LINE, RegisterTile
from vggish_core.network.winograd_transforms import OUTPUTS, PRODUCTS, finish_tile, first_convolution, transform_tile


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution with ReLU: [height, width, channels] -> [height, width, filters], halved if pooled.

    Attributes:
      name: of its variables.
      tiles: tiles in a pass.
    """

    name: str
    height: int
    width: int
    channels: int
    filters: int
    pooled: bool
    tiles: int

    @property
    def tiles_per_example(self) -> int:
        return self.height * self.width // OUTPUTS**2

    @property
    def streams(self) -> bool:
        """Whether the transformed filters are too large to stay in the cache from pass to pass: fetched ahead, then."""
        return PRODUCTS * self.channels * self.filters > CACHED_FILTERS

    @property
    def transformed_plane(self) -> int:
        """Values from one of the 36 planes of transformed inputs to the next: not a power of two, see `LINE`."""
        return self.tiles * self.channels + LINE

    @property
    def product_plane(self) -> int:
        """Values from one of the 36 planes of products to the next."""
        return self.tiles * self.filters + LINE


@dataclass(frozen=True)
class Dense:
    """A dense layer without its activation: rows [inputs] -> rows [outputs]."""

    name: str
    inputs: int
    outputs: int


FIRST = "conv1"
FIRST_FILTERS = 64
CONVOLUTIONS = (
    Convolution("conv2", 48, 32, 64, 128, True, tiles=24),
    Convolution("conv3/conv3_1", 24, 16, 128, 256, False, tiles=24),
    Convolution("conv3/conv3_2", 24, 16, 256, 256, True, tiles=24),
    Convolution("conv4/conv4_1", 12, 8, 256, 512, False, tiles=96),
    Convolution("conv4/conv4_2", 12, 8, 512, 512, True, tiles=96),
)
DENSE = (
    Dense("fc1/fc1_1", 6 * 4 * 512, 4096),
    Dense("fc1/fc1_2", 4096, 4096),
    Dense("fc2", 4096, params.EMBEDDING_SIZE),
)
CACHED_FILTERS = 2**21
"""float32 values, 8 MB: filters of a layer that stay in the cache; fetching those ahead costs more than it gains."""
DEPTH = 256
"""Inputs of a dense layer that products take together: their part of the rows stays in the cache for all outputs."""

_FLAT = types.Array(types.float32, 1, "C")


@lru_cache
def kernels(tile: RegisterTile) -> dict[str, Callable[..., None]]:
    """The compiled loops, by the name of the layer."""
    last = CONVOLUTIONS[-1]
    return {
        FIRST: _first_kernel(tile.lanes),
        **{layer.name: _convolution_kernel(layer, layer is last, tile) for layer in CONVOLUTIONS},
        **{layer.name: _dense_kernel(layer, tile) for layer in DENSE},
    }


def panels(matrix: np.ndarray, tile: RegisterTile) -> np.ndarray:
    """Right factors [..., depth, columns] -> [..., columns / tile.columns, depth, tile.columns], as they are read."""
    *outer, depth, columns = matrix.shape
    return np.moveaxis(matrix.reshape(*outer, depth, columns // tile.columns, tile.columns), -2, -3)


def dense_panels(weights: np.ndarray, tile: RegisterTile) -> np.ndarray:
    """Weights [inputs, outputs] -> [inputs / DEPTH, outputs / tile.columns, DEPTH, tile.columns]."""
    return panels(weights.reshape(-1, DEPTH, weights.shape[1]), tile)


def _first_kernel(lanes: int) -> Callable[..., None]:
    """(padded examples [k, 98, 66], k, weights, biases, padded and pooled maps)."""
    height, width, filters = CONVOLUTIONS[0].height, CONVOLUTIONS[0].width, FIRST_FILTERS
    source_row = 2 * width + 2
    source_example = (2 * height + 2) * source_row
    target_row = (width + 2) * filters
    target_example = (height + 2) * target_row

    def convolve(source: Any, examples: int, weights: Any, biases: Any, target: Any) -> None:
        for example in range(examples):
            for y in range(height):
                for x in range(width):
                    corner = example * source_example + 2 * y * source_row + 2 * x
                    place = example * target_example + (y + 1) * target_row + (x + 1) * filters
                    for i in range(0, filters, lanes):
                        first_convolution(
                            source, corner, source_row, weights, biases, i, target, place + i, filters, lanes
                        )

    return compiled(convolve, types.void(_FLAT, types.intp, _FLAT, _FLAT, _FLAT))


def _convolution_kernel(layer: Convolution, last: bool, tile: RegisterTile) -> Callable[..., None]:
    """(padded maps, number of their tiles, transformed filters, biases, scratch, scratch, target).

    The target is padded maps for the next convolution, or, of the last one, rows of flattened maps + `LINE` values.
    """
    channels, filters, pass_tiles = layer.channels, layer.filters, layer.tiles
    down, across = layer.height // OUTPUTS, layer.width // OUTPUTS
    lanes, rows, vectors, columns = tile.lanes, tile.rows, tile.vectors, tile.columns
    panel_count = filters // columns
    panel_size = channels * columns
    lines, prefetches = tile.lines, int(layer.streams)
    source_row = (layer.width + 2) * channels
    source_example = (layer.height + 2) * source_row
    transformed_plane, product_plane = layer.transformed_plane, layer.product_plane
    pooled = int(layer.pooled)
    side = OUTPUTS // 2 if pooled else OUTPUTS
    margin = 0 if last else 1
    target_row = (across * side + 2 * margin) * filters
    target_example = (down * side + 2 * margin) * target_row + (LINE if last else 0)

    def convolve(
        source: Any, tiles: int, weights: Any, biases: Any, transformed: Any, products: Any, target: Any
    ) -> None:
        for first in range(0, tiles, pass_tiles):
            count = min(pass_tiles, tiles - first)
            for t in range(count):
                example, place = divmod(first + t, down * across)
                y, x = divmod(place, across)
                corner = example * source_example + OUTPUTS * (y * source_row + x * channels)
                v = t * channels
                for i in range(0, channels, lanes):
                    transform_tile(
                        source, corner + i, source_row, channels, transformed, v + i, transformed_plane, lanes
                    )
            for product in range(PRODUCTS):
                for panel in range(panel_count):
                    u = (product * panel_count + panel) * panel_size
                    for t in range(0, count, rows):
                        v = product * transformed_plane + t * channels
                        m = product * product_plane + t * filters + panel * columns
                        ahead = u + (columns + t // rows % lines * LINE) * channels
                        multiply_tile(
                            transformed, v, channels, weights, u, ahead,
                            products, m, filters, channels, False, lanes, rows, vectors, prefetches,
                        )  # fmt: skip
            for t in range(count):
                example, place = divmod(first + t, down * across)
                y, x = divmod(place, across)
                corner = example * target_example + (side * y + margin) * target_row + (side * x + margin) * filters
                m = t * filters
                for i in range(0, filters, lanes):
                    finish_tile(
                        products,
                        m + i,
                        product_plane,
                        biases,
                        i,
                        target,
                        corner + i,
                        target_row,
                        filters,
                        lanes,
                        pooled,
                    )

    return compiled(convolve, types.void(_FLAT, types.intp, *[_FLAT] * 5))


def _dense_kernel(layer: Dense, tile: RegisterTile) -> Callable[..., None]:
    """(rows of inputs + `LINE` values, number of rows, weights, rows of outputs + `LINE` values, first and end panel).

    The number of rows is a multiple of `tile.few_rows`.
    """
    depth_blocks, panel_count = layer.inputs // DEPTH, layer.outputs // tile.columns
    input_row, output_row = layer.inputs + LINE, layer.outputs + LINE
    lanes, rows, few_rows, vectors, columns = tile.lanes, tile.rows, tile.few_rows, tile.vectors, tile.columns
    lines = tile.lines

    def multiply(inputs: Any, height: int, weights: Any, outputs: Any, first_panel: int, end_panel: int) -> None:
        whole = height // rows * rows
        for block in range(depth_blocks):
            for panel in range(first_panel, end_panel):
                b = (block * panel_count + panel) * DEPTH * columns
                a, c = block * DEPTH, panel * columns
                for row in range(0, whole, rows):
                    ahead = b + (columns + row // rows % lines * LINE) * DEPTH
                    multiply_tile(
                        inputs, row * input_row + a, input_row, weights, b, ahead,
                        outputs, row * output_row + c, output_row, DEPTH, block > 0, lanes, rows, vectors, 1,
                    )  # fmt: skip
                for row in range(whole, height, few_rows):
                    multiply_tile(
                        inputs, row * input_row + a, input_row, weights, b, 0,
                        outputs, row * output_row + c, output_row, DEPTH, block > 0, lanes, few_rows, vectors, 0,
                    )  # fmt: skip

    return compiled(multiply, types.void(_FLAT, types.intp, _FLAT, _FLAT, types.intp, types.intp))
