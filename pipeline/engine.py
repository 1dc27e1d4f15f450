"""Where a graph runs: the runner's name and options -> Beam's, and how many threads and decoders a worker gets."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.flags import FlagError

LOCAL_RUNNERS = ("directrunner", "fnapirunner")
IN_PROCESS = "FnApiRunner"


@dataclass(frozen=True)
class Engine:
    """A runner and what was decided for its workers.

    Attributes:
      runner: Beam's name of it; `DirectRunner` has become the in-process FnApiRunner.
      arguments: Beam's own flags.
      local: True where workers are threads or processes of this machine and nothing is written before all is done.
      workers: worker processes of this machine, where local.
    """

    runner: str
    arguments: tuple[str, ...]
    local: bool
    workers: int

    def describe(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"runner": self.runner, "workers": self.workers}

    def options(self, resource_hints: Sequence[str] = ()) -> Any:
        """Resource hints, over which the user's go -> `PipelineOptions`."""
        from apache_beam.options.pipeline_options import PipelineOptions

        hints = [f"--resource_hint={hint}" for hint in resource_hints]
        return PipelineOptions(["--runner", self.runner, *hints, *self.arguments])


def choose(runner: str, rest: Sequence[str]) -> Engine:
    """The runner asked for and Beam's flags -> the engine.

    `DirectRunner` would first try to download a Go binary and run that; the in-process runner is what it means here.

    Raises:
      FlagError: for a runner that Beam does not have.
    """
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

    known = StandardOptions.KNOWN_RUNNER_NAMES
    if "." not in runner and runner.lower() not in (name.lower() for name in known):
        near = difflib.get_close_matches(runner, known, n=1, cutoff=0.5) or ["DirectRunner"]
        raise FlagError(f"--runner {runner!r} is none of Beam's runners", f"Did you mean {near[0]}?")
    local = runner.lower() in LOCAL_RUNNERS
    direct = PipelineOptions(list(rest)).view_as(DirectOptions)
    processes = direct.direct_running_mode == "multi_processing"
    workers = (direct.direct_num_workers or cores()) if local and processes else 1
    return Engine(IN_PROCESS if local else runner, tuple(rest), local, workers)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_a_worker(engine: Engine) -> int:
    """How many processors one worker process of the engine has for itself."""
    return max(1, cores() // engine.workers)


def told(error: BaseException) -> str:
    """An error, perhaps one that an engine brought back from a worker -> what the step that failed had to say.

    Beam names the step in the message; from worker processes it brings the whole traceback as text.
    """
    text = str(error).strip() or type(error).__name__
    if "Traceback (most recent call last)" in text:
        last = [line for line in text.splitlines() if line and not line[0].isspace()][-1]
        text = re.sub(r"^[\w.]+(Error|Exception|Busy|Differ): ", "", last)
    return re.sub(r"\s*\[while running '[^']*'\]", "", text)


def run(on: Engine, construct: Callable[[Any], Any], resource_hints: Sequence[str] = ()) -> Any:
    """An engine and a function that builds a graph on its argument, the pipeline -> the finished run's result.

    Args:
      on: where.
      construct: gets the pipeline.
      resource_hints: what all steps ask for of a worker, as values of Beam's `--resource_hint`; the user's go first.

    Raises:
      Exception: whatever the engine or a step of the graph raised.
    """
    import apache_beam as beam

    pipeline = beam.Pipeline(options=on.options(resource_hints))
    construct(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    return result
