"""VGGish in float32 with Winograd convolutions: examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128].

Five of the six convolutions are 92 % of the network's multiplications; F(4x4, 3x3) needs a quarter of them. A pass of a
convolution takes a few tiles through transform, products and inverse while they are in the cache; bias, ReLU and pooling
belong to the inverse. Dense layers are plain products of as many rows as there are. docs/performance.md has the figures.

A row's bits depend on nothing but the row: each sum is taken by one thread in one order, which shapes do not change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba.core import types

from vggish_core import params
from vggish_core.compilation import compiled
from vggish_core.vector_code import RegisterTile, multiply_tile, register_tile
from vggish_core.winograd_transforms import (
    OUTPUTS,
    PRODUCTS,
    finish_tile,
    first_convolution,
    pack,
    transform_filters,
    transform_tile,
)

CHUNK = 16
"""Examples that go through the convolutions together."""
DENSE_ROWS = 240
"""Examples that go through the dense layers together, at most: their weights are read from memory once for all."""
DEPTH = 256
"""Products of a dense layer that are summed before they are added to the rest: short sums round less."""
LINE = 16
"""Values in a cache line: added to strides that would else put every row in the same few places of the cache."""


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


CONVOLUTIONS = (
    Convolution("conv2", 48, 32, 64, 128, True, tiles=48),
    Convolution("conv3/conv3_1", 24, 16, 128, 256, False, tiles=48),
    Convolution("conv3/conv3_2", 24, 16, 256, 256, True, tiles=48),
    Convolution("conv4/conv4_1", 12, 8, 256, 512, False, tiles=96),
    Convolution("conv4/conv4_2", 12, 8, 512, 512, True, tiles=96),
)
FIRST_FILTERS = 64
FLATTENED = 12288
DENSE = ("fc1/fc1_1", "fc1/fc1_2", "fc2")


class WinogradNetwork:
    """VGGish with Winograd convolutions: examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128].

    Any number of Python threads may call it at the same time.

    Args:
      variables: of the checkpoint, by name, "vggish/conv1/weights" and so on; not kept.
      threads: of one call; None: as many as there are processors for this process. 1 runs in the caller's thread: the
        choice for whoever makes as many calls at a time as there are processors. It changes no bits.
      tile: shape of the products' innermost part; None: what suits the processor. It changes no bits.
    """

    def __init__(
        self, variables: Mapping[str, np.ndarray], threads: int | None = None, tile: RegisterTile | None = None
    ) -> None:
        self.threads = available_processors() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads is {threads}; it must be 1 or more")
        self._tile = tile or register_tile()
        self._kernels = _kernels(self._tile)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="winograd") if self.threads > 1 else None
        self._workspaces: list[_Workspace] = []

        def variable(name: str, kind: str) -> np.ndarray:
            return np.asarray(variables[f"vggish/{name}/{kind}"], np.float32)

        self._biases = {
            name: variable(name, "biases") for name in ("conv1", *(layer.name for layer in CONVOLUTIONS), *DENSE)
        }
        self._first_weights = np.ascontiguousarray(variable("conv1", "weights")).reshape(-1)
        self._filters = {
            layer.name: _flat(pack(transform_filters(variable(layer.name, "weights")), self._tile))
            for layer in CONVOLUTIONS
        }
        self._dense_weights = {name: _flat(_dense_panels(variable(name, "weights"), self._tile)) for name in DENSE}

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        """Examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128]; n may be 0."""
        embeddings = np.empty((len(examples), params.EMBEDDING_SIZE), np.float32)
        for start in range(0, len(examples), DENSE_ROWS):
            part = examples[start : start + DENSE_ROWS]
            embeddings[start : start + len(part)] = self._embed(part)
        return embeddings

    def _embed(self, examples: np.ndarray) -> np.ndarray:
        count = len(examples)
        height = -(-count // self._tile.rows) * self._tile.rows
        maps = np.zeros((height, FLATTENED + LINE), np.float32)
        size = min(CHUNK, -(-count // self.threads))

        def convolve(start: int) -> None:
            part = examples[start : start + size]
            self._convolve(part, maps[start : start + len(part)].reshape(-1))

        self._each(convolve, range(0, count, size))
        hidden = np.maximum(self._dense("fc1/fc1_1", maps), 0)
        hidden = np.maximum(self._dense("fc1/fc1_2", hidden), 0)
        return self._dense("fc2", hidden)[:count, : params.EMBEDDING_SIZE]

    def _convolve(self, examples: np.ndarray, maps: np.ndarray) -> None:
        """Examples [k, 96, 64], k <= CHUNK -> the last convolution's outputs, rows of FLATTENED + LINE values."""
        with self._workspace() as space:
            space.examples[: len(examples), 1:-1, 1:-1] = examples
            self._kernels["conv1"](
                space.examples.reshape(-1),
                len(examples),
                self._first_weights,
                self._biases["conv1"],
                space.maps["conv2"],
            )
            targets = [space.maps[layer.name] for layer in CONVOLUTIONS[1:]]
            for layer, target in zip(CONVOLUTIONS, [*targets, maps], strict=True):
                self._kernels[layer.name](
                    space.maps[layer.name],
                    len(examples) * layer.tiles_per_example,
                    self._filters[layer.name],
                    self._biases[layer.name],
                    space.transformed,
                    space.products,
                    target,
                )

    def _dense(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Rows of K + LINE values -> rows of N + LINE values, without activation."""
        biases = self._biases[name]
        outputs = np.zeros((len(inputs), len(biases) + LINE), np.float32)
        outputs[:, : len(biases)] = biases
        panels = len(biases) // self._tile.columns
        step = -(-panels // self.threads)

        def multiply(first: int) -> None:
            self._kernels[name](
                inputs.reshape(-1),
                len(inputs),
                self._dense_weights[name],
                outputs.reshape(-1),
                first,
                min(first + step, panels),
            )

        self._each(multiply, range(0, panels, step))
        return outputs

    def _each(self, task: Callable[[int], None], parts: range) -> None:
        for _ in map(task, parts) if self._pool is None or len(parts) == 1 else self._pool.map(task, parts):
            pass

    @contextmanager
    def _workspace(self) -> Iterator[_Workspace]:
        try:
            space = self._workspaces.pop()
        except IndexError:
            space = _Workspace(self._tile)
        try:
            yield space
        finally:
            self._workspaces.append(space)


class _Workspace:
    """What one thread writes on the way: padded inputs of each convolution (zeros around them stay), planes of a pass."""

    def __init__(self, tile: RegisterTile) -> None:
        self.examples = np.zeros((CHUNK, params.NUM_FRAMES + 2, params.NUM_BANDS + 2), np.float32)
        self.maps = {
            layer.name: _aligned(CHUNK * (layer.height + 2) * (layer.width + 2) * layer.channels)
            for layer in CONVOLUTIONS
        }
        self.transformed = _aligned(max(PRODUCTS * _plane(layer, layer.channels) for layer in CONVOLUTIONS))
        self.products = _aligned(max(PRODUCTS * _plane(layer, layer.filters) for layer in CONVOLUTIONS))


def available_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _aligned(size: int) -> np.ndarray:
    """Zeros float32 [size] that begin on a cache line."""
    memory = np.zeros(size + LINE, np.float32)
    skip = -(memory.ctypes.data // 4) % LINE
    return memory[skip : skip + size]


def _flat(values: np.ndarray) -> np.ndarray:
    memory = _aligned(values.size)
    memory.reshape(values.shape)[...] = values
    return memory


def _dense_panels(weights: np.ndarray, tile: RegisterTile) -> np.ndarray:
    """Weights [K, N] -> [K / DEPTH, N / columns, DEPTH, columns]."""
    return pack(weights.reshape(-1, DEPTH, weights.shape[1]), tile)


def _plane(layer: Convolution, channels: int) -> int:
    """Values from one of the 36 planes of a pass to the next."""
    return layer.tiles * channels + LINE


_FLAT = types.Array(types.float32, 1, "C")


@lru_cache
def _kernels(tile: RegisterTile) -> dict[str, Callable[..., None]]:
    """The compiled loops, by the name of the layer."""
    kernels = {"conv1": _first_kernel(tile.lanes)}
    for layer, following in zip(CONVOLUTIONS, [*CONVOLUTIONS[1:], None], strict=True):
        kernels[layer.name] = _convolution_kernel(layer, following is None, tile)
    sizes = {"fc1/fc1_1": (FLATTENED, 4096), "fc1/fc1_2": (4096, 4096), "fc2": (4096, params.EMBEDDING_SIZE)}
    for name, (depth, columns) in sizes.items():
        kernels[name] = _dense_kernel(depth, columns, tile)
    return kernels


def _first_kernel(lanes: int) -> Callable[..., None]:
    height, width, filters = CONVOLUTIONS[0].height, CONVOLUTIONS[0].width, FIRST_FILTERS
    row, target_row = 2 * width + 2, (width + 2) * filters

    def convolve(source: Any, examples: int, weights: Any, biases: Any, target: Any) -> None:
        for example in range(examples):
            for y in range(height):
                for x in range(width):
                    corner = (example * (2 * height + 2) + 2 * y) * row + 2 * x
                    position = (example * (height + 2) + y + 1) * target_row + (x + 1) * filters
                    for channel in range(0, filters, lanes):
                        first_convolution(
                            source, corner, row, weights, biases, channel, target, position + channel, filters, lanes
                        )

    return compiled(convolve, types.void(_FLAT, types.intp, _FLAT, _FLAT, _FLAT))


def _convolution_kernel(layer: Convolution, last: bool, tile: RegisterTile) -> Callable[..., None]:
    channels, filters, pass_tiles = layer.channels, layer.filters, layer.tiles
    down, across = layer.height // OUTPUTS, layer.width // OUTPUTS
    lanes, rows, vectors, columns = tile.lanes, tile.rows, tile.vectors, tile.columns
    panels = filters // columns
    source_row = (layer.width + 2) * channels
    source_example = (layer.height + 2) * source_row
    source_plane, product_plane = _plane(layer, channels), _plane(layer, filters)
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
                for channel in range(0, channels, lanes):
                    transform_tile(
                        source,
                        corner + channel,
                        source_row,
                        channels,
                        transformed,
                        t * channels + channel,
                        source_plane,
                        lanes,
                    )
            for product in range(PRODUCTS):
                for panel in range(panels):
                    b = (product * panels + panel) * channels * columns
                    for t in range(0, count, rows):
                        a = product * source_plane + t * channels
                        c = product * product_plane + t * filters + panel * columns
                        multiply_tile(
                            transformed,
                            a,
                            channels,
                            weights,
                            b,
                            products,
                            c,
                            filters,
                            channels,
                            lanes,
                            rows,
                            vectors,
                            0,
                        )
            for t in range(count):
                example, place = divmod(first + t, down * across)
                y, x = divmod(place, across)
                corner = example * target_example + (side * y + margin) * target_row + (side * x + margin) * filters
                for channel in range(0, filters, lanes):
                    finish_tile(
                        products,
                        t * filters + channel,
                        product_plane,
                        biases,
                        channel,
                        target,
                        corner + channel,
                        target_row,
                        filters,
                        lanes,
                        pooled,
                    )

    return compiled(convolve, types.void(_FLAT, types.intp, *[_FLAT] * 5))


def _dense_kernel(depth: int, width: int, tile: RegisterTile) -> Callable[..., None]:
    panels = width // tile.columns
    a_row, c_row = depth + LINE, width + LINE
    lanes, rows, vectors, columns = tile.lanes, tile.rows, tile.vectors, tile.columns

    def multiply(inputs: Any, height: int, weights: Any, outputs: Any, first_panel: int, end_panel: int) -> None:
        for block in range(depth // DEPTH):
            for panel in range(first_panel, end_panel):
                b = (block * panels + panel) * DEPTH * columns
                for row in range(0, height, rows):
                    a, c = row * a_row + block * DEPTH, row * c_row + panel * columns
                    multiply_tile(inputs, a, a_row, weights, b, outputs, c, c_row, DEPTH, lanes, rows, vectors, 1)

    return compiled(multiply, types.void(_FLAT, types.intp, _FLAT, _FLAT, types.intp, types.intp))
