"""Sorted streams, of which there are too many to open at a time -> one, by way of temporary files."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import Any, TypeVar

OPEN_FILES = 100
"""At most, at a time; of more streams, so many at a time are merged into a temporary file first."""

Item = TypeVar("Item")


def merged(folder: str, streams: Sequence[Iterable[Item]], key: Callable[[Item], Any]) -> Iterator[Item]:
    """Streams that are sorted by a key -> one that is; of equal keys those of an earlier stream come first.

    Args:
      folder: for temporary files, which go as they are read.
      streams: not begun, if they open files.
      key: of an item.
    """
    left = list(streams)
    while len(left) > OPEN_FILES:
        groups = [left[at : at + OPEN_FILES] for at in range(0, len(left), OPEN_FILES)]
        left = [kept(folder, merge(*group, key=key)) for group in groups]
    return merge(*left, key=key)


def kept(folder: str, items: Iterable[Item]) -> Iterator[Item]:
    """Items -> the same, from a temporary file, which is written now and goes when it has been read."""
    path = Path(folder) / uuid.uuid4().hex
    with path.open("wb") as file:
        for item in items:
            pickle.dump(item, file, pickle.HIGHEST_PROTOCOL)
    return _read(path)


def _read(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
    path.unlink()
