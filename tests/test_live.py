"""What a job service says of a job: asked over gRPC, as an engine's is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import PipelineResult

from pipeline.output.at_work.submitted import Submitted
from pipeline.running.engines import live

JOB = Submitted("PortableRunner", "job-1", "EXTERNAL")


class Service(beam_job_api_pb2_grpc.JobServiceServicer):
    """Answers every question for a state with an error, or with RUNNING."""

    code: grpc.StatusCode | None = None

    def GetState(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        if self.code is not None:
            context.abort(self.code, f"of {request.job_id}")
        return beam_job_api_pb2.JobStateEvent(state=beam_job_api_pb2.JobState.RUNNING)


@pytest.fixture
def service() -> Iterator[tuple[Service, PipelineResult]]:
    answers, server = Service(), grpc.server(ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(answers, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
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
