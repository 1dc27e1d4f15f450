"""Jobs on portable engines: each gets a name of its own, and what its service says of it is kept.

Beam calls all jobs "job", starts job services at ports that it does not tell, and keeps the ids of jobs for itself.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import Any

from pipeline.running.engines.runners import EMBEDDED, Engine

ASK_S = 10.0
"""How long a job service has to answer."""

_log = logging.getLogger(__name__)
_prism_port: list[int] = []
"""Of the Prism that Beam starts once in a process, for all graphs."""


@dataclass
class Handed:
    """A job that is handed to a portable engine.

    Attributes:
      endpoint: HOST:PORT of its service; "" for one in this process.
      own: the service is this process's, or a process that it starts.
      id: the service's name of the job, "" before it has one.
      name: as the service shows it, "" where it does not: services that are started again give the same ids again.
    """

    endpoint: str
    own: bool
    id: str = ""
    name: str = ""


def runner_of(engine: Engine, options: Any) -> tuple[Any, Handed | None]:
    """An engine and the job's `PipelineOptions` -> its runner, and what will be known of the job; None of others.

    Options of a job service that Beam is to start get its port.
    """
    from apache_beam.options.pipeline_options import JobServerOptions, PortableOptions
    from apache_beam.runners.portability.portable_runner import PortableRunner
    from apache_beam.runners.runner import create_runner

    runner = create_runner(engine.runner)
    if not isinstance(runner, PortableRunner):
        return runner, None
    endpoint = options.view_as(PortableOptions).job_endpoint or ""
    if endpoint and endpoint != EMBEDDED:
        handed = Handed(endpoint, own=False)
    elif endpoint:
        handed = Handed("", own=True)
    else:
        server = options.view_as(JobServerOptions)
        server.job_port = server.job_port or _port(engine)
        handed = Handed(f"localhost:{server.job_port}", own=True)
    _tell(runner, handed)
    return runner, handed


def _port(engine: Engine) -> int:
    """A port that is free, chosen as Beam does; the same for all graphs of a process on Prism."""
    from apache_beam.utils.subprocess_server import pick_port

    if engine.runner.lower() != "prismrunner":
        return int(pick_port(None)[0])
    if not _prism_port:
        _prism_port.extend(pick_port(None))
    return _prism_port[0]


def _tell(runner: Any, handed: Handed) -> None:
    """Has a runner submit its job under a name of its own, and keep in `handed` what the service says of it."""
    from apache_beam.portability.api import beam_job_api_pb2 as api
    from apache_beam.portability.api import beam_job_api_pb2_grpc as services

    create = runner.create_job_service_handle

    def created(service: Any, options: Any) -> Any:
        if handed.own and not isinstance(service, services.JobServiceStub):
            handed.endpoint = ""  # Beam's services of Flink's and Spark's REST interfaces are in this process
        handle = create(service, options)
        submit = handle.submit

        def prepare(graph: Any) -> Any:
            request = api.PrepareJobRequest(
                job_name=f"vggish-{uuid.uuid4().hex[:12]}",
                pipeline=graph,
                pipeline_options=handle.get_pipeline_options(),
            )
            return service.Prepare(request, timeout=handle.timeout)

        def submitted(graph: Any) -> Any:
            handed.id, *streams = submit(graph)
            handed.name = next(iter(names_of(service, handed.id)), "")
            return handed.id, *streams

        handle.prepare, handle.submit = prepare, submitted
        return handle

    runner.create_job_service_handle = created


def names_of(service: Any, job_id: str) -> list[str]:
    """A job service's stub -> its name of the job with this id, if there is one; none where it does not tell."""
    from apache_beam.portability.api import beam_job_api_pb2 as api

    try:
        known = service.GetJobs(api.GetJobsRequest(), timeout=ASK_S).job_info
    except Exception:  # of gRPC, or of a service in this process
        _log.debug("the job service does not list its jobs", exc_info=True)
        return []
    return [info.job_name for info in known if info.job_id == job_id and info.job_name]
