"""Errors as users see them: one line says what is wrong, with the value; one says what to do."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from pipeline.errors import UserError, exit_code
from pipeline.extras import missing_package


def parts(error: BaseException) -> tuple[str, str]:
    """An error -> (what is wrong, what to do or "")."""
    if isinstance(error, UserError):
        return error.found, error.remedy
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return (f"{error.filename}: {reason}" if error.filename else reason).removesuffix("."), ""
    if isinstance(error, MemoryError):
        return "there is not enough memory", "Use fewer --decoders and --threads, or a larger machine"
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__
    return (
        f"a bug in this program: {what}{_place(error)}",
        "Run the same command again with --verbose and report what it shows",
    )


def _place(error: BaseException) -> str:
    """Where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def shown(error: BaseException) -> str:
    """An error -> the lines that are printed of it."""
    found, remedy = (part.strip() for part in parts(error))
    lines = [f"error: {found.removesuffix('.')}"]
    if remedy:
        lines += [f"  {line}" for line in remedy.splitlines()]
        lines[-1] += "" if lines[-1].endswith((".", "?")) else "."
    return "\n".join(lines)


def show(error: BaseException, verbose: bool = False) -> int:
    """Prints an error on standard error, after its traceback if that was asked for -> the program's exit status."""
    if verbose:
        traceback.print_exception(error)
    error = missing_package(error) or error
    print(shown(error), file=sys.stderr)
    return exit_code(error)
