"""The job that an engine was given for an output: a note that outlives the command, `_state/job.json`.

It is written when the engine took the job and removed when the job has ended; of a task of an array it is
`_state/job-1-of-3.json`. Whether a noted job still runs only its engine knows (`pipeline.running.engines.live`).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field

from pipeline import storage
from pipeline.output.layout import STATE, OutputError, explained, files_in, join
from pipeline.output.tasks import Task

_NAME = re.compile(r"job(?:-(\d+)-of-(\d+))?\.json")


@dataclass(frozen=True)
class Submitted:
    """A job that an engine took.

    Attributes:
      runner: Beam's name of the engine.
      id: the engine's name of the job.
      environment: what its workers are, as `Engine.environment`.
      endpoint: HOST:PORT of the job service that knows it; "" where there is none.
      own_service: the service is a process of the command that started the job.
      page: the URL of its page, "" where the engine has none.
      since: when it was taken, Unix time.
      name: the job service's name of it; "" where it has none. Another job may have the same id later.
    """

    runner: str
    id: str
    environment: str = ""
    endpoint: str = ""
    own_service: bool = False
    page: str = ""
    since: float = field(default_factory=time.time)
    name: str = ""

    def __str__(self) -> str:
        return f"{self.id} of {self.runner}" + (f" ({self.page})" if self.page else "")


def uri_of(directory: str, task: Task | None = None) -> str:
    """The note's URI."""
    return join(directory, STATE, f"job-{task.index}-of-{task.count}.json" if task else "job.json")


def write(directory: str, job: Submitted, task: Task | None = None) -> None:
    """Notes a job; raises OutputError where storage fails."""
    with explained(directory, "noting the engine's job"):
        storage.write_atomic(uri_of(directory, task), json.dumps(asdict(job), indent=1).encode())


def remove(directory: str, task: Task | None = None) -> None:
    """Removes a job's note, if there is one; raises OSError where storage fails."""
    storage.delete(uri_of(directory, task))


def noted(directory: str, task: Task | None = None) -> dict[str, Submitted]:
    """The jobs whose notes an output holds, by their notes' URIs: all, or those that share clips with a task.

    Raises:
      OutputError: a note cannot be read.
    """
    found = {}
    with explained(directory, "reading the note of an engine's job"):
        for name in files_in(join(directory, STATE), "job"):
            parts = _NAME.fullmatch(name)
            if not parts or (task and parts[1] and not task.overlaps(Task(int(parts[1]), int(parts[2])))):
                continue
            uri = join(directory, STATE, name)
            try:
                found[uri] = Submitted(**json.loads(storage.read_whole(uri)[0]))
            except FileNotFoundError:  # it ended at this moment
                continue
            except (ValueError, TypeError):
                why = f"{uri} does not say which job an engine was given"
                raise OutputError(why, "If no engine is at work on this output, remove it") from None
    return found
