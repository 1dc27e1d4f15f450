"""The network's references, plain and obvious: the slim graph run as the original runs it, and a float64 evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

import numpy as np

_POOLED = {"conv1": True, "conv2": True, "conv3/conv3_1": False, "conv3/conv3_2": True}
_POOLED |= {"conv4/conv4_1": False, "conv4/conv4_2": True}


class BareSession:
    """The slim graph in a session, called by `Session.run` on batches of 64: what the original code does.

    Args:
      checkpoint: path of a checkpoint.
    """

    def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
        from vggish_core.network.slim import define_vggish_slim, load_vggish_slim_checkpoint, tf1

        with tf1.Graph().as_default() as graph:
            self._embedding = define_vggish_slim()
            self._features = graph.get_tensor_by_name("vggish/input_features:0")
            self.session = tf1.Session(graph=graph)
            load_vggish_slim_checkpoint(self.session, checkpoint)

    def __call__(self, examples: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Examples float32 [k, 96, 64], k >= 1 -> float32 [k, 128]."""
        starts = range(0, len(examples), batch_size)
        batches = [examples[start : start + batch_size] for start in starts]
        return np.concatenate([self.session.run(self._embedding, {self._features: batch}) for batch in batches])

    def __enter__(self) -> BareSession:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.session.close()


def float64_embeddings(variables: Mapping[str, np.ndarray], examples: np.ndarray, chunk: int = 16) -> np.ndarray:
    """The network in float64 NumPy, no trick: examples [k, 96, 64] -> float64 [k, 128].

    Args:
      variables: VGGish's, by name.
      examples: any float type.
      chunk: examples at a time, for memory's sake.
    """
    parts = [_float64(variables, examples[start : start + chunk]) for start in range(0, len(examples), chunk)]
    return np.concatenate(parts)


def _float64(variables: Mapping[str, np.ndarray], examples: np.ndarray) -> np.ndarray:
    def weights_and_biases(layer: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(variables[f"vggish/{layer}/{kind}"].astype(np.float64) for kind in ("weights", "biases"))

    net = examples.astype(np.float64)[..., None]
    for layer, pooled in _POOLED.items():
        weights, biases = weights_and_biases(layer)
        net = np.maximum(_convolution(net, weights) + biases, 0)
        net = _maximum_of_2x2(net) if pooled else net
    net = net.reshape(len(net), -1)
    for layer in ("fc1/fc1_1", "fc1/fc1_2"):
        weights, biases = weights_and_biases(layer)
        net = np.maximum(net @ weights + biases, 0)
    weights, biases = weights_and_biases("fc2")
    return net @ weights + biases


def _convolution(net: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[n, h, w, c] with [3, 3, c, d] -> [n, h, w, d]: the sum of nine products, zeros beyond the edges."""
    n, height, width, channels = net.shape
    padded = np.pad(net, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = np.zeros((n * height * width, weights.shape[-1]))
    for i, j in np.ndindex(3, 3):
        products += padded[:, i : i + height, j : j + width].reshape(-1, channels) @ weights[i, j]
    return products.reshape(n, height, width, -1)


def _maximum_of_2x2(net: np.ndarray) -> np.ndarray:
    n, height, width, channels = net.shape
    return net.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
