"""Checks of an engine before any work begins: that it answers, and that its workers are specified.

What is found is a `FlagError`: one line that says what is wrong, one that says what to do, exit status 2.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from pipeline.errors import FlagError
from pipeline.extras import needs
from pipeline.running.engines import runners
from pipeline.running.engines.runners import Engine

ANSWER_S = 10.0
"""How long a service may take to answer."""
WORKERS = (
    "Give --environment_type EXTERNAL --environment_config HOST:PORT (a worker pool), DOCKER with an image that holds "
    "this package, or PROCESS"
)


def look(engine: Engine) -> None:
    """Checks that the engine is there, as far as this machine can see in some seconds.

    Raises:
      FlagError: it does not answer, its jar or binary is missing, or nobody said what its workers are.
    """
    if engine.local:
        return
    from apache_beam.options.pipeline_options import (
        FlinkRunnerOptions,
        GoogleCloudOptions,
        JobServerOptions,
        PortableOptions,
        PrismRunnerOptions,
    )

    options, name = engine.options(), engine.runner.lower()
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint:
        _look_at_job_service(portable.job_endpoint)
    elif name == "portablerunner":
        raise FlagError(
            "--runner PortableRunner has no --job_endpoint", "Name the job service: --job_endpoint HOST:PORT"
        )
    elif name == "dataflowrunner":
        needs("gcp", "google.auth", "google.cloud.storage", for_="--runner DataflowRunner")
        cloud = options.view_as(GoogleCloudOptions)
        if missing := [flag for flag in ("project", "region", "temp_location") if not getattr(cloud, flag)]:
            wanted = ", ".join(f"--{flag}" for flag in missing)
            raise FlagError(f"--runner DataflowRunner has no {wanted}", "Give a project's id, a region, a gs:// folder")
    elif name == "prismrunner":
        _look_at_prism(options.view_as(PrismRunnerOptions).prism_location)
    elif name == "flinkrunner":
        flink = options.view_as(FlinkRunnerOptions)
        if flink.flink_master not in runners.OWN_FLINK:
            _look_at_flink(flink.flink_master, flink.flink_version)
        _look_at_jar(flink.flink_job_server_jar, options.view_as(JobServerOptions).job_server_java_launcher)
    if engine.environment:
        _look_at_environment(engine, portable, options)


def _look_at_job_service(endpoint: str) -> None:
    if endpoint == "embed":
        return
    import grpc

    channel = grpc.insecure_channel(endpoint)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
    except grpc.FutureTimeoutError:
        raise FlagError(
            f"--job_endpoint {endpoint}: no job service answers there within {ANSWER_S:g} s",
            "Start it, or correct the address; a Flink cluster's own address is for --flink_master",
        ) from None
    finally:
        channel.close()


def _look_at_prism(location: str | None) -> None:
    from importlib import metadata

    build = f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{metadata.version('apache-beam')}"
    if not location:
        raise FlagError("--runner PrismRunner has no --prism_location", f"Build it ({build}) and give its path")
    if "://" in location:
        return
    path = Path(location)
    if not path.is_file():
        raise FlagError(f"--prism_location {location}: there is no such file", f"Build it ({build}) and give its path")
    if not os.access(path, os.X_OK) and not zipfile.is_zipfile(path):
        raise FlagError(f"--prism_location {location} is not a program", f"chmod +x {location}")


def _look_at_flink(master: str, version: str) -> None:
    url = master if "://" in master else f"http://{master}"
    try:
        with urllib.request.urlopen(f"{url}/overview", timeout=ANSWER_S) as response:
            found: dict[str, Any] = json.load(response)
        running, managers = str(found["flink-version"]), int(found["taskmanagers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "reason", error)
        raise FlagError(
            f"--flink_master {master}: no Flink answers there ({why})",
            "Start the cluster, or give its REST address, HOST:8081 by default",
        ) from error
    if not managers:
        raise FlagError(
            f"--flink_master {master}: the cluster has no task managers", "Start one per host: taskmanager.sh"
        )
    if running.split(".")[:2] != version.split(".")[:2]:
        raise FlagError(
            f"--flink_master {master} runs Flink {running}, Beam's job server is for {version}",
            f"Give --flink_version {'.'.join(running.split('.')[:2])}, if Beam has it",
        )


def _look_at_jar(jar: str | None, java: str | None) -> None:
    if not shutil.which(java or "java"):
        raise FlagError(
            f"Beam's job server for Flink needs Java, and there is no {java or 'java'}",
            "Install it (11 or later), or start the job server elsewhere and give --job_endpoint",
        )
    if jar and "://" not in jar and not Path(jar).is_file():
        raise FlagError(
            f"--flink_job_server_jar {jar}: there is no such file",
            "Fetch beam-runners-flink-*-job-server of Beam's version from Maven Central, or leave the flag out: Beam "
            "fetches it",
        )


def _look_at_environment(engine: Engine, portable: Any, options: Any) -> None:
    """Checks that the workers are specified, and that those on this machine are there."""
    from apache_beam.options.pipeline_options import SetupOptions, WorkerOptions

    kind, config = engine.environment, portable.environment_config
    near = runners.is_here(portable.job_endpoint or "") or engine.runner.lower() == "prismrunner"
    if kind == "EXTERNAL":
        address = _config(config, "url") or portable.lookup_environment_option("external_service_address")
        if not address:
            raise FlagError(
                "--environment_type EXTERNAL has no --environment_config", "Name the worker pool: HOST:PORT"
            )
        if near and runners.is_here(address) and not _listens(address):
            raise FlagError(
                f"--environment_config {address}: no worker pool listens there",
                "Start one: python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT",
            )
    elif kind == "PROCESS":
        command = _config(config, "command") or portable.lookup_environment_option("process_command")
        if not command or command == config:
            raise FlagError(
                f"--environment_type PROCESS with --environment_config {config or '(none)'} names no command",
                """Give '{"command": "/path/of/boot"}', a program that starts a worker as Beam's containers do""",
            )
        if near and not shutil.which(command):
            raise FlagError(f"--environment_config {config}: there is no program {command}", "Give its path")
    elif kind == "DOCKER":
        images = options.view_as(WorkerOptions).sdk_container_image or config
        if not images and not options.view_as(SetupOptions).setup_file:
            raise FlagError(f"--runner {engine.runner} would use Beam's own image, which lacks this package", WORKERS)


def _config(given: str | None, name: str) -> str:
    """--environment_config -> the value of a name, if it is JSON; else itself."""
    try:
        content = json.loads(given or "")
    except ValueError:
        return given or ""
    return str(content.get(name, "")) if isinstance(content, dict) else given or ""


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S):
            return True
    except (OSError, ValueError):
        return False
