"""`--task I/N`: which recordings one of N independent commands computes."""

from __future__ import annotations

import hashlib
import math
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

    def owns(self, uri: str) -> bool:
        """Whether the task computes the clips of a recording."""
        return share_of(uri, self.count) == self.index

    def overlaps(self, other: Task) -> bool:
        """Whether some recording would be both tasks'.

        >>> Task(0, 2).overlaps(Task(2, 4)), Task(0, 2).overlaps(Task(1, 4)), Task(0, 2).overlaps(Task(1, 3))
        (True, False, True)
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


def share_of(uri: str, count: int) -> int:
    """A recording's path or URI -> the index of its task of `count`: by a hash, so that all clips of it are one task's.

    >>> share_of("dog/1-100032-A.wav", 3)
    0
    """
    digest = hashlib.sha256(uri.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count
