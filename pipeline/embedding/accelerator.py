"""A GPU that TensorFlow sees: the kernel and the batch that a job on this machine then gets. Not measured by us."""

from __future__ import annotations

from dataclasses import replace

from pipeline.settings import Model

BATCH_SIZE = 256
"""Examples a call on a GPU: 6.3 MB, and some 1 GB of activations. A setting like others: results differ by some 1e-6
from those of another size."""


def on_gpu(model: Model) -> Model:
    """A model -> the same for a GPU: TensorFlow's own kernels in large batches, one call at a time."""
    return replace(model, convolutions="direct", batch_size=BATCH_SIZE, threads=1)


def announced(name: str) -> str:
    """The message about a GPU in use."""
    return (
        f"GPU {name}: direct kernel, batches of {BATCH_SIZE} (we have not measured this). "
        "--convolutions winograd computes on the CPU."
    )
