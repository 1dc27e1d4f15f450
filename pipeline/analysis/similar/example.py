"""What is searched for: a clip of the set by its id, a moment of it, or a file of audio, which is embedded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline import storage
from pipeline.analysis import audio
from pipeline.analysis.similar.table import Table
from pipeline.analysis.sources import MadeDifferentlyError, Source, clips, find
from pipeline.errors import UserError
from pipeline.output import manifest, provenance
from pipeline.running.progress import OnProgress

Kind = Literal["id", "audio"]
SHOWN = 5
"""Times of clips that a message shows."""


class ExampleError(UserError):
    """There is no such example."""


@dataclass(frozen=True, eq=False)
class Example:
    """An example, as it is searched for.

    Attributes:
      kind: "id" of a clip of the set, or "audio".
      name: the id, or the file.
      start_s: where its frames start in the recording.
      frames: float32 or uint8 [k, 128].
      clip: its number in the set; None: it is no clip of it.
    """

    kind: Kind
    name: str
    start_s: float
    frames: np.ndarray
    clip: int | None = None

    def at(self, seconds: float | None, hop_s: float) -> np.ndarray:
        """The frame at a moment of the recording, [1, 128]; None: all frames.

        Raises:
          ExampleError: it has no frame there.
        """
        if not len(self.frames):
            raise ExampleError(f"{self.name} has no frame", "Choose another clip")
        if seconds is None:
            return self.frames
        end_s = self.start_s + len(self.frames) * hop_s
        if not self.start_s <= seconds < end_s:
            raise ExampleError(
                f"{self.name}@{seconds:g}: it has frames from {self.start_s:g} to {end_s:g} s",
                "Choose a moment of them",
            )
        number = min(int((seconds - self.start_s) / hop_s + 1e-6), len(self.frames) - 1)
        return self.frames[number : number + 1]


def split(like: str, known: Callable[[str], bool]) -> tuple[str, float | None]:
    """`NAME` or `NAME@SECONDS` -> the name and the seconds; a name that is known as it stands is meant as it stands."""
    found = re.fullmatch(r"(.+)@(\d+(?:\.\d*)?)", like, re.DOTALL)
    if found is None or known(like):
        return like, None
    return found[1], float(found[2])


def of_set(name: str, seconds: float | None, table: Table, frames: np.ndarray, hop_s: float) -> Example:
    """The clip of a set that has an id and, of several, frames at a moment.

    Args:
      name: the id.
      seconds: in the recording; None: the whole clip.
      table: the set's.
      frames: the set's, [n, 128].
      hop_s: from one frame to the next.

    Raises:
      ExampleError: there is no such clip, or there are several.
    """
    found = [_clip(int(clip), name, table, frames) for clip in table.find(name)]
    if not found:
        raise ExampleError(f"{name} is no file, and no id of the set", "Give an id as the records have it, or audio")
    if seconds is not None and len(found) > 1:
        found = [each for each in found if each.start_s <= seconds < each.start_s + len(each.frames) * hop_s] or found
    if seconds is None and len(found) > 1:
        times = ", ".join(f"{each.start_s:g}" for each in found[:SHOWN]) + (" …" if len(found) > SHOWN else "")
        raise ExampleError(f"{len(found)} clips have the id {name}, at {times} s", f"Name a moment: {name}@SECONDS")
    return found[0]


def _clip(clip: int, name: str, table: Table, frames: np.ndarray) -> Example:
    rows = table.frames_of(clip)
    return Example("id", name, table.start_of(clip), frames[rows.start : rows.stop], clip)


def of_audio(
    uri: str,
    source: Source,
    folder: str,
    checkpoint: str | None = None,
    pca_params: str | None = None,
    on_progress: OnProgress | None = None,
) -> Example:
    """A file of audio -> its frames, embedded as those of a set were.

    Args:
      uri: path or URI.
      source: the set.
      folder: for the file's records; not there yet.
      checkpoint, pca_params: name, path or URI of the weights; None: where the set says that they were.
      on_progress: called with how far it is.

    Raises:
      MadeDifferentlyError: the weights are not those of the set.
      ExampleError: the file has no embedding; says why.
      UserError: the weights are not to be had, or audio is not embedded in this manner.
    """
    from pipeline.running import resolve
    from pipeline.running.engines import runners
    from pipeline.settings import FrontEnd, Job, Output

    made = source.made
    model = resolve.resolve_model(audio.model_of(made, checkpoint, pca_params), runners.choose("DirectRunner", ()))
    job = Job(Output(folder, num_shards=1), model, FrontEnd(made.hop_s))
    if different := provenance.differences(made, provenance.from_manifest(manifest.new(job))):
        flags = " ".join(sorted({f"--{line.partition(' is ')[0]}" for line in different}))
        raise MadeDifferentlyError(
            f"{uri} would be embedded otherwise than {source.name}: {'; '.join(different)}", f"Give its {flags}"
        )
    if len(storage.match(uri)) != 1:
        raise ExampleError(f"{uri} is not one file", "Name a file of audio")
    failures = audio.embed([uri], folder, model, made.hop_s, "pad", on_progress)
    if failures:
        raise ExampleError(f"{uri}: {failures[0]['reason']}: {failures[0]['message']}", "Give other audio")
    embedded = find(folder)
    records = [record for file in embedded.files for record in clips(file)] if embedded else []
    if len(records) != 1:
        raise ExampleError(f"{uri} gives {len(records)} clips", "Name a file of audio")
    return Example("audio", uri, records[0].start_s or 0.0, records[0].values)
