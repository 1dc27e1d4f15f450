"""Data sets of ours among listed inputs: their files are left out, so that no output is ever read as input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline import storage
from pipeline.output_names import DATA, MANIFEST, STATE, basename, is_of_an_output, is_parquet

_SHOWN = 3
_BELOW_STATE = f"/{STATE}/"


class DataSets:
    """Tells files of data sets from inputs.

    A folder is a data set if it holds a manifest.json and a folder _state; the output that is being made, as soon as
    it holds either. Recordings in such a folder are inputs like others: files are recognised by the names that outputs
    give them.

    Args:
      output: the folder that is being written to, path or URI; "": there is none.
    """

    def __init__(self, output: str = "") -> None:
        self._known = {storage.absolute(output).rstrip("/"): True} if output else {}
        self._files: dict[str, str] = {}

    def without(self, files: Iterable[storage.FileInfo], whole: bool) -> list[storage.FileInfo]:
        """Files of one listing -> those that are of no data set.

        Args:
          files: with URIs as `storage.match` gives them.
          whole: the listing holds all that is below some folder, so that nothing has to be looked up.
        """
        files = list(files)
        owners = [_owner(file.uri) for file in files]
        stated = {owner for file, owner in zip(files, owners, strict=True) if owner and _BELOW_STATE in file.uri}
        listed = {owner for file, owner in zip(files, owners, strict=True) if owner and basename(file.uri) == MANIFEST}
        for owner in {owner for owner in owners if owner} - self._known.keys():
            self._known[owner] = (owner in listed or (not whole and _has(owner, MANIFEST))) and (
                owner in stated or (not whole and _has(owner, f"{STATE}/"))
            )
        kept = []
        for file, owner in zip(files, owners, strict=True):
            if owner and self._known[owner]:
                self._files[file.uri] = owner
            else:
                kept.append(file)
        return kept

    def notes(self) -> tuple[str, ...]:
        """What was left out, as a line for the user, if anything was."""
        if not self._files:
            return ()
        folders = Counter(self._files.values())
        names = ", ".join(sorted(folders)[:_SHOWN])
        more = f" and {len(folders) - _SHOWN:,} more" if len(folders) > _SHOWN else ""
        count = len(self._files)
        files = f"{count:,} file{'s' if count > 1 else ''} of data set{'s' if len(folders) > 1 else ''}"
        return (f"Left out of the input: {files} {names}{more}.",)


def _owner(uri: str) -> str:
    """A file -> the folder that would be the data set it is of; "" if it is of none by its name."""
    folder, below, _ = uri.partition(_BELOW_STATE)
    if below:
        return folder
    folder, _, name = uri.rpartition("/")
    if is_parquet(name) and basename(folder) == DATA:
        return folder.rpartition("/")[0]
    return folder if is_of_an_output(name) else ""


def _has(folder: str, name: str) -> bool:
    return storage.exists(storage.join(folder, name))


def is_whole(pattern: str, fixed: str) -> bool:
    """Whether a pattern lists everything below its fixed part.

    >>> is_whole("/a", "/a"), is_whole("/a/**", "/a"), is_whole("/a/**/*.wav", "/a")
    (True, True, False)
    """
    return pattern[len(fixed) :].strip("/") in ("", "**")
