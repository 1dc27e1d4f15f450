"""What makes an output's bytes here: versions of packages, processor, engine, as the manifest names them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.extras import DISTRIBUTION

PACKAGES = (
    DISTRIBUTION,
    "apache-beam",
    "tensorflow-cpu",
    "tensorflow",
    "tf_slim",
    "numpy",
    "scipy",
    "resampy",
    "llvmlite",
    "soundfile",
    "av",
    "protobuf",
)
"""Their versions are written down: what takes part in making the bytes."""


def made_with(engine: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """This process' versions, processor and engine, as the manifest tells them."""
    made = {"versions": versions(), "processor": processor(), "arithmetic": arithmetic()}
    return {**made, "engine": dict(engine or {})}


def versions() -> dict[str, str]:
    """Name -> version of Python and of the installed packages that take part in making the bytes."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def arithmetic() -> str:
    """The processor features that decide how results are rounded here; see docs/records.md."""
    from vggish_core.codegen.registers import fuses  # loads LLVM, which readers of records do without

    return f"{platform.machine()} {'with' if fuses() else 'without'} fused multiply-add"
