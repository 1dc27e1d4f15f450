"""How far a command is: its stage from the second second on, then a bar on a terminal, or a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from pipeline.formatting import clips, duration, number_of, times_real_time
from pipeline.running.progress import Progress

LOG_INTERVAL_S = 30.0
"""Between two lines of a stage where the stream is no terminal."""
QUIET_S = 1.0
"""What takes no longer is not spoken of."""
TICK_S = 0.25
WIDTH = 80


class ProgressLine:
    """A live line on a terminal; elsewhere a line at each change of stage and each half minute. A context manager.

    Args:
      mode: "auto", "on" or "off".
      stream: where it is drawn; None: standard error.

    Attributes:
      off: whether nothing is to be drawn.
      seen: how far the job was when it was last looked at; None before.
      kept: says how much of the work is kept, for a command that is stopped; None before there is any.
    """

    def __init__(self, mode: str = "auto", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.off = mode == "off"
        self.seen: Progress | None = None
        self.kept: Callable[[], str] | None = None
        self._live = not self.off and self._stream.isatty()
        self._lock = threading.RLock()
        self._bar: Any = None
        self._page = ""
        self._stage = ""
        self._found = 0
        self._begun = self._start = time.monotonic()
        self._due = self._start + QUIET_S
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="stage", daemon=True)

    def __enter__(self) -> ProgressLine:
        if not self.off:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._clear()

    def stage(self, name: str) -> None:
        """The command begins with something: "listing", say; shown if it takes long, or the command already has."""
        with self._lock:
            self._clear()
            self._stage, self._begun, self._found = name, time.monotonic(), 0
            self._due = max(self._begun, self._start + QUIET_S)

    def count(self, found: int) -> None:
        """So many files are found so far in this stage; to be called at each."""
        self._found = found

    def show(self, progress: Progress) -> None:
        """Draws how far the job is; called twice a second."""
        with self._lock:
            self.seen = progress
            if progress.page and progress.page != self._page:
                self._page = progress.page
                self._print(f"The job's page: {progress.page}")
            if progress.stage != self._stage and not (progress.working_s and self._live):
                self.stage(progress.stage)
            self._stage = progress.stage
            if not progress.working_s:
                return
            if self._live:
                self._draw(progress)
            elif time.monotonic() >= self._due:
                self._print(self.line(progress))
                self._due = time.monotonic() + LOG_INTERVAL_S

    def _tick(self) -> None:
        """Shows the stage meanwhile, in a thread of its own."""
        while not self._ended.wait(TICK_S):
            with self._lock:
                if self._bar is not None or not self._stage or time.monotonic() < self._due:
                    continue
                took = time.monotonic() - self._begun
                text = f"{self._stage}: {number_of(self._found, 'file')}" if self._found else self._stage
                text += f" … {duration(took)}" if took >= 1 else " …"
                if self._live:
                    # The cursor goes back to the line's beginning, for whatever else is printed meanwhile.
                    self._stream.write(f"\r{text[: WIDTH - 1]}\x1b[K\r")
                    self._stream.flush()
                else:
                    self._print(text)
                    self._due = time.monotonic() + LOG_INTERVAL_S

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._clear()
            layout = "{percentage:3.0f}% |{bar}| {desc}"
            self._bar = tqdm(
                total=progress.clips, bar_format=layout, file=self._stream, dynamic_ncols=True, leave=False
            )
        self._bar.n = min(progress.done.clips, progress.clips)
        self._bar.set_description_str(self.line(progress))

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def line(self, progress: Progress) -> str:
        """Progress as one plain line: clips done / all, failed, × real time, stage, time left."""
        return ", ".join([f"{progress.done.clips:,} / {clips(progress.clips)}", *_state(progress)])


def _state(progress: Progress) -> list[str]:
    """What is known of a job beside the number of its clips: the shortest words, for a terminal of 80 columns."""
    done, working_s = progress.done, progress.working_s
    words = [f"{done.failed:,} failed"] if done.failed else []
    if done.audio_s and working_s:
        words.append(times_real_time(done.audio_s / working_s))
    if progress.stage != "embedding":
        words.append(progress.stage)
    elif done.clips:
        words.append(f"{duration(working_s / done.clips * (progress.clips - done.clips))} left")
    return words
