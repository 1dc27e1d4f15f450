"""Errors for users, and the exit codes that they end programs with."""

from __future__ import annotations

from vggish_core.errors import UserError

__all__ = ["FAILED", "OK", "UNUSABLE", "FlagError", "JobError", "UserError", "exit_code"]

OK = 0
FAILED = 1
"""The job stopped before its end, more clips failed than are allowed, or a bug."""
UNUSABLE = 2
"""Flags, inputs or an output cannot be used as given: nothing was begun."""


class FlagError(UserError):
    """A flag or a setting cannot be used."""


class JobError(UserError):
    """A job that stopped before its end; what was finished is kept."""


def exit_code(error: BaseException) -> int:
    """An error that ends a program -> the program's exit code."""
    return UNUSABLE if isinstance(error, UserError | OSError) and not isinstance(error, JobError) else FAILED
