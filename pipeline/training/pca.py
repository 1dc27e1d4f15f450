"""Raw embeddings -> the parameters of a whitening PCA, fitted in Beam, in the released layout."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from pipeline import storage
from pipeline.analysis.moments import Moments, nothing, of
from pipeline.output.matching import frames
from pipeline.output.records import RecordError, expect_finite, parse_placed
from pipeline.running.engines import runners
from vggish_core import params
from vggish_core.network.postprocess import PcaError, whitening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.output.matching import Matched
    from pipeline.types import ShardEntry

SPAN = 1e8
"""Largest over smallest eigenvalue that is taken for real. The released parameters span 7,500; embeddings are float32,
whose rounding is a variance of some 1e-14 of the largest."""
ROWS_OF_A_BLOCK = 4096
"""Embeddings that are summed in one matrix product: 2 MB of float32."""


class DegenerateWarning(UserWarning):
    """The embeddings do not vary in every direction."""


def pca_params(moments: Moments, span: float = SPAN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments of raw embeddings -> (eigen vectors [128, 128], means [128], eigenvalues [128], falling), float64.

    Row i of the eigen vectors is the i-th unit eigenvector of the covariance divided by the square root of its
    eigenvalue, as in the released file; of a vector and its negative, the one whose largest value is positive.
    Eigenvalues below the largest divided by `span` are raised to that, with a `DegenerateWarning`: embeddings then stay
    finite, and next to zero in directions in which the fitted ones did not vary.

    Raises:
      PcaError: fewer than two embeddings, or embeddings that are all the same.
    """
    if moments.count < 2:
        raise PcaError(f"a PCA needs at least two embeddings, the records hold {moments.count}")
    matrix = moments.covariance
    values = np.linalg.eigvalsh(matrix)[::-1]
    vectors = whitening(matrix, span)
    floor = values[0] / span
    raised = int((values < floor).sum())
    if raised:
        warnings.warn(
            f"{raised} of {len(values)} directions hardly vary over {moments.count:,} embeddings: their variances were "
            f"raised to {floor:.3g}, and as many bytes of every quantized embedding will be nearly constant. Fit to "
            "more, or more varied, audio if that is not what the model is like.",
            DegenerateWarning,
            stacklevel=2,
        )
    return vectors, moments.mean, np.maximum(values, 0.0)


def fit(matched: Matched, beam_engine: runners.Engine, place: str) -> Moments:
    """TFRecord files of float embeddings -> their moments, by a Beam job.

    Args:
      matched: the files; the workers compare the sha256 of those that a manifest promises.
      beam_engine: where the job runs.
      place: URI of a folder that the workers write the result to, in files that are deleted afterwards.
    """
    from pipeline.analysis import sums

    def read(file: tuple[str, ShardEntry | None]) -> Iterator[tuple[tuple[int, ...], Moments]]:
        return (((0,), of(block)) for block in blocks(*file))

    files = [(uri, matched.promised.get(uri)) for uri in matched.files]
    return sums.collect(beam_engine, files, read, nothing(), place).get((0,), nothing())


def blocks(uri: str, promised: ShardEntry | None = None) -> Iterator[np.ndarray]:
    """A TFRecord file of float embeddings -> float32 [k, 128], up to `ROWS_OF_A_BLOCK` rows each and a record's more.

    Raises:
      RecordError: a damaged record, or a quantized one.
      IncompleteError: the file is another than `promised`.
    """
    waiting: list[np.ndarray] = []
    rows = 0
    for place, data in frames(uri, promised):
        record = parse_placed(data, place)
        if not len(record.values):
            continue
        expect_finite(record, place)
        if record.values.dtype != np.float32:
            raise RecordError(f"{place} ({record.id}) holds quantized embeddings; a PCA is fitted to raw ones")
        waiting.append(record.values)
        rows += len(record.values)
        if rows >= ROWS_OF_A_BLOCK:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)


def write_params(path: str, vectors: np.ndarray, means: np.ndarray) -> None:
    """PCA parameters -> an npz file in the released layout, local or remote; the same bytes for the same values."""
    storage.write_atomic(
        path, _npz({params.PCA_EIGEN_VECTORS_NAME: vectors, params.PCA_MEANS_NAME: means.astype(np.float64)})
    )


def plot(eigenvalues: np.ndarray) -> bytes:
    """Eigenvalues [128], falling -> a PNG of the variance that the first components explain together, and of each."""
    from matplotlib.figure import Figure

    share = eigenvalues / eigenvalues.sum()
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    components = np.arange(1, len(share) + 1)
    axes.plot(components, np.cumsum(share), color="tab:blue")
    axes.set(xlabel="components", ylabel="explained variance, together", ylim=(0, 1.02), xlim=(1, len(share)))
    axes.grid(alpha=0.3)
    each = axes.twinx()
    each.semilogy(components, np.maximum(share, 1e-16), color="tab:orange", linewidth=1)
    each.set_ylabel("of each (orange)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
