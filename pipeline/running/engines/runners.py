"""Where a graph runs: the runner's name and options -> Beam's, and what is chosen for its workers."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.errors import FlagError, JobError, UserError
from pipeline.machine import cores
from pipeline.running.engines.watch import Watch

LOCAL_RUNNERS = ("directrunner", "fnapirunner")
IN_PROCESS = "FnApiRunner"
DATAFLOW = "dataflowrunner"
EMBEDDED = "embed"
"""Beam's word, for `--job_endpoint`, for a job service in this very process."""
OWN_FLINK = ("[local]", "[auto]")
"""Values of --flink_master for which Beam starts a Flink in a process of its own."""
ONE_PROCESS = "no_use_multiple_sdk_containers"
"""Dataflow's experiment: one worker process a machine, not one a core."""

_STEP = re.compile(r"\s*\[while running '[^']*'\]")
"""The step of an error, which Beam adds to its message."""
LOST = re.compile("SDK worker disconnected|Channel closed prematurely|Worker subprocess exited|harness.*disconnected")
"""Messages of Prism, Python's job service and Flink about a worker process that is gone."""


@dataclass(frozen=True)
class Engine:
    """A runner and the settings of its workers.

    Attributes:
      runner: Beam's name of it; `DirectRunner` has become the in-process FnApiRunner.
      arguments: Beam's own flags.
      local: True where workers are threads or processes of this machine and nothing is written before all is done.
      workers: worker processes of this machine, where local.
      environment: what a portable engine's workers are: LOOPBACK, EXTERNAL, PROCESS, DOCKER or a URN of Beam.
      processes: True where workers are processes that this one starts (`worker_processes`).
      watch: called with a job's progress.
      called: what the user calls it.
    """

    runner: str
    arguments: tuple[str, ...]
    local: bool
    workers: int
    environment: str = ""
    processes: bool = False
    watch: Watch | None = field(default=None, compare=False, repr=False)
    called: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.called or self.runner

    @property
    def here(self) -> bool:
        """Whether workers are certain to have this machine's processors, and its files."""
        return self.local or self.environment == "LOOPBACK"

    @property
    def outlives(self) -> bool:
        """Whether a job goes on without the command that started it: neither workers nor job service are its own."""
        if self.local or self.environment == "LOOPBACK":
            return False
        if self.runner.lower() == DATAFLOW:
            return True
        from apache_beam.options.pipeline_options import PortableOptions

        return (self.options().view_as(PortableOptions).job_endpoint or EMBEDDED) != EMBEDDED

    def describe(self) -> dict[str, Any]:
        """The engine's entry in the manifest."""
        environment = {"environment": self.environment} if self.environment else {}
        return {"runner": self.runner, "workers": self.workers, **environment}

    def announced(self, decoders: int, threads: int, piece_s: float) -> str:
        """The engine, with the job's own settings (0: each worker's choice) -> a line for the user."""
        where = "" if self.local else f" ({self.environment or 'its own workers'})"
        processes = f"{self.workers} processes" if self.workers > 1 else "one process" if self.here else "each process"
        per = "with " if self.workers == 1 else "each with "
        counts = f"{decoders or 'as many'} decoders, {threads or 'as many'} threads"
        own = "" if decoders and threads else " as it has cores"
        kept = f"finished rows are kept at least every {piece_s:g} s"
        return f"{self}{where}: {processes} {per}{counts}{own} and one model; {kept}"

    def options(self, resource_hints: Sequence[str] = ()) -> Any:
        """Resource hints, over which the user's go -> `PipelineOptions`."""
        from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

        hints = [f"--resource_hint={hint}" for hint in resource_hints]
        options = PipelineOptions(["--runner", self.runner, *hints, *self.arguments])
        if self.processes:
            direct = options.view_as(DirectOptions)
            direct.direct_num_workers = self.workers
            direct.direct_running_mode = None  # "multi_processing" would have Beam start processes for each graph
        return options


class WorkerLostError(JobError):
    """A worker process is gone, and the engine gave the job up.

    Args:
      runner: the engine's.
      said: what it said.
    """

    def __init__(self, runner: str, said: str) -> None:
        super().__init__(
            f"a worker process of {runner} ended in the middle of the job ({said})",
            "Run the same command again: what was finished is kept. If it happens again, check whether the "
            "system ran out of memory: use fewer --decoders and --threads, or a larger machine",
        )


def choose(runner: str, rest: Sequence[str]) -> Engine:
    """The runner asked for and Beam's flags -> the engine.

    `DirectRunner` would first try to download a Go binary and run that; the in-process runner is what it means here.

    Raises:
      FlagError: for a runner that Beam does not have.
    """
    if runner.lower() in LOCAL_RUNNERS and not rest:  # without Beam, which work that is done already does not need
        return Engine(IN_PROCESS, (), True, 1, called=runner)
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

    known = StandardOptions.KNOWN_RUNNER_NAMES
    if "." not in runner and runner.lower() not in (name.lower() for name in known):
        near = difflib.get_close_matches(runner, known, n=1, cutoff=0.5) or ["DirectRunner"]
        raise FlagError(f"--runner {runner!r} is not one of Beam's runners", f"Did you mean {near[0]}?")
    name = runner.lower()
    local = name in LOCAL_RUNNERS
    rest = [_from_home(argument) for argument in rest]
    given = PipelineOptions(list(rest))
    direct = given.view_as(DirectOptions)
    processes = local and direct.direct_running_mode == "multi_processing"
    workers = (direct.direct_num_workers or cores()) if processes else 1
    chosen = tuple(rest) if local else (*rest, *_defaults(name, given))
    environment = "" if local or name == "dataflowrunner" else _environment(name, chosen)
    name_of_beam = IN_PROCESS if local else runner
    return Engine(name_of_beam, chosen, local, workers, environment, processes, called=runner)


def _from_home(argument: str) -> str:
    """An argument of Beam's, of which none else begins so -> the same, with the home folder for `~`.

    >>> _from_home("--temp_location=tmp"), _from_home("--temp_location=./~")
    ('--temp_location=tmp', '--temp_location=./~')
    """
    flag, equals, value = argument.partition("=")
    if flag.startswith("--"):
        return flag + equals + storage.local_path(value)
    return storage.local_path(argument)


def _defaults(name: str, given: Any) -> list[str]:
    """A portable runner's name and the options given -> the flags that are added to them."""
    from apache_beam.options.pipeline_options import DebugOptions, PortableOptions

    portable, experiments = given.view_as(PortableOptions), given.view_as(DebugOptions).experiments or []
    added = []
    if name == "dataflowrunner" and not any("use_multiple_sdk_containers" in each for each in experiments):
        added += ["--experiments", ONE_PROCESS]
    in_reach = name == "prismrunner" or (name == "portablerunner" and is_here(portable.job_endpoint or ""))
    if in_reach and not portable.environment_type:
        added += ["--environment_type", "LOOPBACK"]
    return added


def _environment(name: str, arguments: Sequence[str]) -> str:
    """A portable runner's name and Beam's flags -> what the worker processes are, as Beam will take it."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

    options = PipelineOptions(list(arguments))
    own_flink = name == "flinkrunner" and options.view_as(FlinkRunnerOptions).flink_master in OWN_FLINK
    return options.view_as(PortableOptions).environment_type or ("LOOPBACK" if own_flink else "DOCKER")


def is_here(address: str) -> bool:
    """Whether HOST:PORT is of this machine's loopback; Beam's "embed" is a job service in this very process."""
    if address == "embed":
        return True
    host = address.partition("://")[2] or address
    return host.rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1")


def cores_a_worker(engine: Engine) -> int:
    """The number of processors for one worker process of the engine; 0: each worker finds out."""
    return max(1, cores() // engine.workers) if engine.here else 0


def message_of(error: BaseException) -> str:
    """An error, perhaps from an engine's worker -> the failed step's message."""
    text = _last_line(error) or type(error).__name__
    return re.sub(r"^[\w.]+(Error|Exception|Busy|Differ): ", "", text)


def _last_line(error: BaseException) -> str:
    """An error's text; of a traceback, which Beam brings from worker processes, the last line."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = [line for line in text.splitlines() if line and not line[0].isspace()][-1]
    return _STEP.sub("", text)


def explained(error: BaseException) -> BaseException:
    """An error from an engine -> a `JobError`, if a step had raised an error for the user; else itself."""
    if isinstance(error, JobError):
        return error
    if isinstance(error, UserError):
        return JobError(_STEP.sub("", error.found), _STEP.sub("", error.remedy))
    raised, _, message = _last_line(error).partition(": ")
    module, _, name = raised.rpartition(".")
    kind = getattr(sys.modules.get(module or "builtins"), name, None)
    if isinstance(kind, type) and issubclass(kind, UserError | OSError):
        return JobError(message)
    return error
