"""The weights that a job names -> verified files, and on a worker -> the function from examples to embeddings."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from pipeline import storage
from pipeline.settings import Model
from vggish_core import weights
from vggish_core.weights import WeightsError, standin

_log = logging.getLogger(__name__)
_WEIGHTS = ("checkpoint", "pca")

EmbedFunction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Examples float32 [k, 96, 64] -> values [k, 128], uint8 or float32, and bool [k]: whether a row's are finite. The
values of a row that is not mean nothing."""


def identify(model: Model, sha256: Mapping[str, str] | None = None) -> Model:
    """A model as given -> the same with its weights' names and sha256s: of the files found here, or those given.

    Args:
      model: as given.
      sha256: of "checkpoint" and "pca" (not for raw embeddings), in hexadecimal; then nothing is read here, and workers
        compare what they find.

    Raises:
      WeightsError, CheckpointError, PcaError: weights are missing or do not fit; or a sha256 is missing or is none.
    """
    if sha256 is None:
        return resolve_pca(resolve_checkpoint(model))
    wanted = ("checkpoint",) if model.embeddings == "raw" else ("checkpoint", "pca")
    _expect_digests(sha256, wanted)
    model = replace(model, checkpoint_name=_name(model.checkpoint), checkpoint_sha256=sha256["checkpoint"].lower())
    if model.embeddings == "raw":
        return model
    return replace(model, pca_name=_name(model.pca_params), pca_sha256=sha256["pca"].lower())


def _expect_digests(sha256: Mapping[str, str], wanted: Sequence[str]) -> None:
    for name in dict.fromkeys([*wanted, *sha256]):
        if name in _WEIGHTS and re.fullmatch("[0-9a-fA-F]{64}", str(sha256.get(name))):
            continue
        found = f"is {sha256[name]!r}" if name in sha256 else "is missing"
        example = ", ".join(f"{name!r}: …" for name in wanted)
        raise WeightsError(
            f"weights_sha256: {name!r} {found}",
            f"Give {{{example}}}: 64 hexadecimal digits each, as sha256sum or a data set's manifest.json shows them",
        )


def resolve_checkpoint(model: Model) -> Model:
    """A model as given -> the same with its checkpoint's name and sha256, after a check that it is VGGish's.

    Raises:
      WeightsError, CheckpointError: if it is missing or does not fit.
    """
    found = weights.resolve(model.checkpoint, "checkpoint", storage.open_read)
    if not (_takes_prepared(model) and _is_prepared(found.sha256)):
        from vggish_core.network.checkpoints import CheckpointVariables

        CheckpointVariables(found.path)
    given = _absolute(model.checkpoint)
    return replace(model, checkpoint=given, checkpoint_name=found.name, checkpoint_sha256=found.sha256)


def resolve_pca(model: Model) -> Model:
    """A model as given -> the same with its PCA parameters' name and sha256, after a check of their shape.

    Raises:
      WeightsError, PcaError: if they are missing or do not fit.
    """
    from vggish_core.network.postprocess import Postprocessor

    if model.embeddings == "raw":
        return model
    found = weights.resolve(model.pca_params, "pca_params", storage.open_read)
    Postprocessor(found.path)
    return replace(model, pca_params=_absolute(model.pca_params), pca_name=found.name, pca_sha256=found.sha256)


def verify(model: Model) -> None:
    """Finds the weights that a model names on this machine, and compares their sha256s; URIs are copied into the cache.

    Raises:
      WeightsError: if they are missing, or others.
    """
    weights.resolve(model.checkpoint, "checkpoint", storage.open_read, model.checkpoint_sha256)
    if model.embeddings != "raw":
        weights.resolve(model.pca_params, "pca_params", storage.open_read, model.pca_sha256)


def load(model: Model, check: bool = False) -> EmbedFunction:
    """Model settings -> the function from examples float32 [k, 96, 64] to values [k, 128] of the kind asked for.

    Args:
      model: with the sha256s of its weights, which have to be the same here.
      check: compare the fast kernel with the plain graph first, if that was not done before on this machine.

    Raises:
      WeightsError, CheckpointError, PcaError: if weights are missing, others than at submission, or do not fit.
      NoGpuError: for bfloat16 where TensorFlow sees no GPU.
      KernelError: if the fast kernel is too far from the plain graph.
    """
    from vggish_core.network.postprocess import Postprocessor

    embed = shared_network(model, check)
    if model.embeddings == "raw":
        return finished(embed)
    pca = weights.resolve(model.pca_params, "pca_params", storage.open_read, model.pca_sha256)
    postprocessor = Postprocessor(pca.path)
    finish = postprocessor.postprocess if model.embeddings == "quantized" else postprocessor.pca
    return finished(embed, finish)


class Network:
    """A checkpoint's network, by one kernel: examples float32 [k, 96, 64] -> raw embeddings float32 [k, 128].

    Args:
      embed: does it.
    """

    def __init__(self, embed: Callable[[np.ndarray], np.ndarray]) -> None:
        self._embed = embed

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        return self._embed(examples)


_networks: MutableMapping[Model, Network] = WeakValueDictionary()


def shared_network(model: Model, check: bool = False) -> Network:
    """Model settings -> this process' network for them, whatever becomes of its values; kept while somebody holds it.

    Errors as `load`.
    """
    key = _of_network(model)
    network = _networks.get(key)
    if network is None:
        network = _networks[key] = Network(load_network(model, check))
    return network


def _of_network(model: Model) -> Model:
    """The settings that decide which network it is: one key for all models that have it."""
    checkpoint = "" if model.checkpoint_sha256 else model.checkpoint
    return replace(
        model, checkpoint=checkpoint, checkpoint_name="", pca_params="", pca_name="", pca_sha256="", embeddings="raw",
        threads=0,
    )  # fmt: skip


def load_network(model: Model, check: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Model settings -> the network of its checkpoint, loaded now. Errors as `load`."""
    found = weights.resolve(model.checkpoint, "checkpoint", storage.open_read, model.checkpoint_sha256)
    return (_prepared(found) if _takes_prepared(model) else None) or _embedder(model, found.path, check)


def finished(
    network: Callable[[np.ndarray], np.ndarray], finish: Callable[[np.ndarray], np.ndarray] = lambda raw: raw
) -> EmbedFunction:
    """The network, and a function of its raw embeddings [k, 128] -> both as one function."""

    def embed(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw = network(examples)
        finite = np.isfinite(raw).all(axis=1)
        with np.errstate(over="ignore"):  # a PCA may take float32 beyond its range
            values = finish(raw if finite.all() else np.where(finite[:, None], raw, 0))
        return values, finite & np.isfinite(values).all(axis=1)

    return embed


def _takes_prepared(model: Model) -> bool:
    """Whether the Winograd kernel computes."""
    return model.convolutions == "winograd" and model.precision == "float32"


def _is_prepared(sha256: str) -> bool:
    from vggish_core.network import prepared

    return prepared.is_known(sha256)


def _prepared(checkpoint: weights.Weights) -> Callable[[np.ndarray], np.ndarray] | None:
    """The network from its prepared checkpoint, without TensorFlow; None without a cache."""
    from vggish_core.network import prepared
    from vggish_core.network.winograd import WinogradNetwork

    try:
        return WinogradNetwork(prepared.factors(checkpoint.path, checkpoint.sha256), threads=1)
    except prepared.RefusedError as error:
        from vggish_core.network.model import KernelError

        raise KernelError(str(error)) from error
    except prepared.PreparationError as error:
        _log.warning("the checkpoint has to be prepared at every start: %s", error)
        return None


def _embedder(model: Model, path: str, check: bool) -> Callable[[np.ndarray], np.ndarray]:
    from vggish_core.network.model import Embedder, check_kernel

    # One thread a call: the worker makes as many calls at the same time as it has cores, and none waits for a part.
    embedder = Embedder(path, model.batch_size, model.precision, model.convolutions, threads=1)
    if check:
        check_kernel(embedder)
    return embedder.embed


def _name(given: str) -> str:
    """What to show for weights that are not looked at."""
    return standin.NAME if given == "standin" else given


def _absolute(given: str) -> str:
    """Workers have working directories of their own."""
    path = os.path.expanduser(given)
    return os.path.abspath(path) if os.path.exists(path) or os.path.exists(f"{path}.index") else given
