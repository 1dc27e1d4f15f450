"""Audio that a list names without a path: among the files of --input, or in the folders where its data set has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline import storage
from pipeline.corpus.ids import id_of
from pipeline.corpus.not_audio import says_no_audio
from pipeline.corpus.tables import RowError
from pipeline.types import Clip


class Audio:
    """Files by name, with and without extension.

    Args:
      inputs: the files of --input; none: the folders are looked at.
      folders: in which the audio may be, the likeliest first.
    """

    def __init__(self, inputs: Sequence[Clip] = (), folders: Sequence[str] = ()) -> None:
        self._inputs = inputs
        self._folders = folders
        self._files: dict[str, str] | None = None
        self._shared: dict[str, str] = {}

    def look_also(self, *folders: str) -> None:
        """Adds folders, once the list has said of which data set it is."""
        self._folders = (*self._folders, *folders)

    def get(self, name: str) -> str:
        """A name -> the file's URI, "" for none; raises RowError where two files are called so."""
        if self._files is None:
            self._files = {}
            for uri in self._uris():
                self._add(uri)
        if name in self._shared:
            found = f"two files are called {name}: {self._files[name]} and {self._shared[name]}"
            raise RowError(found, "Give a pattern that matches only one of them")
        return self._files.get(name, "")

    def find(self, *names: str, clip_id: str = "") -> str:
        """Names, the likeliest first -> the file's URI.

        Raises:
          RowError: there is none; named by the clip's id.
        """
        if uri := next(filter(None, map(self.get, names)), ""):
            return uri
        where = "no input" if self._inputs else f"no file in {' or '.join(self._folders)}"
        remedy = "Name the folder of the audio with --input"
        raise RowError(f"{where} is called {names[0]}", remedy, "no_audio", clip_id)

    def _uris(self) -> Iterable[str]:
        if self._inputs:
            return (clip.uri for clip in self._inputs)
        found: dict[str, str] = {}
        for folder in self._folders:
            for file in storage.list_folder(folder):
                found.setdefault(file.uri.rpartition("/")[2], file.uri)  # the likeliest folder has it
        return found.values()

    def _add(self, uri: str) -> None:
        assert self._files is not None
        name = uri.rpartition("/")[2]
        if says_no_audio(name):
            return
        for each in {name, id_of(name)}:
            if self._files.setdefault(each, uri) != uri:
                self._shared[each] = uri
