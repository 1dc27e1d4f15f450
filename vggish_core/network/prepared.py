"""A checkpoint as the Winograd kernel reads it, made and checked once, then kept in the user's cache directory.

Reading a checkpoint and comparing the kernel with the plain graph take TensorFlow, some ten seconds of a processor and
2 GB. So a process of its own, `preparing`, does it, once a checkpoint, processor and version of the kernel; whoever
embeds maps the file that it leaves, 350 MB, which all processes of a machine share.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from vggish_core.cache import cache_directory
from vggish_core.errors import UserError
from vggish_core.network.winograd import Factors
from vggish_core.subprocesses import last_words, run_module

KEPT = 3
"""Checkpoints that the cache keeps: those that were used last."""
REFUSED = 3
"""Exit status of the process where the kernel is too far from the plain graph."""
_DATA, _INDEX = "factors.bin", "index.json"
_ALIGNMENT = 64  # bytes: a cache line
_CHUNK = 1 << 24


class PreparationError(UserError):
    """The variables could not be prepared, or not be kept; the message says why."""


class RefusedError(PreparationError):
    """The kernel is too far from the plain graph with this checkpoint; the message has the figure."""


def directory(sha256: str) -> Path:
    """The folder of the cache for a checkpoint with this sha256, on this processor, for this version of the kernel."""
    from vggish_core.codegen import machine_code
    from vggish_core.codegen.registers import register_tile
    from vggish_core.network import winograd_kernels

    parts = [*machine_code.processor(), winograd_kernels.version(register_tile()), sha256]
    for module in ("winograd", "prepared"):
        parts.append(hashlib.sha256(Path(__file__).with_name(f"{module}.py").read_bytes()).hexdigest())
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return cache_directory() / "prepared" / key


def is_known(sha256: str) -> bool:
    """Whether the checkpoint with this sha256 was prepared, so that it was found to be VGGish's and checked."""
    return (directory(sha256) / _INDEX).is_file()


def factors(checkpoint: str | os.PathLike[str], sha256: str) -> Factors:
    """A checkpoint's path, and its sha256 -> its factors, mapped from the cache; prepared first if need be.

    Raises:
      RefusedError: if the kernel is too far from the plain graph.
      PreparationError: if there is no place to keep them, or the process that makes them failed.
    """
    folder = directory(sha256)
    found = _mapped(folder)
    if found is None:
        _make(checkpoint, folder)
        found = _mapped(folder)
    if found is None:
        raise PreparationError(f"{folder} was written and cannot be read")
    with suppress(OSError):
        os.utime(folder)
    return found


def _make(checkpoint: str | os.PathLike[str], folder: Path) -> None:
    """Has a process prepare and check a checkpoint, and puts what it made in its place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise PreparationError(f"{folder.parent} cannot be written: {error}") from error
    print("Preparing the network for this processor: once for these weights, some 15 s.", file=sys.stderr)
    try:
        done = run_module("vggish_core.network.preparing", checkpoint, made)
        if done.returncode:
            raise (RefusedError if done.returncode == REFUSED else PreparationError)(last_words(done))
        _put(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put(made: Path, folder: Path) -> None:
    """Moves a folder to its place; what is there is damaged or the same. Removes those that were not used for long."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another process was there first
        made.rename(folder)
    others = [other for other in folder.parent.iterdir() if "." not in other.name]
    with suppress(OSError):
        for other in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(other, ignore_errors=True)


def write(folder: Path, made: Factors) -> None:
    """Factors -> a file of all arrays, and an index of where each lies, with its checksum."""
    index = []
    with (folder / _DATA).open("wb") as file:
        for kind, arrays in (("weights", made.weights), ("biases", made.biases)):
            for name, array in arrays.items():
                file.write(bytes(-file.tell() % _ALIGNMENT))
                index.append((kind, name, file.tell(), array.size, _checksum(array)))
                array.tofile(file)
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _mapped(folder: Path) -> Factors | None:
    """The factors of a folder, mapped; None if they are not there, or damaged."""
    found = Factors({}, {})
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        # Private: arrays count as writable, which the compiled loops expect of all, and share their pages all the same.
        data = np.memmap(folder / _DATA, np.uint8, "c")
        for kind, name, start, size, checksum in index:
            array = data[start : start + 4 * size].view(np.float32).view(np.ndarray)
            if array.size != size or _checksum(array) != checksum:
                return None
            getattr(found, kind)[name] = array
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _checksum(array: np.ndarray) -> int:
    content = array.view(np.uint8).data
    checksum = 0
    for start in range(0, len(content), _CHUNK):
        checksum = zlib.crc32(content[start : start + _CHUNK], checksum)
    return checksum
