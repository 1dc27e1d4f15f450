"""Progress while a job runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from pipeline.formatting import duration
from pipeline.running.progress import Progress

LOG_INTERVAL_S = 30.0


class ProgressLine:
    """A live bar on a terminal, a plain line every half minute elsewhere; a context manager around the run.

    Args:
      mode: "auto", "on" or "off".
      stream: where it is drawn; None: standard error.

    Attributes:
      off: whether nothing is to be drawn.
    """

    def __init__(self, mode: str = "auto", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.off = mode == "off"
        self._live = not self.off and self._stream.isatty()
        self._bar: Any = None
        self._page = ""
        self._start = time.monotonic()
        self._due = self._start + LOG_INTERVAL_S

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Draws how far the job is; called twice a second."""
        if progress.page and progress.page != self._page:
            self._page = progress.page
            self._print(f"The job's page: {progress.page}")
        if self._live:
            self._draw(progress)
        elif time.monotonic() >= self._due:
            self._print(self.line(progress))
            self._due += LOG_INTERVAL_S

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm

            layout = "{percentage:3.0f}% |{bar}| {n_fmt} / {total_fmt} clips{postfix} [{elapsed} < {remaining}]"
            self._bar = tqdm(
                total=progress.clips, bar_format=layout, file=self._stream, dynamic_ncols=True, leave=False
            )
        self._bar.n = min(progress.done.clips, progress.clips)
        self._bar.set_postfix_str(self._rates(progress), refresh=True)

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def line(self, progress: Progress) -> str:
        """Progress as one plain line: clips done / all, failed, × real time, stage, time left."""
        elapsed, done = time.monotonic() - self._start, progress.done.clips
        left = elapsed / done * (progress.clips - done) if done else float("inf")
        return f"{done:,} / {progress.clips:,} clips, {self._rates(progress)}, {duration(left)} left"

    def _rates(self, progress: Progress) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        return f"{progress.done.failed:,} failed, {progress.done.audio_s / elapsed:,.0f} × real time, {progress.stage}"
