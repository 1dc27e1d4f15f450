"""One run at a time in an output: a lock file that says who holds it, and that dies with its holder.

Tasks of an array (`--task I/N`) hold locks of their own: they exclude each other where a clip would be
both's, and whole runs; a run excludes all.

Exclusive on local file systems: taken, renewed and released under `flock` of the state directory. On object stores the
lock is written on the condition that there is none, or, to renew it or take a dead holder's over, that it is still what
was read before (by S3's ETag, GCS's generation): of runs that find the same lock, the store lets one write its own.
Locks that exclude each other under different names, a run's and a task's, are each written before the others are looked
for, so that of two holders one at least sees the other and gives way. Where a network file system has no `flock`, a run
writes the lock, waits a moment and reads it back; two runs started within that moment by clocks that stand still could
both read their own. A lock is taken over when its holder is dead (`pipeline.output.holder`).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType

from pipeline import storage
from pipeline.output.holder import RUN, Holder, host, process_start
from pipeline.output.layout import STATE, OutputError, explained, files_in, join
from pipeline.output.tasks import Task

RENEW_S = 60.0
SETTLE_S = 2.0
"""How long a run waits before it reads back a lock that nothing excludes others from."""

OPENING, FINISHING = "opening an array of tasks", "finishing an array of tasks"
_TASK_LOCK = re.compile(r"task-(\d+)-of-(\d+)\.json")


class OutputBusy(OutputError):  # noqa: N818  (a state, not a fault)
    """Another run holds the output.

    Attributes:
      holder: who; None if the lock went while it was read.
    """

    holder: Holder | None = None

    @property
    def role(self) -> str:
        """The purpose that it is held for; "" if the lock is gone."""
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
        """Raises OutputBusy if the lock was taken over by a run that held this one for dead."""
        with explained(self._directory, "reading the lock"):
            holder, _ = _read(self._uri)
        if not self._is_ours(holder):
            raise self._busy(holder)

    @property
    def token(self) -> str:
        """The name of this very lock, for `expect`."""
        return self._token

    def release(self) -> None:
        """Gives the lock up; nothing happens if it was taken over."""
        self._released.set()
        self._renewal.join()
        with suppress(OSError), self._guard():  # a lock that stays is of a dead process, and is taken over
            if self._is_ours(_read(self._uri)[0]):
                storage.delete(self._uri)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire(self) -> None:
        with self._guard() as exclusive:
            version = self._version_of_dead(self._uri)
            dead = self._dead_rivals()
            self._write(time.time(), version)
            if not exclusive:
                self._expect_written()
                try:
                    dead = self._dead_rivals()
                except OutputBusy:
                    storage.delete(self._uri)
                    raise
            for uri in dead:  # whoever only seemed dead finds its lock gone, and commits nothing more
                storage.delete(uri)

    def _expect_written(self) -> None:
        """Raises OutputBusy if the lock is another's, OutputError if its store would let two write it."""
        if not storage.is_local(self._uri):
            if storage.write_if(self._uri, self._content(time.time()), None):
                storage.delete(self._uri)
                what = f"{self._directory} cannot be locked: its store does not mind conditions of writes"
                raise OutputError(what, "Write to a store that has them, S3 or GCS say, or to a local folder")
            return
        time.sleep(SETTLE_S)
        holder, _ = _read(self._uri)
        if not self._is_ours(holder):
            raise self._busy(holder)

    def _is_ours(self, holder: Holder | None) -> bool:
        return holder is not None and holder.token == self._token

    def _dead_rivals(self) -> list[str]:
        """Locks of others that nobody holds; raises OutputBusy if somebody holds one."""
        rivals = self._rivals()
        for uri in rivals:
            self._version_of_dead(uri)
        return rivals

    def _rivals(self) -> list[str]:
        """Locks of others that exclude this one, held or not."""
        found = [join(self._state, "lock.json")]
        for name in files_in(self._state, "task-"):
            if (parts := _TASK_LOCK.fullmatch(name)) and (
                self._task is None or self._task.overlaps(Task(int(parts[1]), int(parts[2])))
            ):
                found.append(join(self._state, name))
        return [uri for uri in found if uri != self._uri]

    def _version_of_dead(self, uri: str) -> str | None:
        """A lock that nobody holds -> its file's version, None for no file; raises OutputBusy if somebody holds it."""
        holder, version = _read(uri)
        if holder is not None and holder.alive():
            raise self._busy(holder, uri)
        return version

    def _keep_renewing(self) -> None:
        while not self._released.wait(RENEW_S):
            with suppress(OSError, OutputBusy), self._guard():  # the next attempt finds out
                holder, version = _read(self._uri)
                if holder is None or holder.token != self._token:
                    return
                self._write(holder.since, version)

    def _content(self, since: float) -> bytes:
        me = Holder(host(), os.getpid(), process_start(os.getpid()), since, time.time(), self._token, self._role)
        return json.dumps(asdict(me), indent=1).encode()

    def _write(self, since: float, version: str | None) -> None:
        """Writes the lock; on an object store, in place of that version. Raises OutputBusy if another came first."""
        if storage.is_local(self._uri):
            storage.write_atomic(self._uri, self._content(since))
        elif not storage.write_if(self._uri, self._content(since), version):
            holder, _ = _read(self._uri)  # our own, where the answer was lost that it was written
            if not self._is_ours(holder):
                raise self._busy(holder)

    def _busy(self, holder: Holder | None, uri: str = "") -> OutputBusy:
        return _busy(self._directory, holder, uri or self._uri)

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


def expect(directory: str, token: str) -> None:
    """Raises OutputBusy if somebody holds the output, or a task's share, by another lock than that one.

    To be called before a commit. A job goes on after its command was killed, and may commit, unless another command has
    taken the output over, or tasks of an array are at work, whose rows and plans a commit would remove.
    """
    for uri, holder in holders(directory):
        if holder.token != token and holder.alive():
            raise _busy(directory, holder, uri)


def holders(directory: str) -> list[tuple[str, Holder]]:
    """The locks of an output, and of tasks in it, dead ones too: each one's URI and who holds it."""
    state = join(directory, STATE)
    with explained(directory, "reading the lock"):
        names = ["lock.json", *filter(_TASK_LOCK.fullmatch, files_in(state, "task-"))]
        found = [(uri, _read(uri)[0]) for uri in (join(state, name) for name in names)]
    return [(uri, holder) for uri, holder in found if holder is not None]


def _read(uri: str) -> tuple[Holder | None, str | None]:
    """A lock's holder, None for none or what makes no sense; its file's version, None for no file."""
    try:
        data, version = storage.read_whole(uri)
    except FileNotFoundError:
        return None, None
    try:
        return Holder(**json.loads(data)), version
    except (ValueError, TypeError):
        return None, version


def _busy(directory: str, holder: Holder | None, uri: str) -> OutputBusy:
    if holder is None:
        return OutputBusy(f"the lock {uri} was removed", "Run the same command again.")
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    who = f"process {holder.pid} on {holder.host.split('/')[0]} since {since}"
    what = "" if holder.role == RUN else f" ({holder.role})"
    busy = OutputBusy(
        f"{directory} is being written by {who}{what}",
        f"Wait for it or stop it; if you know that it is dead, remove {uri}.",
    )
    busy.holder = holder
    return busy
