"""Items -> groups of a bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def grouped(items: Iterable[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Items -> lists of them, each with `most` in size or an item's more; the last one may have less.

    >>> list(grouped(["aa", "b", "cc", "d"], len, 3))
    [['aa', 'b'], ['cc', 'd']]
    """
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if held >= most:
            yield group
            group, held = [], 0
    if group:
        yield group
