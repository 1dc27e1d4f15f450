"""`--task I/N`: which shards one of N independent commands computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Task:
    """One of the commands of an array.

    Attributes:
      index: which, from 0.
      count: of how many.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def owns(self, shard: int) -> bool:
        """Whether the task computes a shard: its index modulo the number of tasks is the task's."""
        return shard % self.count == self.index

    def overlaps(self, other: Task) -> bool:
        """Whether some shard, of however many, would be both tasks'.

        >>> Task(0, 2).overlaps(Task(2, 4)), Task(0, 2).overlaps(Task(1, 4)), Task(0, 2).overlaps(Task(1, 3))
        (True, False, True)
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


def tasks_of(shards: Sequence[int], tasks: int) -> str:
    """Shards and the number of tasks -> text that names them.

    >>> tasks_of([0, 1, 3], 3)
    'shards 0, 1, 3 (tasks 0/3, 1/3)'
    """
    some = ", ".join(map(str, shards[:8])) + (f" and {len(shards) - 8} more" if len(shards) > 8 else "")
    named = f"shard{'s' if len(shards) > 1 else ''} {some}"
    if tasks < 1:
        return named
    owners = [str(Task(index, tasks)) for index in sorted({shard % tasks for shard in shards})]
    names = ", ".join(owners[:8]) + (f" and {len(owners) - 8} more" if len(owners) > 8 else "")
    return f"{named} (task{'s' if len(owners) > 1 else ''} {names})"
