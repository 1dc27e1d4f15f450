"""VGGish's layers as the Winograd kernel takes them: their sizes, and how their weights lie in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vggish_core import params
from vggish_core.codegen.registers import LINE, RegisterTile
from vggish_core.network.winograd_transforms import OUTPUTS, PRODUCTS


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


def panels(matrix: np.ndarray, tile: RegisterTile) -> np.ndarray:
    """Right factors [..., depth, columns] -> [..., columns / tile.columns, depth, tile.columns], as they are read."""
    *outer, depth, columns = matrix.shape
    return np.moveaxis(matrix.reshape(*outer, depth, columns // tile.columns, tile.columns), -2, -3)


def dense_panels(weights: np.ndarray, tile: RegisterTile) -> np.ndarray:
    """Weights [inputs, outputs] -> [inputs / DEPTH, outputs / tile.columns, DEPTH, tile.columns]."""
    return panels(weights.reshape(-1, DEPTH, weights.shape[1]), tile)
