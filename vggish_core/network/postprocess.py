"""Raw embeddings -> PCA, whitening, 8 bits, as in the released AudioSet records; and back.

The projection is computed in float64, the arithmetic of the original (its parameters are float64), and each sum in one
order: a library for matrices chooses that by the processor and the number of rows, and once in a while a byte would
depend on them.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from vggish_core import params
from vggish_core.errors import UserError
from vggish_core.features.products import columns, multiply_windows
from vggish_core.network import other_files

RELEASED_SPAN = 7500.0
"""Largest over smallest eigenvalue of the released PCA (3.77 / 0.0005)."""
_REMEDY = "Give what pipeline.fit_pca wrote, or the released file."
_STEPS = 255.0 / (params.QUANTIZE_MAX_VAL - params.QUANTIZE_MIN_VAL)


class PcaError(UserError, ValueError):
    """PCA parameters that cannot be read or have the wrong shape, or embeddings that cannot be projected."""


class Postprocessor:
    """PCA, whitening and quantizing with the parameters of one file.

    Args:
      pca_params_npz_path: npz with `pca_eigen_vectors` [128, 128], one eigenvector a row, divided by the square root of
        its eigenvalue, and `pca_means` [128] or [128, 1].

    Raises:
      PcaError: if the file cannot be read, or an array is missing, has another shape or holds NaN or infinite values.
    """

    def __init__(self, pca_params_npz_path: str | os.PathLike[str]) -> None:
        path = os.fspath(pca_params_npz_path)
        found = _load(path)
        size = params.EMBEDDING_SIZE
        eigen_vectors = _array(found, params.PCA_EIGEN_VECTORS_NAME, [(size, size)], path)
        panels = eigen_vectors.reshape(-1, columns(eigen_vectors.dtype), size)
        self._factors = np.ascontiguousarray(panels.swapaxes(1, 2))
        self._means = _array(found, params.PCA_MEANS_NAME, [(size,), (size, 1)], path).reshape(size)

    def postprocess(self, raw: np.ndarray) -> np.ndarray:
        """Raw embeddings float [k, 128] -> uint8 [k, 128]: whitened, clipped to ±2, 8 bits by truncation.

        Raises:
          PcaError: if the embeddings have another shape or type, or hold NaN or infinite values.
        """
        clipped = np.clip(self._project(raw), params.QUANTIZE_MIN_VAL, params.QUANTIZE_MAX_VAL)
        # astype truncates: the released records, and MediaPipe's, are truncated, not rounded.
        return ((clipped - params.QUANTIZE_MIN_VAL) * _STEPS).astype(np.uint8)

    def pca(self, raw: np.ndarray) -> np.ndarray:
        """Raw embeddings float [k, 128] -> float32 [k, 128]: whitened, not clipped. Errors as `postprocess`."""
        return self._project(raw).astype(np.float32)

    @staticmethod
    def dequantize(values: np.ndarray) -> np.ndarray:
        """uint8 [...] -> float32 [...]: the middle of each byte's interval, as the YouTube-8M starter code has it.

        Raises:
          PcaError: if the values are not uint8 (signed bytes are a well-known trap).
        """
        if values.dtype != np.uint8:
            raise PcaError(f"quantized embeddings are {values.dtype}, not uint8; read their bytes as unsigned")
        span = params.QUANTIZE_MAX_VAL - params.QUANTIZE_MIN_VAL
        return (values * (span / 255.0) + (span / 512.0 + params.QUANTIZE_MIN_VAL)).astype(np.float32)

    def _project(self, raw: np.ndarray) -> np.ndarray:
        raw = np.asarray(raw)
        if raw.ndim != 2 or raw.shape[1] != params.EMBEDDING_SIZE or raw.dtype.kind != "f":
            raise PcaError(f"embeddings are {raw.dtype} {list(raw.shape)}, not floats [k, {params.EMBEDDING_SIZE}]")
        rows, column = np.nonzero(~np.isfinite(raw))
        if len(rows):
            raise PcaError(
                f"embeddings hold {raw[rows[0], column[0]]} (row {rows[0]}, column {column[0]}; {len(rows)} such "
                "values): the checkpoint or the examples are damaged"
            )
        projected = np.empty(raw.shape, np.float64)
        centred = np.subtract(raw, self._means, dtype=np.float64)
        starts = np.zeros(len(self._factors), np.int64)
        multiply_windows(centred.reshape(-1), starts, params.EMBEDDING_SIZE, self._factors, projected)
        return projected


def _load(path: str) -> dict[str, np.ndarray]:
    if kind := other_files.kind_of(path):
        raise PcaError(f"PCA parameters {path} are {kind}, not an npz file. {_REMEDY}")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise PcaError(f"PCA parameters {path} are one array, not an npz file of two. {_REMEDY}")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except PcaError:
        raise
    except FileNotFoundError as error:
        raise PcaError(f"PCA parameters {path} do not exist. Name an existing file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        message = f"PCA parameters {path} cannot be read as an npz file ({_reason(error)}). Fetch them again."
        raise PcaError(message) from error


def _reason(error: Exception) -> str:
    # NumPy takes what it does not know for a pickle, and advises to load that.
    return "it is not one" if "pickle" in str(error) else str(error)


def _array(found: dict[str, np.ndarray], name: str, shapes: list[tuple[int, ...]], path: str) -> np.ndarray:
    if name not in found:
        raise PcaError(
            f"PCA parameters {path} have no array {name}, only {', '.join(sorted(found)) or 'none'}. {_REMEDY}"
        )
    array = found[name]
    if array.shape not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise PcaError(f"PCA parameters {path}: {name} has shape {list(array.shape)}, not {wanted}. {_REMEDY}")
    if array.dtype.kind != "f":
        raise PcaError(f"PCA parameters {path}: {name} is {array.dtype}, not floats. {_REMEDY}")
    if not np.isfinite(array).all():
        raise PcaError(f"PCA parameters {path}: {name} holds NaN or infinite values. {_REMEDY}")
    return array.astype(np.float64)


def whitening(covariance: np.ndarray, span: float = RELEASED_SPAN) -> np.ndarray:
    """Covariance [128, 128] of raw embeddings -> `pca_eigen_vectors` float64 [128, 128] in the released convention.

    Row i is the i-th unit eigenvector divided by the square root of its eigenvalue, eigenvalues falling. Of a vector
    and its negative, the one whose largest value is positive.

    Args:
      covariance: symmetric.
      span: largest over smallest eigenvalue; smaller ones are raised, so that directions in which the embeddings hardly
        vary, or not at all, are not blown up into noise.
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    values, vectors = values[::-1], vectors[:, ::-1].T
    if not values[0] > 0:
        raise PcaError("the embeddings do not vary: there is nothing to fit a PCA to")
    largest = vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)]
    return vectors * np.sign(largest)[:, None] / np.sqrt(np.maximum(values, values[0] / span))[:, None]


def write_pca_params(path: str | os.PathLike[str], eigen_vectors: np.ndarray, means: np.ndarray) -> None:
    """Writes PCA parameters, [128, 128] and [128], as in the released file; the same bytes for the same values."""
    arrays = {params.PCA_EIGEN_VECTORS_NAME: eigen_vectors, params.PCA_MEANS_NAME: means}
    with Path(path).open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(array, np.float64) for name, array in arrays.items()})
