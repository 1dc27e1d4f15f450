"""One run at a time in an output: a lock file that says who holds it, and that dies with its holder.

Exclusive on local file systems: taken and released under `flock` of the state directory. On object stores, and where
`flock` is not supported, a run writes the lock, waits a moment and reads it back; two runs started within that moment
by clocks that stand still could both read their own. A lock is taken over when its holder is dead: its process is gone
(same host), or it has not renewed the lock for some minutes (another host).
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from pipeline import storage
from pipeline.layout import STATE, OutputError, explained, join

RENEW_S = 60.0
STALE_AFTER_S = 300.0
SETTLE_S = 2.0
"""How long a run waits before it reads back a lock that it could not take under `flock`."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
      host: name, boot and process namespace: within it a pid means one process.
      pid, started: process id and start time, which tells a process from a later one of the same id.
      since, renewed: Unix time.
      token: of this very lock.
    """

    host: str
    pid: int
    started: str
    since: float
    renewed: float
    token: str

    def alive(self) -> bool:
        """Whether the holder's process runs, or, on another host, has renewed the lock lately."""
        if self.host == host():
            return process_start(self.pid) == self.started
        return time.time() - self.renewed < STALE_AFTER_S


class OutputBusy(OutputError):  # noqa: N818  (a state, not a fault)
    """Another run holds the output."""


class Lock:
    """A held lock; a context manager that releases it.

    Args:
      directory: the output.
      name: locks of different names do not exclude each other.

    Raises:
      OutputBusy: somebody holds it; says who.
      OutputError: the lock cannot be written.
    """

    def __init__(self, directory: str, name: str = "lock") -> None:
        self._directory = directory
        self._state = join(directory, STATE)
        self._uri = join(directory, f"{STATE}/{name}.json")
        self._token = uuid.uuid4().hex
        self._released = threading.Event()
        with explained(directory, "preparing the output", "Name a folder that can be made and written to"):
            storage.mkdirs(self._state)
        with explained(directory, "locking the output"):
            self._acquire()
        self._renewal = threading.Thread(target=self._keep_renewing, name="output lock", daemon=True)
        self._renewal.start()

    def confirm(self) -> None:
        """Raises OutputBusy if the lock was taken over, by a run that held this one for dead; to be called before a
        commit."""
        with explained(self._directory, "reading the lock"):
            holder = self._read()
        if holder is None or holder.token != self._token:
            raise self._busy(holder)

    def release(self) -> None:
        """Gives the lock up; nothing happens if it was taken over."""
        self._released.set()
        self._renewal.join()
        with suppress(OSError), self._guard():  # a lock that stays is of a dead process, and is taken over
            holder = self._read()
            if holder is not None and holder.token == self._token:
                storage.delete(self._uri)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire(self) -> None:
        with self._guard() as exclusive:
            holder = self._read()
            if holder is not None and holder.alive():
                raise self._busy(holder)
            self._write(time.time())
            if not exclusive:
                time.sleep(SETTLE_S)
                holder = self._read()
                if holder is None or holder.token != self._token:
                    raise self._busy(holder)

    def _keep_renewing(self) -> None:
        while not self._released.wait(RENEW_S):
            with suppress(OSError), self._guard():
                holder = self._read()
                if holder is None or holder.token != self._token:
                    return
                self._write(holder.since)

    def _read(self) -> Holder | None:
        """The holder, None where there is none or the file makes no sense."""
        if not storage.exists(self._uri):
            return None
        try:
            with storage.open_read(self._uri) as file:
                return Holder(**json.loads(file.read()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _write(self, since: float) -> None:
        me = Holder(host(), os.getpid(), process_start(os.getpid()), since, time.time(), self._token)
        storage.write_atomic(self._uri, json.dumps(asdict(me), indent=1).encode())

    def _busy(self, holder: Holder | None) -> OutputBusy:
        if holder is None:
            return OutputBusy(f"the lock {self._uri} was removed by somebody else", "Run the same command again.")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
        return OutputBusy(
            f"{self._directory} is being written by process {holder.pid} on {holder.host.split('/')[0]} since {since}",
            f"Wait for it or stop it; if you know that it is dead, remove {self._uri}.",
        )

    @contextmanager
    def _guard(self) -> Iterator[bool]:
        """Excludes others while the lock is read and written; False where the storage has no means for that."""
        if not storage.is_local(self._state):
            yield False
            return
        descriptor = os.open(storage.absolute(self._state), os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                exclusive = True
            except OSError:  # a network file system without locks
                exclusive = False
            yield exclusive
        finally:
            os.close(descriptor)


def host() -> str:
    """What a process id is unique in: host name, boot, process namespace."""
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
