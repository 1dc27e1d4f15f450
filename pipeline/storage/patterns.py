"""Patterns of files: the files that one stands for, and the folder below which these differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.storage.backends import Files, at
from pipeline.storage.errors import StorageError
from pipeline.storage.globs import below, compile_glob, is_glob
from pipeline.storage.info import FileInfo
from pipeline.storage.uris import SCHEME, folder_of, is_local, parent


def match(
    pattern: str, closed: list[StorageError] | None = None, tell: Callable[[int], object] | None = None
) -> list[FileInfo]:
    """The files that a pattern stands for, sorted by URI; none is no error.

    A pattern is a file, a folder (everything below it) or has `*`, `?`, `[..]` within a level and `**` across levels
    (`**/` is zero or more folders). What exists as it stands is meant as it stands, whatever characters its name holds;
    so is each leading part. Folders and hidden names (a leading dot) below the fixed part are left out.

    Args:
      pattern: path or URI, with or without patterns.
      closed: takes the errors about folders below the fixed part that may not be listed; None: they are raised.
      tell: called with the number of files found so far, at each of them.

    Raises:
      StorageError: a folder cannot be listed.
    """
    files, top, rest = _resolve(pattern)
    if rest:
        found = files.walk(top, compile_glob(rest), closed)
    else:
        kind = files.kind(top)
        if kind == "file":
            return [_listed(files, top)]
        found = files.walk(top, compile_glob("**"), closed) if kind == "folder" else iter(())
    return sorted(_counted(found, tell) if tell else found, key=lambda file: file.uri)


def _counted(found: Iterator[FileInfo], tell: Callable[[int], object]) -> Iterator[FileInfo]:
    for number, file in enumerate(found, 1):
        tell(number)
        yield file


def named_by(pattern: str) -> Callable[[str], bool]:
    """A pattern -> whether it stands for a file, if there is one: a function of paths or URIs as `match` gives them."""
    files, top, rest = _resolve(pattern)
    if not rest:
        if files.kind(top) != "folder":
            return lambda uri: uri == top
        rest = "**"
    start = below(top) if not is_local(top) else top if not top or top.endswith("/") else f"{top}/"
    glob = compile_glob(rest)
    return lambda uri: uri.startswith(start) and glob.matches(uri[len(start) :])


def fixed_part(pattern: str) -> str:
    """The folder below which a pattern's matches differ: ids of clips are paths below it. No slash at its end.

    >>> fixed_part("gs://bucket/a/**/*.wav"), fixed_part("/a/b*/c"), fixed_part("*.wav")
    ('gs://bucket/a', '/a', '')
    """
    files, top, rest = _resolve(pattern)
    if rest or files.kind(top) == "folder":
        return top if is_local(top) else folder_of(below(top)[:-1])
    return parent(top)


def _resolve(pattern: str) -> tuple[Files, str, str]:
    """A pattern -> its storage, the leading part that is meant as it stands, the rest ("": nothing)."""
    files, path = at(pattern)
    if scheme := SCHEME.match(path):
        return _resolve_key(files, scheme[0], path)
    head = "/" if path.startswith("/") else ""
    parts = [part for part in path[len(head) :].split("/") if part]
    for position, part in enumerate(parts):
        if not is_glob(part):
            continue
        literal = head + "/".join(parts[: position + 1])
        if not part.strip("*") or files.kind(literal) is None:
            return files, head + "/".join(parts[:position]), "/".join(parts[position:])
    return files, head + "/".join(parts), ""


def _resolve_key(files: Files, head: str, pattern: str) -> tuple[Files, str, str]:
    """As `_resolve`, of a store in which every character of a name counts."""
    parts = pattern[len(head) :].split("/")
    for position, part in enumerate(parts[1:], 1):
        if not is_glob(part):
            continue
        literal = head + "/".join(parts[: position + 1])
        if not part.strip("*") or files.kind(literal) is None:
            rest = "/".join(parts[position:]).removesuffix("/")
            return files, folder_of(head + "/".join(parts[:position])), rest
    return files, pattern, ""


def _listed(files: Files, path: str) -> FileInfo:
    """Like `info`; a link that leads nowhere is a file of no size."""
    try:
        return files.info(path)
    except StorageError:
        return FileInfo(path, 0, "")
