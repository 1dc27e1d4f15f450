"""The speed of each run or task over its time, for reports. One file per run: `_state/run-TIME-ID.json`.

None of it decides a byte of the output, so it is neither in the manifest nor in what outputs are compared by.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from math import fsum
from typing import Any

from pipeline import storage
from pipeline.output.layout import STATE, OutputError, explained, files_in, is_history, join
from pipeline.settings import Job

STRETCH_S = 10.0
"""Length of a stretch, at least."""
SHARE = 0.02
"""Its share of the time since the run's start: there are some hundred stretches in a run of any length."""
SUMS = ("clips", "failed", "examples", "audio_seconds")
"""What is summed over a run."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a run's time, and what was done in it.

    Attributes:
      at_s: from the run's start to the stretch's end, in seconds.
      seconds: its length.
      commit_s: of these, after the last clip: the time in which shards were written and committed.
      clips, failed, examples, audio_seconds: that were done.
      decode_s, inference_s: seconds that decoders and calls of the network took, summed over processes and threads, in
        the last stretch for the whole run; None where the engine does not tell.
    """

    at_s: float
    seconds: float
    commit_s: float
    clips: int
    failed: int
    examples: int
    audio_seconds: float
    decode_s: float | None = None
    inference_s: float | None = None


@dataclass
class RunRecord:
    """A run, or a task, that computed something.

    Attributes:
      started: UTC, ISO 8601.
      task: "I/N" of an array's task; "": a whole run.
      setup_s: from its start to the job's: listing the corpus, finding weights, loading the model.
      engine: as the manifest describes it.
      decoders, threads: processes that decode and calls of the network at a time, for each worker process; 0: as many
        as it has cores.
      pieces: stretches of its time, in order.
    """

    started: str
    setup_s: float
    engine: dict[str, Any]
    decoders: int
    threads: int
    pieces: list[Piece] = field(default_factory=list)
    task: str = ""


class Log:
    """Notes a run's stretches; the file is replaced, whole, after each.

    Args:
      job: what is done.
      engine: as the manifest describes it.
      started: the run's start on the monotonic clock.
      task: see `RunRecord`.
    """

    def __init__(self, job: Job, engine: Mapping[str, Any], started: float, task: str = "") -> None:
        begun = datetime.now(timezone.utc)
        self._started = self._last = started
        self._directory = job.output.directory
        self._uri = join(self._directory, f"{STATE}/run-{begun:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}.json")
        self._run = RunRecord(
            begun.isoformat(timespec="seconds"), 0.0, dict(engine), job.decoding.processes, job.model.threads, task=task
        )
        self._sums = dict.fromkeys(SUMS, 0.0)

    def begin(self, at: float) -> None:
        """The engine was given the job at this time of the monotonic clock: what was before is its set-up."""
        if not self._run.setup_s:
            self._last = at
            self._run.setup_s = round(at - self._started, 3)

    @property
    def working_s(self) -> float:
        """Seconds of all stretches."""
        return fsum(piece.seconds for piece in self._run.pieces)

    def look(self, sums: Mapping[str, float]) -> None:
        """How far the job is (`SUMS`); a stretch ends when it is long enough."""
        now = time.monotonic()
        if now - self._last >= max(STRETCH_S, SHARE * (now - self._started)):
            self._add(sums, 0.0)
            with suppress(OSError):  # it is for the eye
                self._write()

    def end(self, sums: Mapping[str, float], idle_s: float, result: Any = None) -> None:
        """The job has ended.

        Args:
          sums: all that it did, by the output.
          idle_s: seconds since the last clip was done.
          result: the engine's, for its counters.

        Raises:
          OutputError: the file cannot be written.
        """
        pieces = self._run.pieces
        if noted := self._sums["audio_seconds"]:  # by the hop, where durations are what counts
            for piece in pieces:
                share = min(1.0, sums["audio_seconds"] / noted)
                pieces[pieces.index(piece)] = replace(piece, audio_seconds=round(piece.audio_seconds * share, 3))
            self._sums["audio_seconds"] = sum(piece.audio_seconds for piece in pieces)
        self._add(sums, idle_s, worked(result) if result is not None else {})
        with explained(self._directory, "noting what the run took"):
            self._write()

    def _add(self, sums: Mapping[str, float], commit_s: float, times: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        grown = {name: sums[name] - self._sums[name] for name in SUMS}
        seconds = now - self._last
        piece = Piece(
            at_s=round(now - self._started, 3),
            seconds=round(seconds, 3),
            commit_s=round(min(commit_s, seconds), 3),
            clips=int(grown["clips"]),
            failed=int(grown["failed"]),
            examples=int(grown["examples"]),
            audio_seconds=round(grown["audio_seconds"], 3),
            **(times or {}),
        )
        self._run.pieces.append(piece)
        self._sums, self._last = {name: sums[name] for name in SUMS}, now

    def _write(self) -> None:
        storage.write_atomic(self._uri, json.dumps(asdict(self._run), indent=1).encode())


def note_unprinted(directory: str, text: str) -> None:
    """Keeps what a finished run could not print, in `_state/unprinted.log`. That it cannot be kept is no failure."""
    line = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} could not be printed:\n{text.rstrip()}\n"
    with suppress(OSError):
        storage.write_atomic(join(directory, f"{STATE}/unprinted.log"), line.encode("utf-8", "backslashreplace"))


def worked(result: Any) -> dict[str, float]:
    """An engine's result -> `decode_s` and `inference_s` of its counters; what it does not tell is left out."""
    names = {("extract", "decode_ms"): "decode_s", ("embed", "inference_ms"): "inference_s"}
    found: dict[str, float] = {}
    try:
        metrics = result.metrics().query()
        for metric in (*metrics["counters"], *metrics["distributions"]):
            name = names.get((metric.key.metric.namespace, metric.key.metric.name))
            value = metric.committed if metric.committed is not None else metric.attempted
            if name and value is not None:
                found[name] = round(found.get(name, 0.0) + getattr(value, "sum", value) / 1000, 3)
    except Exception as error:  # engines differ in what they support; a job that is done must not fail for a figure
        logging.getLogger(__name__).info("the engine does not report its counters: %s", error)
    return found


def read(directory: str) -> list[RunRecord]:
    """An output -> its runs that committed something, the earliest first.

    Raises:
      OutputError: a file is no run's.
    """
    runs = []
    for name in files_in(join(directory, STATE), "run-"):
        if not is_history(name):
            continue
        uri = join(directory, f"{STATE}/{name}")
        with storage.open_read(uri) as file:
            data = file.read()
        try:
            content = json.loads(data)
            runs.append(RunRecord(**{**content, "pieces": [Piece(**piece) for piece in content["pieces"]]}))
        except (ValueError, TypeError, KeyError) as error:
            raise OutputError(f"{uri} does not say what a run took ({error!r})", "Remove it.") from None
    return runs
