"""The resources of this machine, as far as this process may use them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SDK_WORKER = b"apache_beam.runners.worker.sdk_worker_main"
"""The module that engines start as a worker process of Beam's, in its command line."""


def cores() -> int:
    """The number of processors that this process may use: by its affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, quotas())]))


def cores_a_process() -> int:
    """The number of processors for this process where an engine has started several of Beam's worker processes."""
    return max(1, cores() // worker_processes())


def quotas(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """Limits of processor time, in processors, of this process' control groups and of those around them (Linux).

    Args:
      proc: lists the groups, a line each: `0::/path` (version 2), or `4:cpu,cpuacct:/path` (version 1).
      root: where their files are: `cpu.max` with quota and period, or `cpu.cfs_quota_us` and `cpu.cfs_period_us`, in
        microseconds. Within a container it may begin at the container's own group, although paths do not.
    """
    with suppress(OSError):
        for line in proc.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mounts = [root, root / "unified"]
            elif "cpu" in controllers.split(","):
                mounts = [root / controllers, root / "cpu"]
            else:
                continue
            for mount in mounts:
                group = mount / path.lstrip("/")
                for folder in (group, *group.parents):
                    if folder == mount or mount in folder.parents:
                        yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """The limit of one group, if it has one."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        if (file := folder / "cpu.max").exists():
            quota, period = file.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if (processors := float(quota) / float(period)) > 0:  # "max" is no number, -1 no limit
            yield processors


def worker_processes(proc: Path = Path("/proc")) -> int:
    """How many of Beam's worker processes this machine, or container, runs, if this process is one of them; else 1."""
    if not _is_worker(proc / str(os.getpid())):
        return 1
    return sum(_is_worker(process) for process in proc.iterdir() if process.name.isdigit())


def _is_worker(process: Path) -> bool:
    """Whether a process is Beam's worker; what is gone, or has ended and was not waited for, is none."""
    try:
        return SDK_WORKER in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
