"""The network as `Embedder` runs it: in one fixed shape, by the chosen kernel, checked against the graph."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from vggish_core import params
from vggish_core.digests import digests
from vggish_core.errors import UserError
from vggish_core.network.checkpoints import (
    CheckpointError,
    CheckpointVariables,
    checked,
    checkpoint_files,
    read_variables,
)
from vggish_core.network.gpus import expect_gpu, gpu
from vggish_core.quiet import import_tensorflow

if TYPE_CHECKING:
    from vggish_core.network.slim import SlimNetwork
    from vggish_core.network.winograd import Factors, WinogradNetwork

__all__ = ["CheckpointError", "Embedder", "KernelError", "check_kernel", "read_variables"]

KERNEL_TOLERANCE = 5e-6
"""Largest relative RMS distance of the Winograd kernel from the plain graph; float32 kernels differ by some 1e-6."""

_log = logging.getLogger(__name__)


class KernelError(UserError):
    """The fast kernel's embeddings are too far from the plain graph's with this checkpoint."""


class Embedder:
    """VGGish in one fixed batch shape: examples float32 [k, 96, 64] -> raw embeddings float32 [k, 128].

    A row's embedding depends on nothing but that row: not on its neighbours, its position or how many rows there are,
    bit for bit. Of the direct kernel that was measured for the default batch size; with AVX2, sizes 8 and 32 did not
    keep it, and another number of threads moved its rows by 1e-6. Any number of Python threads may call `embed` at the
    same time.

    TensorFlow is loaded only where it is needed: not for the Winograd kernel with a checkpoint that was prepared on
    this machine (`vggish_core.network.prepared`), as a run of the pipeline does.

    Args:
      checkpoint: path of a V1 or V2 checkpoint, or VGGish's variables by name.
      batch_size: examples of a call of the slim graph, the last ones zeros where there are fewer; different sizes
        differ by some 1e-6. The Winograd kernel takes any number at a time and gives the same for all.
      precision: "float32", or "bfloat16" for a GPU: layers in bfloat16 (relative error some 1.5 %).
      convolutions: "winograd", the fast kernel, or "direct", the slim graph in a session. None: "winograd" for float32,
        "direct" for bfloat16, which has no other, and where TensorFlow sees a GPU, which "winograd" does not use.
      threads: of one call; None: as many as cores. TensorFlow has one setting a process: the first counts.

    Attributes:
      convolutions: the kernel in use.
      batch_size, precision: as given.
      winograd: the network of that kernel, if it is in use.

    Raises:
      CheckpointError: if the checkpoint is unreadable or not VGGish's.
      ValueError: if an argument is none of the above.
      NoGpuError: for bfloat16 where TensorFlow sees no GPU: on processors "winograd" is as fast, and exact.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Mapping[str, np.ndarray],
        batch_size: int = 64,
        precision: str = "float32",
        convolutions: str | None = None,
        threads: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self.batch_size = batch_size
        self.precision = precision
        self.convolutions = _kernel(precision, convolutions)
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; it must be 1 or more")
        self._checkpoint = checkpoint
        self.winograd: WinogradNetwork | None = None
        self._network: Callable[[np.ndarray], np.ndarray]
        if self.convolutions == "winograd":
            from vggish_core.network.winograd import WinogradNetwork

            self._network = self.winograd = WinogradNetwork(_prepared(checkpoint) or self.variables, threads)
        else:
            from vggish_core.network.slim import SlimNetwork

            _hold_tensorflow_to(threads)
            self._network = partial(_in_batches, SlimNetwork(self.variables, batch_size, precision, threads))

    @cached_property
    def variables(self) -> Mapping[str, np.ndarray]:
        """VGGish's variables by name, read when they are asked for."""
        given = self._checkpoint
        return checked(given if isinstance(given, Mapping) else CheckpointVariables(given))

    def embed(self, examples: np.ndarray) -> np.ndarray:
        """Examples float32 [k, 96, 64] -> raw embeddings float32 [k, 128]; k may be 0.

        Raises:
          ValueError: if the examples have another shape or type.
        """
        if not isinstance(examples, np.ndarray) or examples.dtype != np.float32:
            kind = getattr(examples, "dtype", type(examples).__name__)
            raise ValueError(f"examples are {kind}, not a float32 array; convert them with np.asarray(x, np.float32)")
        if examples.ndim != 3 or examples.shape[1:] != (params.NUM_FRAMES, params.NUM_BANDS):
            raise ValueError(f"examples have shape {list(examples.shape)}, not [k, 96, 64]")
        return self._network(np.ascontiguousarray(examples))


def check_kernel(embedder: Embedder, examples: np.ndarray | None = None) -> float:
    """The relative RMS distance of an embedder's kernel from the plain graph with the same variables, on one batch.

    Args:
      embedder: in float32.
      examples: float32 [k, 96, 64]; None: examples of made signals.

    Raises:
      KernelError: if it is above `KERNEL_TOLERANCE`, with the figure.
    """
    if embedder.convolutions == "direct":
        return 0.0  # it is the plain graph
    if examples is None:
        from vggish_core.features.synthetic import synthetic_examples

        examples = synthetic_examples(embedder.batch_size, seed=1)
    from vggish_core.network.slim import SlimNetwork

    plain = SlimNetwork(embedder.variables, embedder.batch_size)
    expected = _in_batches(plain, examples).astype(np.float64)
    plain.close()
    distance = float(np.sqrt(np.mean((embedder.embed(examples) - expected) ** 2) / np.mean(expected**2)))
    if not distance <= KERNEL_TOLERANCE:  # NaN is refused too
        raise KernelError(
            f"with this checkpoint the winograd kernel's embeddings are {distance:.2g} (relative RMS) away from the "
            f"plain graph's, more than {KERNEL_TOLERANCE:g}. Use the direct kernel: --convolutions direct."
        )
    return distance


def _prepared(checkpoint: str | os.PathLike[str] | Mapping[str, np.ndarray]) -> Factors | None:
    """A checkpoint's factors, if it was prepared on this machine before; None also where it cannot be read."""
    if isinstance(checkpoint, Mapping):
        return None
    from vggish_core.network import prepared

    try:
        files = checkpoint_files(checkpoint)
        sha256 = digests(*files).sha256 if files else ""
        return prepared.factors(checkpoint, sha256) if sha256 and prepared.is_known(sha256) else None
    except (OSError, prepared.PreparationError):
        return None


def _in_batches(network: SlimNetwork, examples: np.ndarray) -> np.ndarray:
    """Examples [k, 96, 64] -> embeddings [k, 128], the last batch filled up with zeros."""
    embeddings = np.empty((len(examples), params.EMBEDDING_SIZE), np.float32)
    for start in range(0, len(examples), network.batch_size):
        rows = batch = examples[start : start + network.batch_size]
        if len(rows) < network.batch_size:
            batch = np.zeros((network.batch_size, *rows.shape[1:]), np.float32)
            batch[: len(rows)] = rows
        embeddings[start : start + len(rows)] = network(batch)[: len(rows)]
    return embeddings


def _kernel(precision: str, convolutions: str | None) -> str:
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision is "{precision}"; it must be "float32" or "bfloat16"')
    if convolutions not in (None, "winograd", "direct"):
        raise ValueError(f'convolutions is "{convolutions}"; it must be "winograd" or "direct"')
    if precision == "bfloat16":
        if convolutions == "winograd":
            raise ValueError('bfloat16 has no winograd kernel; use convolutions "direct" with it')
        expect_gpu()
        return "direct"
    if convolutions is None and gpu():
        _log.info("TensorFlow sees a GPU: it runs the direct kernel")
        return "direct"
    return convolutions or "winograd"


def _hold_tensorflow_to(threads: int | None) -> None:
    if threads is None:
        return
    try:
        import_tensorflow().config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:  # TensorFlow has started already
        _log.warning(
            "TensorFlow keeps the threads it was started with in this process, not %d a call; the results are the same",
            threads,
        )
