"""A job's progress: a callback, called from its own thread while the job runs."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

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
      stage: "planning", "embedding" or "committing".
      page: the URL of the job's page, "" where the engine has none.
    """

    clips: int
    done: Counts
    stage: str
    page: str = ""


OnProgress = Callable[[Progress], None]


@contextmanager
def watched(engine: Engine, clips: int, tell: OnProgress | None) -> Iterator[tuple[Engine, str | None]]:
    """Calls `tell` every half second within the block, and once at its end.

    Args:
      engine: where the job runs.
      clips: that it has to do.
      tell: what is called; None: nothing.

    Yields:
      The engine to run it on, and the folder for the tallies of this machine's workers, None for workers elsewhere.
    """
    seen = Watch()
    with tempfile.TemporaryDirectory(prefix="vggish-tallies-") as tallies:
        folder = tallies if engine.local else None
        stop = threading.Event()

        def report() -> None:
            assert tell is not None
            while True:
                ended = stop.wait(INTERVAL_S)
                done = counts.total(folder) if folder else seen.counts()
                tell(Progress(clips, done, seen.stage, seen.page))
                if ended:
                    return

        thread = threading.Thread(target=report, name="progress", daemon=True) if tell else None
        if thread:
            thread.start()
        try:
            yield replace(engine, watch=seen), folder
        finally:
            stop.set()
            if thread:
                thread.join()
