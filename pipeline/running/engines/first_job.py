"""A first, small job: a worker of the engine checks itself before it gets work, and its answer is shown plainly.

What is found is a `FlagError`: one line that says what is wrong, one that says what to do, exit status 2.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from pipeline import storage
from pipeline.errors import FlagError
from pipeline.extras import DISTRIBUTION
from pipeline.output.layout import STATE, join
from pipeline.output.made_with import versions
from pipeline.running.engines import graphs, runners
from pipeline.running.engines.runners import Engine
from pipeline.settings import Job


def ask_worker(engine: Engine, job: Job, inputs: Sequence[str]) -> str:
    """Has a worker of the engine look at versions, weights, inputs and output -> a line about it, for the user.

    Nothing is asked where workers are this machine's own ("" then), and on Dataflow, where a job of one question would
    take minutes: its workers look at their weights when they start.

    Raises:
      FlagError: the worker cannot do the job, or there is none.
    """
    if engine.here or not engine.environment:
        return ""
    import apache_beam as beam

    from pipeline.running.engines import worker_check

    uri = join(job.output.directory, f"{STATE}/worker-{uuid.uuid4().hex}.json")
    question = worker_check.asked(job.model, list(inputs))

    def construct(root: Any) -> None:
        _ = root | "Ask" >> beam.Impulse() | "Answer" >> beam.Map(worker_check.answer, question, uri)

    try:
        graphs.run(engine, construct)
        if not storage.exists(uri):
            raise FlagError(
                f"--output {job.output.directory}: what a worker wrote there does not show here",
                "Name a folder that all machines share, or gs:// or s3://",
            )
        with storage.open_read(uri) as file:
            return worker_check.described(json.loads(file.read()))
    except FlagError:
        raise
    except Exception as error:
        raise _unfit(engine, str(error)) from error
    finally:
        storage.delete(uri)


def _unfit(engine: Engine, text: str) -> FlagError:
    """An engine's message about a question that failed -> the error for the user."""
    if found := re.search(r"UnfitWorkerError: (.+?)(?: \[while running|\\n|\n|$)", text):
        what, _, remedy = found[1].partition(". ")
        return FlagError(what, remedy)
    if found := re.search(r"No module named '((?:pipeline|vggish_core)[.\w]*)'", text):
        lacking = "this package, or another version of it" if "." in found[1] else "this package"
        return FlagError(
            f"the workers of {engine.runner} ({engine.environment}) lack {lacking}: no module {found[1]} there",
            f"Install {DISTRIBUTION} {versions()[DISTRIBUTION]} with its dependencies for the workers' own Python",
        )
    if found := re.search(r"beam:env:process:v1", text):
        return FlagError(
            f"{engine.runner}: this job service cannot start PROCESS workers",
            "Use EXTERNAL; for Python's own job service, --environment_type beam:env:harness_subprocess_python:v1 "
            "--environment_config 'python -m apache_beam.runners.worker.sdk_worker_main'",
        )
    lines = [line.strip() for line in runners.message_of(RuntimeError(text)).splitlines() if line.strip()]
    return FlagError(
        f"{engine.runner} ({engine.environment}) could not do a first, small job: {lines[-1][:300] if lines else text}",
        "Look at the engine's own log; --verbose shows the whole error",
    )
