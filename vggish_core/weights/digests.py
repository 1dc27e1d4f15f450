"""MD5 and SHA-256 of files, each content read once a process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Digests:
    """Of one file's, or several files' joined, content, in hexadecimal."""

    md5: str
    sha256: str


def digests(*paths: str | os.PathLike[str]) -> Digests:
    """Digests of the files' content, one after another; computed again only if a file's size or time has changed."""
    stats = [Path(path).stat() for path in paths]
    return _digests(
        tuple((os.fspath(path), s.st_size, s.st_mtime_ns, s.st_ino) for path, s in zip(paths, stats, strict=True))
    )


@lru_cache(maxsize=64)
def _digests(files: Sequence[tuple[str, int, int, int]]) -> Digests:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for path, *_ in files:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                md5.update(chunk)
                sha256.update(chunk)
    return Digests(md5.hexdigest(), sha256.hexdigest())
