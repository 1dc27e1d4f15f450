"""VGGish in float32 with Winograd convolutions: examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128].

Five of the six convolutions are 92 % of the network's multiplications, and F(4x4, 3x3) needs a quarter of them. Nothing
here needs TensorFlow. `docs/performance.md` has the figures.

A row's bits depend on nothing but the row: each sum is taken by one thread, in one order, whatever the other rows are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from vggish_core import params
from vggish_core.codegen.arrays import addresses
from vggish_core.codegen.registers import LINE, RegisterTile, register_tile
from vggish_core.network.winograd_kernels import kernels
from vggish_core.network.winograd_layers import CONVOLUTIONS, DENSE, FIRST, Convolution, Dense, dense_panels, panels
from vggish_core.network.winograd_transforms import PRODUCTS, transform_filters

DENSE_ROWS = 240
"""Examples that go through the dense layers together, at most: 275 MB of weights are read from memory once for all."""
LATE_EXAMPLES = 16
"""Examples that go through conv4 together: 57 MB of filters are read once for all."""
EARLY_EXAMPLES = 2
"""Examples that go through conv1 to conv3 together: their feature maps stay in the cache."""

EARLY, LATE = CONVOLUTIONS[:3], CONVOLUTIONS[3:]


@dataclass(frozen=True)
class Factors:
    """The kernels' view of a checkpoint: flat float32 arrays by layer, each from the beginning of a cache line.

    Attributes:
      weights: as they lie in memory for a `RegisterTile`; those of convolutions but the first are transformed.
      biases: of the layers.
    """

    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]


def prepare(variables: Mapping[str, np.ndarray], tile: RegisterTile) -> Factors:
    """Variables by name, "vggish/conv1/weights" and so on -> the factors for a tile, 350 MB."""
    weights = {FIRST: _flat(variables[f"vggish/{FIRST}/weights"])}
    for convolution in CONVOLUTIONS:
        filters = transform_filters(variables[f"vggish/{convolution.name}/weights"])
        weights[convolution.name] = _flat(panels(filters, tile))
    for dense in DENSE:
        weights[dense.name] = _flat(dense_panels(variables[f"vggish/{dense.name}/weights"], tile))
    return Factors(weights, {name: _flat(variables[f"vggish/{name}/biases"]) for name in weights})


class WinogradNetwork:
    """VGGish with Winograd convolutions: examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128].

    Any number of Python threads may call it at the same time.

    Args:
      variables: of the checkpoint, by name, which are not kept; or what `prepare` made of them for the same tile.
      threads: of one call; None: as many as there are processors for this process. 1 computes in the caller's thread:
        the choice for whoever makes as many calls at a time as there are processors. It changes no bits.
      tile: shape of the products' innermost part; None: what suits the processor. It changes no bits.
    """

    def __init__(
        self,
        variables: Mapping[str, np.ndarray] | Factors,
        threads: int | None = None,
        tile: RegisterTile | None = None,
    ) -> None:
        self.threads = available_processors() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads is {threads}; it must be 1 or more")
        self._tile = tile or register_tile()
        self._kernels = kernels(self._tile)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="winograd") if self.threads > 1 else None
        self._workspaces: list[_Workspace] = []
        self.factors = variables if isinstance(variables, Factors) else prepare(variables, self._tile)
        self._weights, self._biases = self.factors.weights, self.factors.biases

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        """Examples float32 [n, 96, 64] -> raw embeddings float32 [n, 128], without activation; n may be 0."""
        embeddings = np.empty((len(examples), params.EMBEDDING_SIZE), np.float32)
        for start in range(0, len(examples), DENSE_ROWS):
            part = examples[start : start + DENSE_ROWS]
            embeddings[start : start + len(part)] = self._embed(part)
        return embeddings

    def _embed(self, examples: np.ndarray) -> np.ndarray:
        count = len(examples)
        step = min(LATE_EXAMPLES, -(-count // self.threads))
        height = -(-count // self._tile.few_rows) * self._tile.few_rows
        rows = np.zeros((height, DENSE[0].inputs + LINE), np.float32)

        def convolve(start: int) -> None:
            part = examples[start : start + step]
            self._convolve(part, rows[start : start + len(part)])

        self._each(convolve, range(0, count, step))
        for layer in DENSE[:-1]:
            rows = self._multiply(layer, rows)
            np.maximum(rows, 0, out=rows)
        return self._multiply(DENSE[-1], rows)[:count, : DENSE[-1].outputs]

    def _convolve(self, examples: np.ndarray, rows: np.ndarray) -> None:
        """Examples [k, 96, 64], k <= LATE_EXAMPLES -> the flattened maps behind conv4, [k, 12288 + LINE]."""
        with self._workspace() as space:
            maps = space.maps
            for start in range(0, len(examples), EARLY_EXAMPLES):
                part = examples[start : start + EARLY_EXAMPLES]
                space.examples[: len(part), 1:-1, 1:-1] = part
                source, *others = addresses(
                    space.examples, self._weights[FIRST], self._biases[FIRST], maps[EARLY[0].name]
                )
                self._kernels[FIRST](source, len(part), *others)
                self._run(EARLY, len(part), space, maps[LATE[0].name][start:])
            self._run(LATE, len(examples), space, rows)

    def _run(self, layers: Sequence[Convolution], examples: int, space: _Workspace, target: np.ndarray) -> None:
        """Runs layers one after another, from the first one's maps in the workspace to the target."""
        targets = [*(space.maps[layer.name] for layer in layers[1:]), target]
        for layer, output in zip(layers, targets, strict=True):
            source, *others = addresses(
                space.maps[layer.name],
                self._weights[layer.name],
                self._biases[layer.name],
                space.transformed,
                space.products,
                output,
            )
            self._kernels[layer.name](source, examples * layer.tiles_per_example, *others)

    def _multiply(self, layer: Dense, inputs: np.ndarray) -> np.ndarray:
        """Rows of `layer.inputs` + LINE values -> rows of `layer.outputs` + LINE values, without activation."""
        outputs = np.zeros((len(inputs), layer.outputs + LINE), np.float32)
        count = layer.outputs // self._tile.columns
        step = -(-count // self.threads)

        def multiply(first: int) -> None:
            end = min(first + step, count)
            source, weights, target = addresses(inputs, self._weights[layer.name], outputs)
            self._kernels[layer.name](source, len(inputs), weights, target, first, end)

        self._each(multiply, range(0, count, step))
        outputs[:, : layer.outputs] += self._biases[layer.name]
        return outputs

    def _each(self, task: Callable[[int], None], parts: range) -> None:
        if self._pool is None or len(parts) == 1:
            for part in parts:
                task(part)
        else:
            list(self._pool.map(task, parts))

    @contextmanager
    def _workspace(self) -> Iterator[_Workspace]:
        """A workspace of the caller's own for a while; as many are kept as there were callers at the same time."""
        try:
            space = self._workspaces.pop()
        except IndexError:
            space = _Workspace()
        try:
            yield space
        finally:
            self._workspaces.append(space)


class _Workspace:
    """One thread's scratch memory, 24 MB: padded inputs of convolutions, whose margins stay zero, and planes."""

    def __init__(self) -> None:
        self.examples = np.zeros((EARLY_EXAMPLES, params.NUM_FRAMES + 2, params.NUM_BANDS + 2), np.float32)
        self.maps = {
            layer.name: _zeros(
                EARLY_EXAMPLES if layer in EARLY else LATE_EXAMPLES, layer.height + 2, layer.width + 2, layer.channels
            )
            for layer in CONVOLUTIONS
        }
        self.transformed = _zeros(PRODUCTS * max(layer.transformed_plane for layer in CONVOLUTIONS))
        self.products = _zeros(PRODUCTS * max(layer.product_plane for layer in CONVOLUTIONS))


def available_processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _zeros(*shape: int) -> np.ndarray:
    """Zeros float32 that begin on a cache line."""
    size = int(np.prod(shape))
    memory = np.zeros(size + LINE, np.float32)
    skip = -(memory.ctypes.data // memory.itemsize) % LINE
    return memory[skip : skip + size].reshape(shape)


def _flat(values: np.ndarray) -> np.ndarray:
    """A copy float32 [size] that begins on a cache line."""
    copy = _zeros(*values.shape)
    copy[...] = values
    return copy.reshape(-1)
