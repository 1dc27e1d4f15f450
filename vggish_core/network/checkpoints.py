"""VGGish's variables in checkpoint files: what they must be called and look like, reading and writing them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vggish_core.errors import UserError
from vggish_core.network import other_files
from vggish_core.quiet import import_tensorflow

_LAYERS: dict[str, tuple[int, ...]] = {
    "conv1": (3, 3, 1, 64),
    "conv2": (3, 3, 64, 128),
    "conv3/conv3_1": (3, 3, 128, 256),
    "conv3/conv3_2": (3, 3, 256, 256),
    "conv4/conv4_1": (3, 3, 256, 512),
    "conv4/conv4_2": (3, 3, 512, 512),
    "fc1/fc1_1": (12288, 4096),
    "fc1/fc1_2": (4096, 4096),
    "fc2": (4096, 128),
}

VARIABLE_SHAPES: dict[str, tuple[int, ...]] = {}
"""Shape of every variable of VGGish by its name in a checkpoint, in the network's order; all are float32."""
for _layer, _shape in _LAYERS.items():
    VARIABLE_SHAPES[f"vggish/{_layer}/weights"] = _shape
    VARIABLE_SHAPES[f"vggish/{_layer}/biases"] = _shape[-1:]


_SHOWN = 4


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be read, or whose variables are not VGGish's; lists all that is wrong."""


class CheckpointVariables(Mapping[str, np.ndarray]):
    """VGGish's variables in a checkpoint, read when asked for: name -> float32 array; other variables are left out.

    Args:
      path: a TensorFlow checkpoint: a V1 file, or the part of a V2 checkpoint's names before `.index`.

    Raises:
      CheckpointError: if there is no readable checkpoint, or variables are missing or of another shape or type.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        tf = import_tensorflow()
        self.path = os.fspath(path)
        try:
            self._reader = tf.compat.v1.train.NewCheckpointReader(self.path)
            shapes = self._reader.get_variable_to_shape_map()
            types = self._reader.get_variable_to_dtype_map()
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            raise CheckpointError(_unreadable(self.path, error)) from error
        found = {name: (tuple(shapes[name]), types[name].name) for name in shapes}
        _require_variables(found, f"checkpoint {self.path}")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in VARIABLE_SHAPES:
            raise KeyError(name)
        tf = import_tensorflow()
        try:
            return self._reader.get_tensor(name)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"checkpoint {self.path}: {name} cannot be read ({error}). Fetch it again."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(VARIABLE_SHAPES)

    def __len__(self) -> int:
        return len(VARIABLE_SHAPES)


def checkpoint_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files of a checkpoint: a V1 file, or a V2 checkpoint's index and data; none where there is none."""
    prefix = Path(path)
    if prefix.is_file():
        return [prefix]
    index = prefix.with_name(prefix.name + ".index")
    data = sorted(prefix.parent.glob(f"{prefix.name}.data-*-of-*")) if prefix.parent.is_dir() else []
    return [index, *data] if index.is_file() and data else []


def read_variables(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Checkpoint -> all of VGGish's variables, name -> float32 array (275 MiB). Errors as `CheckpointVariables`."""
    return dict(CheckpointVariables(path))


def checked(variables: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The same variables if they are VGGish's.

    Raises:
      CheckpointError: if variables are missing or of another shape or type.
    """
    if not isinstance(variables, CheckpointVariables):
        _require_variables({name: (value.shape, value.dtype.name) for name, value in variables.items()}, "variables")
    return variables


def write_checkpoint(path: str | os.PathLike[str], variables: Mapping[str, np.ndarray]) -> None:
    """Writes variables, name -> array, as one V1 checkpoint file, the released checkpoint's format."""
    tf = import_tensorflow()
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        saved = []
        for name, value in variables.items():
            source = tf1.placeholder(value.dtype, value.shape)
            variable = tf1.get_variable(name, initializer=source)
            session.run(variable.initializer, {source: value})
            saved.append(variable)
        level = tf1.logging.get_verbosity()
        tf1.logging.set_verbosity(tf1.logging.ERROR)  # the saver advises against V1
        try:
            saver = tf1.train.Saver(saved, write_version=tf1.train.SaverDef.V1)
            saver.save(session, os.fspath(path), write_meta_graph=False, write_state=False)
        finally:
            tf1.logging.set_verbosity(level)


def _require_variables(found: Mapping[str, tuple[tuple[int, ...], str]], what: str) -> None:
    problems = []
    for name, shape in VARIABLE_SHAPES.items():
        if name not in found:
            problems.append(f"{name} {list(shape)} is missing")
        elif found[name][0] != shape:
            problems.append(f"{name} has shape {list(found[name][0])}, not {list(shape)}")
        elif found[name][1] != "float32":
            problems.append(f"{name} is {found[name][1]}, not float32")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CheckpointError(
            f"{what} does not hold VGGish: {'; '.join(problems[:_SHOWN])}{more}. "
            "Name one of VGGish, as released or trained further."
        )


def _unreadable(path: str, error: Exception) -> str:
    file, index = Path(path), Path(path + ".index")
    if file.is_dir():
        return f"checkpoint {path} is a folder. Name the checkpoint in it, without .index or .data-…"
    if not file.exists() and not index.exists():
        return f"checkpoint {path} does not exist, nor does {index.name} beside it. Name an existing one."
    if kind := other_files.kind_of(file):
        return (
            f"checkpoint {path} is {kind}, not a TensorFlow checkpoint. Give the released vggish_model.ckpt, or one "
            "trained from it; save weights of other frameworks as one first."
        )
    reason = str(error).splitlines()[0].partition(": perhaps your file")[0].rpartition("DATA_LOSS: ")[2]
    return f"checkpoint {path} cannot be read as a TensorFlow checkpoint ({reason}). Fetch it again."
