"""Errors as users see them: one line says what is wrong, with the value; one says what to do."""

from __future__ import annotations

import re
import sys
import traceback

from pipeline.engines import engine

_SENTENCE_ENDS = re.compile(r"\.? *\n|\. (?=[A-Z])")


def parts(error: BaseException) -> tuple[str, str]:
    """An error, perhaps one that an engine brought back from a worker -> (what is wrong, what to do or "")."""
    found = getattr(error, "found", "") or getattr(error, "what", "")
    remedy = getattr(error, "remedy", "")
    if found:
        uri = getattr(error, "uri", "")
        return (f"{uri}: {found}" if uri else found), remedy
    # vggish_core's errors, and those that come from workers, are text: a sentence that says what is wrong, then others.
    found, *rest = _SENTENCE_ENDS.split(engine.told(error), maxsplit=1)
    return found, rest[0] if rest else ""


def shown(error: BaseException) -> str:
    """An error -> the lines that are printed of it."""
    found, remedy = (part.strip() for part in parts(error))
    lines = [f"error: {found.removesuffix('.')}"]
    if remedy:
        lines += [f"  {line}" for line in remedy.splitlines()]
        lines[-1] += "" if lines[-1].endswith((".", "?")) else "."
    return "\n".join(lines)


def show(error: BaseException, verbose: bool = False) -> None:
    """Prints an error on standard error, after its traceback if that was asked for."""
    if verbose:
        traceback.print_exception(error)
    print(shown(error), file=sys.stderr)
