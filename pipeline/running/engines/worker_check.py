"""A worker's check of itself before it gets work: versions, weights, files. Runs on the worker.

What it is asked and what it answers is plain data, so that another version of this package understands it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from pipeline import storage
from pipeline.embedding import models
from pipeline.extras import DISTRIBUTION
from pipeline.machine import cores
from pipeline.output.made_with import versions
from pipeline.settings import Model
from vggish_core.network import gpus
from vggish_core.subprocesses import PACKAGES

DECIDING = (DISTRIBUTION, "apache-beam")
"""Packages whose versions have to be the same on workers and where the job was started."""


class UnfitWorkerError(Exception):
    """A worker cannot do this job; says which, why, and what to do."""


def asked(model: Model, inputs: list[str]) -> dict[str, Any]:
    """The submitter's model and some inputs' URIs -> what workers are asked."""
    return {
        "versions": versions(),
        "code": code_sha256(),
        "model": {
            name: getattr(model, name)
            for name in ("checkpoint", "checkpoint_sha256", "pca_params", "pca_sha256", "embeddings", "precision")
        },
        "inputs": inputs,
    }


def answer(_: bytes, question: Mapping[str, Any], uri: str) -> None:
    """On a worker: writes what it is to `uri`, as JSON, if it can do the job.

    Raises:
      UnfitWorkerError: it cannot.
    """
    host = socket.gethostname()
    if problem := unfit(question):
        raise UnfitWorkerError(f"worker {host} ({sys.executable}): {problem}")
    found = {
        "host": host,
        "pid": os.getpid(),
        "python": sys.executable,
        "cores": cores(),
        "versions": versions(),
    }
    storage.mkdirs(uri.rpartition("/")[0])
    storage.write_atomic(uri, json.dumps(found).encode())


def unfit(question: Mapping[str, Any]) -> str:
    """A submitter's question -> why this process cannot do the job, and what to do; "" if it can."""
    theirs, ours = question["versions"], versions()
    install = "Install the submitter's version there."
    if (python := _minor(theirs["python"])) != _minor(ours["python"]):
        return f"Python {ours['python']}, the submitter's is {theirs['python']}. Use Python {python} on both."
    for name in DECIDING:
        if theirs.get(name) != ours.get(name):
            return f"{name} {ours.get(name, 'is not installed')}, the submitter has {theirs.get(name)}. {install}"
    if question["code"] != code_sha256():
        own = PACKAGES / "pipeline"
        return f"the code of this package in {own} differs from the submitter's, of the same version. {install}"
    model = question["model"]
    return _without_weights(model) or _without_gpu(model["precision"]) or _without_inputs(question["inputs"])


def _without_weights(asked_for: Mapping[str, str]) -> str:
    try:
        models.verify(Model(**asked_for))  # type: ignore[arg-type]
    except ValueError as error:
        return (
            f"{str(error).removesuffix('.')}. Workers need the weights too: put them at the same path on each, or "
            "name a URI (gs://, s3://), which each copies once."
        )
    return ""


def _without_gpu(precision: str) -> str:
    try:
        if precision == "bfloat16":
            gpus.expect_gpu()
    except gpus.NoGpuError as error:
        return f"--precision {precision}: {error}."
    return ""


def _without_inputs(uris: list[str]) -> str:
    for uri in uris:
        if not storage.exists(uri):
            return (
                f"the input {uri} is not there. Put the audio where all workers see it: a shared folder, gs://, s3://."
            )
    return ""


@cache
def code_sha256() -> str:
    """The sha256 of the source files of this software."""
    digest = hashlib.sha256()
    for path in sorted(path for name in ("pipeline", "vggish_core") for path in (PACKAGES / name).rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGES).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def described(found: Mapping[str, Any]) -> str:
    """A worker's answer -> a line for the user; names packages whose versions differ from this process's."""
    ours = versions()
    theirs = found["versions"]
    differing = [
        f"{name} {theirs.get(name, 'absent')}, not {ours[name]}"
        for name in ours
        if name not in ("python", "platform") and theirs.get(name) != ours[name]
    ]
    note = f"; other versions there: {', '.join(differing)}" if differing else ""
    return f"worker {found['host']}: {found['cores']} processors, Python {theirs['python']}, ready{note}"
