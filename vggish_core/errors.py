"""Errors that a user can do something about."""

from __future__ import annotations

import re

_SENTENCE_ENDS = re.compile(r"\.? *\n|\. (?=[A-Z])")


class UserError(Exception):
    """Something cannot be used as given; any other exception is a bug.

    Args:
      found: what is wrong, with the value; what follows its first sentence is the remedy, if none is given.
      remedy: what to do about it; "" where that is plain.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found, remedy)
        if not remedy:
            found, *rest = _SENTENCE_ENDS.split(found, maxsplit=1)
            remedy = rest[0] if rest else ""
        self.found = found.strip().removesuffix(".")
        self.remedy = remedy.strip()

    def __str__(self) -> str:
        return f"{self.found}. {self.remedy}" if self.remedy else self.found
