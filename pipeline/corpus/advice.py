"""A pattern that matches nothing -> what is there instead."""

from __future__ import annotations

import difflib
from pathlib import Path

from pipeline import storage
from pipeline.corpus.tables import SourceError
from pipeline.storage.globs import is_glob

_SHOWN = 3


def why_nothing_matches(pattern: str) -> SourceError:
    """The error for a pattern without a match: how far its path exists, and similar names there."""
    if not storage.is_local(pattern):
        return SourceError(
            f"nothing matches {pattern}",
            f"Check that the bucket exists, that you may list it, and what lies below {storage.fixed_part(pattern)}",
        )
    folder = Path(storage.local_path(pattern))
    while not folder.is_dir():
        folder, missing = folder.parent, folder.name
        if folder.is_dir():
            break
    else:
        return SourceError(f"nothing matches {pattern}: the folder holds no file", "Name the folder of the audio")
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not names:
        found = f"{folder} is empty"
    elif is_glob(missing):
        found = f"{folder} holds {len(names)} others, {_some(names)}"
    else:
        near = difflib.get_close_matches(missing, names, n=_SHOWN, cutoff=0.5)
        found = f"{folder} has no {missing!r}" + (f", but {_some(near)}" if near else f"; it holds {_some(names)}")
    return SourceError(f"nothing matches {pattern}: {found}", "Check the path; quote patterns, and use ** to recurse")


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
