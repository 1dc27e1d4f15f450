"""Millions of clips in little memory."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Any, TypeVar, overload

T = TypeVar("T")

VALUES_OF_A_BLOCK = 1000
"""So many are unpacked where one is asked for: 2 ms."""


class Packed(Sequence[T]):
    """Dataclasses with slots, in the order in which they were added: pickled in blocks, and rebuilt each time.

    A clip is an object of 100 bytes with two texts of as many; here it is 5 to 20, since the rows of a list resemble
    each other. Going through them costs 2 µs a clip.
    """

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._blocks: list[bytes] = []
        self._last: list[T] = []
        self.extend(values)

    def append(self, value: T) -> None:
        """Adds a value at the end."""
        self._last.append(value)
        if len(self._last) == VALUES_OF_A_BLOCK:
            self._blocks.append(zlib.compress(pickle.dumps(_apart(self._last), pickle.HIGHEST_PROTOCOL), 1))
            self._last.clear()

    def extend(self, values: Iterable[T]) -> None:
        """Adds values at the end."""
        for value in values:
            self.append(value)

    def __len__(self) -> int:
        return len(self._blocks) * VALUES_OF_A_BLOCK + len(self._last)

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            yield from _unpacked(block)
        yield from self._last

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        block, place = divmod(range(len(self))[index], VALUES_OF_A_BLOCK)
        values: list[T] = _unpacked(self._blocks[block]) if block < len(self._blocks) else self._last
        return values[place]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _unpacked(block: bytes) -> list[Any]:
    return _together(pickle.loads(zlib.decompress(block)))


@dataclass
class _Columns:
    """Values of one class, attribute by attribute: pickled and made in half the time."""

    kind: type
    columns: list[_Columns | list[Any]]


def _apart(values: list[Any]) -> _Columns | list[Any]:
    kind = type(values[0])
    if not is_dataclass(kind) or any(type(value) is not kind for value in values):
        return values
    names = [field.name for field in fields(kind)]
    return _Columns(kind, [_apart(list(map(attrgetter(name), values))) for name in names])


def _together(parts: _Columns | list[Any]) -> list[Any]:
    return list(map(parts.kind, *map(_together, parts.columns))) if isinstance(parts, _Columns) else parts
