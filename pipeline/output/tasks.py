"""`--task I/N`: which clips one of N independent commands computes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from pipeline.corpus import plan
from pipeline.types import Clip


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

    def owns(self, clip: Clip) -> bool:
        """Whether the task computes a clip."""
        return share_of(clip, self.count) == self.index

    def overlaps(self, other: Task) -> bool:
        """Whether some clip would be both tasks'.

        >>> Task(0, 2).overlaps(Task(2, 4)), Task(0, 2).overlaps(Task(1, 4)), Task(0, 2).overlaps(Task(1, 3))
        (True, False, True)
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


def share_of(clip: Clip, count: int) -> int:
    """A clip -> the index of its task of `count`: by a hash of its id, or of the file that `plan.read_with` names.

    So a recording is decoded by one task for all its clips, and where whole files are mounted does not matter.

    >>> share_of(Clip("dog/1-100032-A", "esc10/dog/1-100032-A.wav"), 3)
    1
    """
    name = plan.read_with(clip) or clip.id
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[-8:], "big") % count
