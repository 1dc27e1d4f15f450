"""The execution of work on an output: where, in pieces of which length, and who follows its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import JobError, UserError
from pipeline.output.history import Log
from pipeline.output.manifest import Manifest
from pipeline.output.work import Work
from pipeline.running import job as jobs
from pipeline.running.engines.runners import Engine
from pipeline.running.progress import OnProgress, watched
from pipeline.settings import PIECE_S, Job


@contextmanager
def begun() -> Iterator[None]:
    """Errors of users, files and the system that end the block become `JobError`s: the work was begun.

    Raises:
      JobError: with the cause's own words.
    """
    try:
        yield
    except JobError:
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
      piece_s: how long a piece is to take, where work is cut into pieces.
      tell: called with how far the job is; None: nobody is.
      log: notes what each piece took.
    """

    engine: Engine
    piece_s: float = PIECE_S
    tell: OnProgress | None = None
    log: Log | None = None

    def carry_out(
        self, job: Job, work: Work, manifest: Manifest, confirm: Callable[[], None], keep: jobs.Keep | None = None
    ) -> None:
        """Does the work piece by piece; arguments as `pipeline.running.job.execute`; raises JobError."""
        with begun(), watched(self.engine, len(work.clips), self.tell) as (engine, tallies):

            def committing() -> None:
                assert engine.watch is not None
                engine.watch.committing()
                confirm()

            jobs.execute(job, work, engine, manifest, tallies, self.piece_s, committing, self.log, keep)
