"""MD5 and SHA-256 of files; those of large ones are kept in the cache directory, so that each content is read once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vggish_core.cache import cache_directory, keep

SETTLED_S = 2.0
"""Seconds after which a file's times tell each change of it: those of file systems are no finer than that."""
LARGE_BYTES = 1 << 20
"""What is smaller is read at each start: it takes a few milliseconds."""
_CHUNK_BYTES = 1 << 22
_File = tuple[str, int, int, int, int]
"""A path, and what a change of content changes: size, modification and status times in ns; and the inode."""


@dataclass(frozen=True)
class Digests:
    """Of one file's, or several files' joined, content, in hexadecimal."""

    md5: str
    sha256: str


def digests(*paths: str | os.PathLike[str]) -> Digests:
    """Digests of the files' content, one after another; computed again only if a file's size, time or inode changed."""
    return _digests(tuple(_file(path) for path in paths))


def _file(path: str | os.PathLike[str]) -> _File:
    found = Path(path).stat()
    return (str(Path(path).absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@lru_cache(maxsize=64)
def _digests(files: Sequence[_File]) -> Digests:
    place = cache_directory() / "digests" / f"{hashlib.sha256(repr(files).encode()).hexdigest()[:32]}.json"
    large = sum(size for _, size, *_ in files) >= LARGE_BYTES
    if large and (known := _known(place)) is not None:
        return known
    began = time.time()
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for path, *_ in files:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                md5.update(chunk)
                sha256.update(chunk)
    found = Digests(md5.hexdigest(), sha256.hexdigest())
    if large and all(began - changed / 1e9 > SETTLED_S for *_, changed, _ in files):
        _keep(place, found)
    return found


def _known(place: Path) -> Digests | None:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        return Digests(str(found["md5"]), str(found["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(place: Path, found: Digests) -> None:
    """Writes what `_known` reads, whole; a cache that cannot be written costs the reading at the next start."""
    with suppress(OSError):
        keep(place, json.dumps({"md5": found.md5, "sha256": found.sha256}).encode())
