"""Places of a job, before it is built: whether workers can see them, and whether buckets are there.

What is found is a `FlagError`: one line that says what is wrong, one that says what to do, exit status 2.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline import storage
from pipeline.errors import FlagError, UserError
from pipeline.running.engines import runners, template
from pipeline.running.engines.runners import Engine

ANYWHERE = "Give gs:// or s3://; or, for a folder that all machines have under this path, add --shared_filesystem"


def look(engine: Engine, places: Iterable[tuple[str, str]], shared: bool = False) -> None:
    """Looks for local paths among places that workers on other machines are to read or write.

    Args:
      engine: whose workers; nothing is looked at where they may be this machine's, nor for a dry run.
      places: what names a place, a flag say, and its path or URI.
      shared: the user says that all machines have the same files under local paths.

    Raises:
      FlagError: workers would not see a place.
    """
    owner = workers_elsewhere(engine)
    if not owner or (shared and owner != _DATAFLOW) or template.is_dry(engine):
        return
    for name, uri in places:
        if storage.is_local(uri):
            remedy = "Copy it to a bucket and give its URI, gs://BUCKET/..." if owner == _DATAFLOW else ANYWHERE
            raise FlagError(f"{name} {uri} is a path of this machine, which {owner} do not see", remedy)


def look_at_temporary(engine: Engine, shared: bool = False) -> None:
    """Looks at --temp_location and --staging_location as `look` does, and whether their buckets are there.

    Raises:
      FlagError: workers would not see them, there is no such bucket, or there are no credentials for it.
    """
    if engine.local or template.is_dry(engine):
        return
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    cloud = engine.options().view_as(GoogleCloudOptions)
    given = [(f"--{name}", getattr(cloud, name)) for name in ("temp_location", "staging_location")]
    places = [(flag, uri) for flag, uri in given if uri]
    look(engine, places, shared)
    for flag, uri in places:
        try:
            storage.expect_bucket(uri)
        except UserError as error:
            raise FlagError(f"{flag}: {error.found}", error.remedy) from error


_DATAFLOW = "Dataflow's workers"


def workers_elsewhere(engine: Engine) -> str:
    """An engine -> who its workers are, if they are certainly on other machines; "" where they may be on this one.

    A service on loopback may have its workers anywhere: the first job finds out (`first_job`).
    """
    name = engine.runner.lower()
    if name == "dataflowrunner":
        return _DATAFLOW
    if engine.here:
        return ""
    address = _service(engine, name)
    return f"the workers of {engine.runner} at {address}" if address and not runners.is_here(address) else ""


def _service(engine: Engine, name: str) -> str:
    """The address of the service that a portable engine's jobs go to; "" for one that it starts here."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PortableOptions, SparkRunnerOptions

    options = engine.options()
    if name == "flinkrunner":
        master = options.view_as(FlinkRunnerOptions).flink_master or ""
        if master not in runners.OWN_FLINK:
            return str(master)
    if name == "sparkrunner":
        spark = options.view_as(SparkRunnerOptions)
        master = spark.spark_rest_url or spark.spark_master_url or ""
        if not master.startswith("local"):
            return str(master)
    return options.view_as(PortableOptions).job_endpoint or ""
