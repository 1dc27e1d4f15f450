"""What is shown while a job runs on this machine: workers keep tallies in small files, the command adds them up.

Files, because the in-process runner's workers may be threads or processes and report Beam's counters only at the end.
The tallies are for the eye; totals are computed from what was written.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pipeline.engines.watch import Watch

FLUSH_S = 0.5
LOG_INTERVAL_S = 30.0


@dataclass
class Counts:
    """What workers have done so far.

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

    def add(self, other: Counts) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Tally:
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
        except FileNotFoundError:  # a worker of the last piece, cleared away at this moment
            continue
    return result


class ProgressLine:
    """A live bar on a terminal, a plain line every half minute elsewhere; a context manager around the run.

    Args:
      clips: how many the run will end.
      counts: called for the sum so far.
      mode: "auto", "on" or "off".
      stream: where it is drawn; None: standard error.
      watch: the job's stage, and its page, which is told once.
    """

    def __init__(
        self,
        clips: int,
        counts: Callable[[], Counts],
        mode: str = "auto",
        stream: TextIO | None = None,
        watch: Watch | None = None,
    ) -> None:
        stream = stream or sys.stderr
        self._clips = clips
        self._counts = counts
        self._watch = watch
        self._page = ""
        self._live = mode != "off" and stream.isatty()
        self._off = mode == "off"
        self._stream = stream
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._start = time.monotonic()

    def __enter__(self) -> ProgressLine:
        self._start = time.monotonic()
        if not self._off:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if not self._off:
            self._thread.join()

    def _run(self) -> None:
        if self._live:
            self._draw()
        else:
            due = time.monotonic() + LOG_INTERVAL_S
            while not self._stop.wait(min(FLUSH_S, LOG_INTERVAL_S)):
                if page := self._new_page():
                    print(page, file=self._stream, flush=True)
                if time.monotonic() >= due:
                    print(self.line(self._counts()), file=self._stream, flush=True)
                    due += LOG_INTERVAL_S

    def _draw(self) -> None:
        from tqdm import tqdm

        layout = "{percentage:3.0f}% |{bar}| {n_fmt} / {total_fmt} clips{postfix} [{elapsed} < {remaining}]"
        with tqdm(total=self._clips, bar_format=layout, file=self._stream, dynamic_ncols=True, leave=False) as bar:
            while True:
                ended = self._stop.wait(0.5)
                counts = self._counts()
                if page := self._new_page():
                    bar.write(page, file=self._stream)
                bar.n = min(counts.clips, self._clips)
                bar.set_postfix_str(self._rates(counts), refresh=True)
                if ended:
                    return

    def _new_page(self) -> str:
        """A line with the URL of a job's page, if it was not told yet."""
        page = self._watch.page if self._watch else ""
        if page == self._page:
            return ""
        self._page = page
        return f"The job's page: {page}" if page else ""

    def line(self, counts: Counts) -> str:
        """The counts as one plain line: clips done / all, failed, × real time, stage, time left."""
        elapsed = time.monotonic() - self._start
        left = elapsed / counts.clips * (self._clips - counts.clips) if counts.clips else float("inf")
        return f"{counts.clips:,} / {self._clips:,} clips, {self._rates(counts)}, {duration(left)} left"

    def _rates(self, counts: Counts) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        stage = f", {self._watch.stage}" if self._watch else ""
        return f"{counts.failed:,} failed, {counts.audio_s / elapsed:,.0f} × real time{stage}"


def duration(seconds: float) -> str:
    """Seconds -> a time for people.

    >>> duration(42), duration(3725), duration(float("inf"))
    ('42 s', '1 h 2 min', 'unknown time')
    """
    if seconds == float("inf"):
        return "unknown time"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {s} s" if minutes else f"{s} s"
