"""A job's progress: a callback, called from its own thread while the job runs."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pipeline.output.history import SUMS, Log
from pipeline.running import counts
from pipeline.running.counts import Counts
from pipeline.running.engines.runners import Engine
from pipeline.running.engines.watch import Watch

INTERVAL_S = 0.5


@dataclass(frozen=True)
class Progress:
    """A job's progress.

    Attributes:
      clips: that the job has to do.
      done: what workers have done of it; an engine elsewhere tells now and then, or never.
      stage: "planning", "embedding" or "writing shards".
      page: the URL of the job's page, "" where the engine has none.
      working_s: seconds since the engine has the job; 0 before.
    """

    clips: int
    done: Counts
    stage: str
    page: str = ""
    working_s: float = field(default=0.0, compare=False)


OnProgress = Callable[[Progress], None]


class Watched:
    """A job that is watched: where it runs, and what was seen of it.

    Args:
      engine: where it runs.
      clips: that it has to do.
      tell: called with its progress; None: nobody is.
      log: gets its speed.
      tallies: the folder for the tallies of this machine's workers; None for workers elsewhere.
    """

    def __init__(self, engine: Engine, clips: int, tell: OnProgress | None, log: Log | None, tallies: str | None):
        self._watch = Watch()
        self.engine = replace(engine, watch=self._watch)
        self.tallies = tallies
        self._clips = clips
        self._tell = tell
        self._log = log
        self._counts = Counts()
        self._changed = time.monotonic()

    def look(self) -> None:
        """Looks at the job, and says so."""
        found = counts.total(self.tallies) if self.tallies else self._watch.counts() if self._tell else Counts()
        if found != self._counts:
            self._counts, self._changed = found, time.monotonic()
        if self._log and self._watch.began_at:
            self._log.begin(self._watch.began_at)
            if self.tallies:
                self._log.look(sums_of(found))
        if self._tell:
            stage = self._watch.stage
            if stage == "embedding" and 0 < self._clips <= found.clips:
                stage = "writing shards"
            working_s = time.monotonic() - self._watch.began_at if self._watch.began_at else 0.0
            self._tell(Progress(self._clips, found, stage, self._watch.page, working_s))

    def idle_s(self) -> float:
        """Seconds since the last clip was seen to end."""
        return time.monotonic() - self._changed


def sums_of(found: Counts) -> dict[str, float]:
    """Workers' counts -> the same under the names of `history.SUMS`."""
    values = (found.clips, found.failed, found.examples, found.audio_s)
    return dict(zip(SUMS, map(float, values), strict=True))


@contextmanager
def watched(engine: Engine, clips: int, tell: OnProgress | None, log: Log | None = None) -> Iterator[Watched]:
    """Looks at the job every half second within the block, and once at its end; arguments as `Watched`."""
    with tempfile.TemporaryDirectory(prefix="vggish-tallies-") as tallies:
        seen = Watched(engine, clips, tell, log, tallies if engine.local else None)
        stop = threading.Event()

        def report() -> None:
            while True:
                ended = stop.wait(INTERVAL_S)
                seen.look()
                if ended:
                    return

        thread = threading.Thread(target=report, name="progress", daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()
