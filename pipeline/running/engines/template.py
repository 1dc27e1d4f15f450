"""A job written as a template that Dataflow starts later, or with --dry_run only built and described.

A template's job does all that a run does: it ends as a finished data set. Its plan was made when it was written, and
stays until the job has ended, or another command continues the output. The launcher of a flex template has it written
and starts it at once; so where there is nothing to compute it gets a job that computes nothing, since a template that
is launched every night is not to fail in a night without recordings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.formatting import clips
from pipeline.settings import PIECE_S

if TYPE_CHECKING:
    from pipeline.running.engines.runners import Engine
    from pipeline.running.transforms import Commit
    from pipeline.settings import Job, Update
    from pipeline.types import Corpus

RUNNER = "dataflowrunner"
LAUNCHER = "FLEX_TEMPLATE_PYTHON_PY_FILE"
"""Environment variable of a flex template's launcher: Google's name for the program that it starts."""


def asked(engine: Engine) -> bool:
    """Whether the engine's flags ask for a template, or for a dry run."""
    return engine.runner.lower() == RUNNER and (is_dry(engine) or bool(_google(engine).template_location))


def is_dry(engine: Engine) -> bool:
    """Whether they ask for a dry run: the output is not even looked at."""
    if engine.runner.lower() != RUNNER:
        return False
    from apache_beam.options.pipeline_options import TestOptions

    return bool(engine.options().view_as(TestOptions).dry_run)


def write(found: Corpus, job: Job, engine: Engine, update: Update) -> str:
    """The corpus, the job, the engine, and what becomes of what the output holds -> what was done, for the user.

    Raises:
      OutputError: the output cannot be started or continued.
      Exception: whatever Beam raises of the job or its staging.
    """
    from pipeline.output import lock, resume
    from pipeline.output.journal import held
    from pipeline.output.layout import PLAN, join
    from pipeline.running import job as jobs
    from pipeline.running.engines import live
    from pipeline.running.transforms import Commit

    if is_dry(engine):
        part = join(job.output.directory, PLAN, "part-00000.jsonl")
        proto = _construct(job, engine, [part], "dry-run", Commit(0, "")).job.proto_pipeline
        return f"A dry run: the job has {_steps(proto)} steps in {_image(proto)}; nothing was written or started."
    directory, location = job.output.directory, _google(engine).template_location
    live.settle(directory, engine)
    with lock.Lock(directory) as held_lock:
        live.settle(directory, engine, held=True)
        opened = resume.start(directory, job, update.overwrite, engine.describe())
        there = held.files_of(directory, job.fingerprint())
        work = jobs.work_on(job, found, update, there, opened.manifest)
        if work.done:
            nothing = f"{directory} holds all of the corpus: there is nothing to"
            if LAUNCHER not in os.environ:
                return f"{nothing} write a template for."
            _write_to(location, lambda: _run_nothing(engine))
            return f"{nothing} compute. Wrote a job that does nothing: {location}"
        attempt, plan_parts = jobs.write_plan(job, work, opened.manifest, there)
        end = Commit(work.clips_in, held_lock.token, tuple(there.made_with))
        _write_to(location, lambda: _construct(job, engine, plan_parts, attempt, end))
    written = f"for {clips(len(work.clips))}"
    if LAUNCHER in os.environ:
        return f"Wrote the job {written}, which the launcher starts: {location}"
    return (
        f"Wrote the template {location} {written}. Start it, if need be from a copy in gs://:\n"
        f"  gcloud dataflow jobs run NAME --region {_google(engine).region} --gcs-location {location}\n"
        "When that job has succeeded, the data set is finished."
    )


def _write_to(location: str, construct: Callable[[], object]) -> None:
    """Constructs a job, which Beam writes as a template; raises what Beam raises if it did not."""
    before = _version(location)
    try:
        construct()
    except AttributeError:
        # Beam 2.77 writes the template, then asks for the id of the job that there is not.
        if _version(location) in ("", before):
            raise


def _run_nothing(engine: Engine) -> Any:
    """A job of one step, which does nothing -> the runner's result."""
    import apache_beam as beam

    pipeline = beam.Pipeline(options=engine.options())
    _ = pipeline | "Nothing to compute" >> beam.Create([0])
    return pipeline.run()


def _construct(job: Job, engine: Engine, parts: list[str], attempt: str, end: Commit) -> Any:
    """Builds the graph and hands it to the runner -> its result."""
    import apache_beam as beam

    from pipeline.running import transforms
    from pipeline.running.engines import hints
    from pipeline.running.job import row_place

    pipeline = beam.Pipeline(options=engine.options(hints.of(engine)))
    transforms.build(pipeline, parts, job, attempt, row_place(job, engine, PIECE_S, parts), end)
    return pipeline.run()


def _google(engine: Engine) -> Any:
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    return engine.options().view_as(GoogleCloudOptions)


def _version(uri: str) -> str:
    return storage.info(uri).version if storage.exists(uri) else ""


def _steps(proto: Any) -> int:
    return sum(not transform.subtransforms for transform in proto.components.transforms.values())


def _image(proto: Any) -> str:
    from apache_beam.portability.api import beam_runner_api_pb2 as protos

    payloads = [environment.payload for environment in proto.components.environments.values()]
    images = {protos.DockerPayload.FromString(payload).container_image for payload in payloads}
    return ", ".join(sorted(images))
