"""Files of a listing that the user leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pipeline import storage
from pipeline.storage.globs import compile_glob


class Exclusion:
    """Globs of files to leave out, and how many each has left out.

    A glob is matched against a file's path below the fixed part of the pattern that lists it, which its id is made of,
    and against the folders in that path: what is in a folder that matches is left out. Without a slash it is matched
    against each of their names. One that begins with a slash, or with a scheme, is matched against whole paths or URIs.

    Args:
      globs: with `*`, `?`, `[..]` and `**`, as `storage.match` takes them.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self._globs = {glob: _matcher(glob) for glob in globs}
        self._counts: Counter[str] = Counter()

    def without(self, files: Iterable[storage.FileInfo], below: int) -> list[storage.FileInfo]:
        """Files of a listing, and the length of what their paths are below of -> those that are not left out."""
        if not self._globs:
            return list(files)
        return [file for file in files if not self.leaves_out(file.uri, file.uri[below:])]

    def leaves_out(self, uri: str, path: str) -> bool:
        """Whether a file is left out, by its URI and its path below what is listed; counts it."""
        glob = next((glob for glob, matches in self._globs.items() if matches(uri, path)), None)
        if glob is not None:
            self._counts[glob] += 1
        return glob is not None

    def notes(self) -> tuple[str, ...]:
        """How many files were left out, as a line for the user, if any might have been."""
        if not self._globs:
            return ()
        total = self._counts.total()
        each = ", ".join(f"{self._counts[glob]:,} by {glob!r}" for glob in self._globs)
        return (f"Left out by --exclude: {total:,} file{'s' if total != 1 else ''} ({each}).",)


def _matcher(glob: str) -> Callable[[str, str], bool]:
    """A glob -> whether it leaves out a file, by its URI and its path below the listing's top."""
    whole = glob.startswith(("/", "~")) or not storage.is_local(glob)
    pattern = storage.absolute(glob) if whole else glob
    pattern = pattern.rstrip("/")
    if not whole:
        pattern = pattern.removeprefix("./")
        pattern = pattern if "/" in pattern else f"**/{pattern}"
    compiled = compile_glob(pattern)

    def matches(uri: str, path: str) -> bool:
        path = uri if whole else path
        end = len(path)
        while end > 0:
            if compiled.matches(path[:end]):
                return True
            end = path.rfind("/", 0, end)
        return False

    return matches
