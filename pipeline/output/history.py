"""The pieces of each run or task, with their times, for reports. One file per run: `_state/run-TIME-ID.json`.

None of it decides a byte of the output, so it is neither in the manifest nor in what outputs are compared by.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from pipeline import storage
from pipeline.output.layout import STATE, OutputError, explained, files_in, is_history, join
from pipeline.settings import Job


@dataclass(frozen=True)
class Piece:
    """A piece of the work, as committed, or held by a task for the commit of all.

    Attributes:
      at_s: from the run's start to the commit's end, in seconds.
      seconds: what the piece took, its commit included.
      commit_s: of these, the commit.
      clips, failed, examples, audio_seconds: by which the output's totals grew.
      decode_s, inference_s: seconds that decoders and calls of the network took, summed over processes and threads;
        None where the engine does not tell.
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
    """A run, or a task, that kept something.

    Attributes:
      started: UTC, ISO 8601.
      task: "I/N" of an array's task, which commits its pieces with those of the others; "": a whole run.
      setup_s: from its start to the first piece's: listing the corpus, finding weights, loading the model.
      engine: as the manifest describes it.
      decoders, threads: processes that decode and calls of the network at a time, for each worker process; 0: as many
        as it has cores.
      pieces: in order.
    """

    started: str
    setup_s: float
    engine: dict[str, Any]
    decoders: int
    threads: int
    pieces: list[Piece] = field(default_factory=list)
    task: str = ""


class Log:
    """Notes a run's pieces; the file is replaced, whole, after each.

    Args:
      job: what is done.
      engine: as the manifest describes it.
      started: the run's start on the monotonic clock.
      task: see `RunRecord`.
    """

    def __init__(self, job: Job, engine: Mapping[str, Any], started: float, task: str = "") -> None:
        begun = datetime.now(timezone.utc)
        self._started = started
        self._directory = job.output.directory
        self._uri = join(self._directory, f"{STATE}/run-{begun:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}.json")
        self._run = RunRecord(
            begun.isoformat(timespec="seconds"),
            round(time.monotonic() - started, 3),
            dict(engine),
            job.decoding.processes,
            job.model.threads,
            task=task,
        )
        self._worked: dict[str, float] = {}

    def ran(self, result: Any) -> None:
        """An engine's result: what its counters say of the piece that is to be committed next."""
        self._worked = worked(result)

    def committed(self, before: Mapping[str, float], after: Mapping[str, float], start: float, computed: float) -> None:
        """A piece was committed, or held.

        Args:
          before, after: totals of what is kept.
          start, computed: when the piece was begun, and when it was ready to be committed, on the monotonic clock.
        """
        now = time.monotonic()
        grown = {name: after[name] - before[name] for name in after}
        piece = Piece(
            at_s=round(now - self._started, 3),
            seconds=round(now - start, 3),
            commit_s=round(now - computed, 3),
            clips=int(grown["clips_in"]),
            failed=int(grown["failed"]),
            examples=int(grown["examples"]),
            audio_seconds=round(grown["audio_seconds"], 3),
            **self._worked,
        )
        self._worked = {}
        self._run.pieces.append(piece)
        with explained(self._directory, "noting what the piece took"):
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
