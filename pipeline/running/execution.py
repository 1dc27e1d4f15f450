"""The execution of work on an output: where, how it is watched, and how its errors become those of a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.decoding import decoders
from pipeline.errors import FlagError, JobError, UserError
from pipeline.output.at_work import submitted
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.history import Log
from pipeline.output.tasks import Task
from pipeline.output.work import Work
from pipeline.running import job as jobs
from pipeline.running.engines import graphs, hints, live
from pipeline.running.engines.runners import Engine
from pipeline.running.progress import OnProgress, Watched, watched
from pipeline.settings import PIECE_S, Job

if TYPE_CHECKING:
    from pipeline.running.transforms import Commit


@contextmanager
def begun() -> Iterator[None]:
    """Errors of users, files and the system that end the block become `JobError`s: the work was begun.

    Raises:
      JobError: with the cause's own words.
    """
    try:
        yield
    except (JobError, FlagError):
        raise
    except UserError as error:
        raise JobError(error.found, error.remedy) from error
    except OSError as error:
        raise JobError(str(error) or type(error).__name__) from error


@dataclass(frozen=True)
class Execution:
    """The execution of work; changes no bytes.

    Attributes:
      engine: where.
      piece_s: what a kill may cost, in seconds of work.
      tell: called with how far the job is; None: nobody is.
      log: notes the run's speed.
      restart: a job that an engine still does for the output is cancelled first.
    """

    engine: Engine
    piece_s: float = PIECE_S
    tell: OnProgress | None = None
    log: Log | None = None
    restart: bool = False

    @contextmanager
    def watched(self, work: Work) -> Iterator[Watched]:
        """The job that does some work is watched within the block."""
        with watched(self.engine, len(work.clips) + len(work.failures), self.tell, self.log) as seen:
            yield seen

    @decoders.kept()
    def run(
        self,
        job: Job,
        plan_parts: Sequence[str],
        attempt: str,
        seen: Watched,
        end: Commit | None = None,
        task: Task | None = None,
    ) -> Any:
        """Runs the graph -> the engine's result.

        Args:
          job: the settings.
          plan_parts: URIs of the plan's files.
          attempt: names what is staged.
          seen: the job as it is watched.
          end: what the commit needs to know; None: nothing is committed.
          task: of an array, whose share it is; None: all.

        Raises:
          JobError: the engine, or a step, failed.
          KeyboardInterrupt: of a job that an engine had: says what has become of it.
        """
        from pipeline.running import transforms

        place = jobs.row_place(job, seen.engine, self.piece_s, plan_parts)

        def attended(engine: Engine, result: Any) -> AbstractContextManager[None]:
            return live.noted(job.output.directory, engine, result, plan_parts, task)

        with begun():
            return graphs.run(
                seen.engine,
                lambda root: transforms.build(root, plan_parts, job, attempt, place, end, seen.tallies),
                hints.of(seen.engine),
                attended,
            )

    @decoders.kept()
    def submit(self, job: Job, plan_parts: Sequence[str], attempt: str, end: Commit) -> Submitted:
        """As `run`, of an engine that goes on alone -> the job that it took, which commits itself.

        Raises:
          JobError: the engine did not take it.
        """
        from pipeline.running import transforms

        directory, place = job.output.directory, jobs.row_place(job, self.engine, self.piece_s, plan_parts)
        with begun():
            result = graphs.submit(
                self.engine,
                lambda root: transforms.build(root, plan_parts, job, attempt, place, end),
                hints.of(self.engine),
            )
            taken = live.taken(self.engine, result)
            submitted.write(directory, taken)
        if live.is_over(taken, live.state_of(result)):  # before there was a note that its end could remove
            storage.delete(submitted.uri_of(directory))
        return taken
