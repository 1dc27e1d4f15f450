"""What a job service says of a job: asked over gRPC, as an engine's is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import PipelineResult

from pipeline.output.at_work.submitted import Submitted
from pipeline.running.engines import graphs, live, runners

JOB = Submitted("PortableRunner", "job-1", "EXTERNAL")


class Service(beam_job_api_pb2_grpc.JobServiceServicer):
    """A state is an error, RUNNING, or CANCELLED once that was asked for. Takes jobs: job-1, job-2, as Prism does."""

    code: grpc.StatusCode | None = None
    endpoint = ""
    lists = True

    def __init__(self) -> None:
        self.names: list[str] = []
        self.cancelled: list[str] = []

    def DescribePipelineOptions(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        return beam_job_api_pb2.DescribePipelineOptionsResponse()

    def Prepare(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.names.append(request.job_name)
        return beam_job_api_pb2.PrepareJobResponse(preparation_id=f"job-{len(self.names)}")

    def Run(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        return beam_job_api_pb2.RunJobResponse(job_id=request.preparation_id)

    def GetStateStream(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        yield beam_job_api_pb2.JobStateEvent(state=beam_job_api_pb2.JobState.RUNNING)

    def GetMessageStream(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        yield from ()

    def GetJobs(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        if not self.lists:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no list")
        known = enumerate(self.names, 1)
        infos = [beam_job_api_pb2.JobInfo(job_id=f"job-{number}", job_name=name) for number, name in known]
        return beam_job_api_pb2.GetJobsResponse(job_info=infos)

    def Cancel(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.cancelled.append(request.job_id)
        return beam_job_api_pb2.CancelJobResponse(state=beam_job_api_pb2.JobState.CANCELLED)

    def GetState(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        if self.code is not None:
            context.abort(self.code, f"of {request.job_id}")
        states = beam_job_api_pb2.JobState
        state = states.CANCELLED if request.job_id in self.cancelled else states.RUNNING
        return beam_job_api_pb2.JobStateEvent(state=state)


@pytest.fixture
def service() -> Iterator[tuple[Service, PipelineResult]]:
    answers, server = Service(), grpc.server(ThreadPoolExecutor(4))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(answers, server)
    answers.endpoint = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    with grpc.insecure_channel(answers.endpoint) as channel:
        yield answers, PipelineResult(beam_job_api_pb2_grpc.JobServiceStub(channel), "job-1", None, None)
    server.stop(None)


def test_a_job_that_runs(service: tuple[Service, PipelineResult]) -> None:
    assert live.state_of(service[1]) == "RUNNING"
    assert not live.is_over(JOB, "RUNNING")


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN])
def test_a_job_that_nobody_knows_is_over(code: grpc.StatusCode, service: tuple[Service, PipelineResult]) -> None:
    service[0].code = code
    assert live.is_over(JOB, live.state_of(service[1]))


@pytest.mark.parametrize("name", ["PERMISSION_DENIED", "UNAUTHENTICATED", "INTERNAL", "UNIMPLEMENTED", "UNAVAILABLE"])
def test_an_answer_that_says_nothing_of_the_job(name: str, service: tuple[Service, PipelineResult]) -> None:
    """Nobody may conclude from it that the job is over."""
    service[0].code = grpc.StatusCode[name]
    assert live.state_of(service[1]) == ""
    assert not live.is_over(JOB, "")


def handed_over(service: Service) -> tuple[runners.Engine, Submitted, Any]:
    """A graph that the service has taken: the engine, the job as it is noted, and Beam's result."""
    workers = ["--environment_type", "EXTERNAL", "--environment_config", "localhost:1"]
    engine = runners.choose("PortableRunner", ["--job_endpoint", service.endpoint, *workers])
    result = graphs.submit(engine, lambda root: root | beam.Create([1]))
    return engine, live.taken(engine, result), result


def test_a_job_that_was_handed_over_is_known_by_id_and_name(service: tuple[Service, PipelineResult]) -> None:
    answers, _ = service
    handed_over(answers)
    engine, job, result = handed_over(answers)
    assert (job.id, job.endpoint, job.own_service) == ("job-2", answers.endpoint, False)
    assert job.name == answers.names[1]
    assert len(set(answers.names)) == 2
    assert live.state_of(result) == "RUNNING"
    asked = live._result_of(job, engine)
    assert live.state_of(asked) == "RUNNING"
    assert live.cancel(job, asked) == "CANCELLED"
    assert answers.cancelled == ["job-2"]


def test_a_job_whose_id_is_another_jobs_by_now_is_over(service: tuple[Service, PipelineResult]) -> None:
    """A service that was started again counts from 1; its new job is nobody's to cancel."""
    answers, _ = service
    engine, job, _ = handed_over(answers)
    answers.names[:] = ["of somebody else"]
    asked = live._result_of(job, engine)
    assert live.is_over(job, live.state_of(asked))
    live.cancel(job, asked)
    assert answers.cancelled == []
    assert live.state_of(live._result_of(replace(job, name=""), engine)) == "RUNNING"  # of an older note


def test_a_service_that_lists_no_jobs_is_asked_by_id(service: tuple[Service, PipelineResult]) -> None:
    answers, _ = service
    answers.lists = False
    engine, job, _ = handed_over(answers)
    assert (job.id, job.name) == ("job-1", "")
    assert live.state_of(live._result_of(job, engine)) == "RUNNING"
    named = replace(job, name="a name that it gave once")
    assert live.state_of(live._result_of(named, engine)) == "RUNNING"
