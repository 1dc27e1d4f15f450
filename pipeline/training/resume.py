"""Where a training is after an epoch: files that are there whole or not at all, the last two of them.

Keras' own `BackupAndRestore` overwrites its one file in place: killed meanwhile, a training could never be continued.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage

HISTORY = "history.jsonl"
"""In a model's folder, for people; a training continues from its states."""
KEPT = 2
"""Files that stay: should the last be damaged, there is the one before."""
_PARTS = ("weights", "optimizer", "best")
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""NumPy's errors about files that it did not write; it checks their checksums."""


@dataclass(frozen=True)
class State:
    """A training after a whole epoch.

    Attributes:
      history: a line an epoch.
      weights: of the network, in Keras' order.
      optimizer: its variables.
      best: weights after the best epoch.
    """

    history: list[dict[str, Any]]
    weights: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    best: Sequence[np.ndarray]

    def fits(self, weights: Sequence[Any], optimizer: Sequence[Any]) -> bool:
        """Whether it is of a network with these weights and an optimizer with these variables."""
        pairs = ((self.weights, weights), (self.best, weights), (self.optimizer, optimizer))
        return all([tuple(one.shape) for one in a] == [tuple(one.shape) for one in b] for a, b in pairs)


def save(folder: Path, state: State) -> None:
    """Writes a state, then removes older ones and what a killed training left half written.

    Raises:
      StorageError: there is no space, say; the states before are as they were.
    """
    folder.mkdir(exist_ok=True)
    arrays = {f"{part} {i}": array for part in _PARTS for i, array in enumerate(getattr(state, part))}
    history = np.frombuffer(json.dumps(state.history).encode(), np.uint8)
    with storage.open_write(str(folder / f"epoch-{len(state.history):05d}.npz")) as file:
        np.savez(file, allow_pickle=False, history=history, **arrays)
    stay = sorted(folder.glob("epoch-*.npz"))[-KEPT:]
    for path in folder.iterdir():
        if path not in stay:
            with suppress(OSError):
                path.unlink()


def newest(folder: Path, report: Callable[[str], None]) -> State | None:
    """The folder's newest state that is sound; each that is damaged is named to `report`. None: there is none."""
    for path in sorted(folder.glob("epoch-*.npz"), reverse=True):
        try:
            return _read(path)
        except _DAMAGE as error:
            report(f"{path} is damaged ({' '.join(str(error).split())[:200]}): going back to what was before it")
    return None


def _read(path: Path) -> State:
    with np.load(path, allow_pickle=False) as arrays:
        history = json.loads(arrays["history"].tobytes())
        counts = {part: sum(name.startswith(f"{part} ") for name in arrays.files) for part in _PARTS}
        weights, optimizer, best = ([arrays[f"{part} {i}"] for i in range(counts[part])] for part in _PARTS)
    return State(history, weights, optimizer, best)
