"""Stand-in weights: VGGish's variables at random and a PCA fitted to them, for trying the software out.

Same names, shapes, file formats and orders of magnitude as the released files; the embeddings mean nothing. The
checkpoint is the same bit for bit on every machine; the PCA may differ in its last digits between processors.

`python -m vggish_core.weights.standin FOLDER` writes them; `files` does that once, in a process of its own, so that the
memory and the TensorFlow settings of whoever asks are left alone.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vggish_core.cache import cache_directory
from vggish_core.subprocesses import last_words, run_module

NAME = "standin (random weights, no meaning)"
"""The name shown for the model wherever it appears."""

CHECKPOINT_FILE = "vggish_model.ckpt"
PCA_FILE = "vggish_pca_params.npz"

_VERSION = 2  # of the content: raised by whoever changes it
_SEED = 20170305
_SUMS = "SHA256SUMS"
_CENTERING = np.float32(0.3)
_PCA_EXAMPLES = 512
_PCA_SPAN = (
    300.0  # float32 rounding shows in as few bytes as with the released PCA, whose network is better conditioned
)
_CHUNK = 1 << 20


def directory() -> Path:
    """The folder of the cache that holds the stand-in files, or will."""
    return cache_directory() / f"standin-{_VERSION}"


def files() -> Path:
    """The folder with both files, made and verified if need be. Safe for several processes at once.

    Raises:
      RuntimeError: if they cannot be made, with the reason.
    """
    folder = directory()
    if _sound(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"Making stand-in weights (random, no meaning) in {folder}: once, 300 MB, some 20 s.", file=sys.stderr)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        done = run_module("vggish_core.weights.standin", made)
        if done.returncode:
            raise RuntimeError(f"stand-in weights could not be made in {made}: {last_words(done)}")
        _put(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def write(folder: Path) -> None:
    """Writes both files and their sums into a folder."""
    from vggish_core.features.synthetic import synthetic_examples
    from vggish_core.network.checkpoints import write_checkpoint
    from vggish_core.network.postprocess import whitening, write_pca_params
    from vggish_core.network.slim import SlimNetwork

    weights = dict(variables())
    write_checkpoint(folder / CHECKPOINT_FILE, weights)
    examples = synthetic_examples(_PCA_EXAMPLES, seed=_SEED)
    network = SlimNetwork(weights, batch_size=64)
    raw = np.concatenate([network(batch) for batch in examples.reshape(-1, 64, *examples.shape[1:])]).astype(np.float64)
    means = raw.mean(axis=0)
    write_pca_params(folder / PCA_FILE, whitening(np.cov(raw, rowvar=False, bias=True), _PCA_SPAN), means)
    sums = (f"{_sha256(folder / name)}  {name}\n" for name in (CHECKPOINT_FILE, PCA_FILE))
    (folder / _SUMS).write_text("".join(sums), encoding="utf-8")


def variables(seed: int = _SEED) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float32 value of each variable, He-initialised from NumPy's frozen random stream.

    Weights are normal with variance 2 / inputs, which keeps the magnitude through ReLU layers; the embedding layer's
    have 1 / 16 of that deviation, which brings embeddings near the released model's (0.34). Each unit's weights give
    up a part of their mean, because random ReLU layers pass on little but what all inputs have in common otherwise.
    Biases are normal with deviation 0.05, so that no one can leave them out unnoticed.
    """
    from vggish_core.network.checkpoints import VARIABLE_SHAPES

    random = np.random.RandomState(seed)
    for name, shape in VARIABLE_SHAPES.items():
        size = int(np.prod(shape))
        deviation = 0.05 if name.endswith("biases") else np.sqrt(2 / np.prod(shape[:-1]))
        if "/fc2/" in name:
            deviation /= 16
        value = np.empty(size, np.float32)
        for start in range(0, size, _CHUNK):  # the stream is float64: a chunk at a time
            value[start : start + _CHUNK] = deviation * random.standard_normal(min(_CHUNK, size - start))
        if name.endswith("weights") and "/conv1/" not in name:
            units = value.reshape(-1, shape[-1])
            units -= _CENTERING * units.mean(axis=0)
        yield name, value.reshape(shape)


def _sound(folder: Path) -> bool:
    """Whether a folder holds both files with the sums they were written with."""
    from vggish_core.digests import digests

    try:
        lines = (folder / _SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
        return all(digests(folder / name).sha256 == sums[name] for name in (CHECKPOINT_FILE, PCA_FILE))
    except (OSError, ValueError, KeyError):
        return False


def _put(made: Path, folder: Path) -> None:
    """Moves a folder to its place, unless another process was there first; what is damaged gives way."""
    made.chmod(0o755)
    if folder.exists() and not _sound(folder):
        damaged = Path(tempfile.mkdtemp(prefix=f"{folder.name}.damaged.", dir=folder.parent))
        folder.replace(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        made.rename(folder)
    except OSError:
        if not _sound(folder):
            raise


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
