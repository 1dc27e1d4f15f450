"""One run at a time in an output: a lock file that says who holds it, and that dies with its holder.

Tasks of an array (`--task I/N`) hold locks of their own: they exclude each other where a shard would be both's, and
whole runs; a run excludes all.

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
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from pipeline import storage
from pipeline.output.layout import STATE, OutputError, explained, files_in, join
from pipeline.output.tasks import Task

RENEW_S = 60.0
STALE_AFTER_S = 300.0
SETTLE_S = 2.0
"""How long a run waits before it reads back a lock that it could not take under `flock`."""

RUN, OPENING, FINISHING = "a run", "opening an array of tasks", "finishing an array of tasks"
_TASK_LOCK = re.compile(r"task-(\d+)-of-(\d+)\.json")


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


class OutputBusy(OutputError):  # noqa: N818  (a state, not a fault)
    """Another run holds the output.

    Attributes:
      holder: who; None if the lock went while it was read.
    """

    holder: Holder | None = None

    @property
    def role(self) -> str:
        """What it is held for; "" if the lock went."""
        return self.holder.role if self.holder else ""


class Lock:
    """A held lock; a context manager that releases it.

    Args:
      directory: the output.
      task: of an array; None: the whole output.
      role: what the lock is held for, if it is not a task.

    Raises:
      OutputBusy: somebody holds it; says who.
      OutputError: the lock cannot be written.
    """

    def __init__(self, directory: str, task: Task | None = None, role: str = RUN) -> None:
        self._directory = directory
        self._state = join(directory, STATE)
        self._task = task
        self._role = f"task {task}" if task else role
        self._uri = join(self._state, f"task-{task.index}-of-{task.count}.json" if task else "lock.json")
        self._token = uuid.uuid4().hex
        self._released = threading.Event()
        with explained(directory, "locking the output"):
            storage.mkdirs(self._state)
            self._acquire()
        self._renewal = threading.Thread(target=self._keep_renewing, name="output lock", daemon=True)
        self._renewal.start()

    def confirm(self) -> None:
        """Raises OutputBusy if the lock was taken over, by a run that held this one for dead; to be called before a
        commit."""
        with explained(self._directory, "reading the lock"):
            holder = self._read(self._uri)
        if holder is None or holder.token != self._token:
            raise self._busy(holder)

    def release(self) -> None:
        """Gives the lock up; nothing happens if it was taken over."""
        self._released.set()
        self._renewal.join()
        with suppress(OSError), self._guard():  # a lock that stays is of a dead process, and is taken over
            holder = self._read(self._uri)
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
            dead = [uri for uri in (self._uri, *self._rivals()) if not self._alive(uri)]
            self._write(time.time())
            if not exclusive:
                time.sleep(SETTLE_S)
                holder = self._read(self._uri)
                if holder is None or holder.token != self._token:
                    raise self._busy(holder)
                try:
                    dead = [uri for uri in self._rivals() if not self._alive(uri)]
                except OutputBusy:
                    storage.delete(self._uri)
                    raise
            for uri in dead:  # whoever only seemed dead finds its lock gone, and commits nothing more
                if uri != self._uri:
                    storage.delete(uri)

    def _rivals(self) -> list[str]:
        """Locks of others that exclude this one, held or not."""
        found = [join(self._state, "lock.json")]
        for name in files_in(self._state, "task-"):
            if (parts := _TASK_LOCK.fullmatch(name)) and (
                self._task is None or self._task.overlaps(Task(int(parts[1]), int(parts[2])))
            ):
                found.append(join(self._state, name))
        return [uri for uri in found if uri != self._uri]

    def _alive(self, uri: str) -> bool:
        """False for a lock that nobody holds; raises OutputBusy for one that somebody does."""
        holder = self._read(uri)
        if holder is not None and holder.alive():
            raise self._busy(holder, uri)
        return False

    def _keep_renewing(self) -> None:
        while not self._released.wait(RENEW_S):
            with suppress(OSError), self._guard():
                holder = self._read(self._uri)
                if holder is None or holder.token != self._token:
                    return
                self._write(holder.since)

    def _read(self, uri: str) -> Holder | None:
        """A lock's holder, None where there is none or the file makes no sense."""
        if not storage.exists(uri):
            return None
        try:
            with storage.open_read(uri) as file:
                return Holder(**json.loads(file.read()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _write(self, since: float) -> None:
        me = Holder(host(), os.getpid(), process_start(os.getpid()), since, time.time(), self._token, self._role)
        storage.write_atomic(self._uri, json.dumps(asdict(me), indent=1).encode())

    def _busy(self, holder: Holder | None, uri: str = "") -> OutputBusy:
        uri = uri or self._uri
        if holder is None:
            return OutputBusy(f"the lock {uri} was removed by somebody else", "Run the same command again.")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
        who = f"process {holder.pid} on {holder.host.split('/')[0]} since {since}"
        what = "" if holder.role == RUN else f" ({holder.role})"
        busy = OutputBusy(
            f"{self._directory} is being written by {who}{what}",
            f"Wait for it or stop it; if you know that it is dead, remove {uri}.",
        )
        busy.holder = holder
        return busy

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
