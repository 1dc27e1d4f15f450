"""Who holds an output's lock, and whether that process still runs."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STALE_AFTER_S = 300.0
"""A holder on another host that has not renewed its lock for so long is dead."""
RUN = "a run"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
      host: name, boot and process namespace: within it a pid means one process.
      pid, started: process id and start time, which tells a process from a later one of the same id.
      since, renewed: Unix time.
      token: of this very lock.
      role: what it is held for.
    """

    host: str
    pid: int
    started: str
    since: float
    renewed: float
    token: str
    role: str = RUN

    def alive(self) -> bool:
        """Whether the holder's process runs, or, on another host, has renewed the lock lately."""
        if self.host == host():
            return process_start(self.pid) == self.started
        return time.time() - self.renewed < STALE_AFTER_S


def host() -> str:
    """The scope in which a process id is unique: host name, boot, process namespace."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)


def process_start(pid: int) -> str:
    """When a process started, in the system's own terms; "" if there is no such process or only its zombie."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else others[18]  # proc(5): fields 3 (state) and 22 (starttime)
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
