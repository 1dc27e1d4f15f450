"""Beam's in-process runner with workers of `worker_processes`."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.transforms import environments
from google.protobuf import json_format, text_format

from pipeline.running.engines import worker_processes
from pipeline.storage import options

URN = "vggish_pipeline:env:worker_processes:v1"


class WorkerProcesses(environments.Environment):
    """The environment of graphs that run in worker processes."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return URN, b""

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> WorkerProcesses:
        return WorkerProcesses(capabilities, artifacts, resource_hints)


class _Handler(worker_handlers.GrpcWorkerHandler):
    """One worker of one graph, as the runner sees it."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)

    def start_worker(self) -> None:
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        environment = {
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            worker_processes.STORE_OPTIONS: json.dumps(options.current()),  # the runner hands on none of Beam's
        }
        self._process = worker_processes.WorkerProcess(environment, self._lost)

    def stop_worker(self) -> None:
        self._process.close()

    def _lost(self, status: int) -> None:
        # Else the runner would wait without end: for answers, to what it will ask as well, and for data.
        error = RuntimeError(f"Worker subprocess exited with return code {status}")
        self.control_conn.push = partial(_refuse, error)
        self.control_conn.abort(error)
        self.data_conn.close()


def _refuse(error: Exception, request: object) -> None:
    if isinstance(request, beam_fn_api_pb2.InstructionRequest):  # not what says that there are no more
        raise error


environments.Environment.register_urn(URN, bytes)(WorkerProcesses)
worker_handlers.WorkerHandler.register_environment(URN, bytes)(_Handler)


def runner() -> FnApiRunner:
    """A runner whose workers are processes of `worker_processes`."""
    return FnApiRunner(WorkerProcesses(capabilities=environments.python_sdk_capabilities(), artifacts=()))
