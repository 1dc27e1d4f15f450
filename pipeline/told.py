"""Errors that a user can mend: what was found, and what to do about it."""

from __future__ import annotations


class ToldError(Exception):
    """Something cannot be used as given.

    Attributes:
      found: what is wrong, with the value; no full stop at the end.
      remedy: what to do about it; "" where that is plain.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found, remedy)
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.found}. {self.remedy}" if self.remedy else self.found
