"""Counts of the workers' progress: each keeps a tally in its own small file, and the command adds them up.

Files, because the in-process runner's workers may be threads or processes and report Beam's counters only at the end.
The tallies are for the eye; totals are computed from what was written.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

FLUSH_S = 0.5


@dataclass
class Counts:
    """The workers' progress so far.

    Attributes:
      clips: clips that ended, written, failed or skipped.
      failed: of these.
      examples: that were embedded.
      audio_s: seconds of audio that were decoded.
    """

    clips: int = 0
    failed: int = 0
    examples: int = 0
    audio_s: float = 0.0

    def __bool__(self) -> bool:
        return self != Counts()

    def of_clips(self, clips: int) -> Counts:
        """The same, of a job that has ended and had so many clips to do: a bundle tried again is counted twice, and a
        recording as often as parts of it fail."""
        return replace(self, clips=clips, failed=min(self.failed, clips))

    def add(self, other: Counts) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class WorkerTally:
    """One worker's counts, written to a file of its own now and then.

    Args:
      directory: where `total` looks; None: nothing is written.
    """

    def __init__(self, directory: str | None) -> None:
        self._counts = Counts()
        self._path = Path(directory) / f"{os.getpid()}-{id(self):x}.json" if directory else None
        self._due = 0.0

    def add(self, clips: int = 0, failed: int = 0, examples: int = 0, audio_s: float = 0.0) -> None:
        self._counts.add(Counts(clips, failed, examples, audio_s))
        if self._path and time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write the file, whole or not at all; a directory that is gone means that nobody looks any more."""
        if not self._path:
            return
        self._due = time.monotonic() + FLUSH_S
        draft = self._path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(asdict(self._counts)))
            draft.replace(self._path)
        except FileNotFoundError:
            self._path = None


def total(directory: str) -> Counts:
    """A folder of tallies -> their sum."""
    result = Counts()
    for path in Path(directory).glob("*.json"):
        try:
            result.add(Counts(**json.loads(path.read_text())))
        except FileNotFoundError:  # cleared away at this moment
            continue
    return result
