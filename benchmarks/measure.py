"""Measuring: time and memory of calls and commands, interleaved rounds, and the rows of the table. No TensorFlow."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_S = 0.2
"""From one look at a command's memory to the next."""


class CommandError(RuntimeError):
    """A measured command failed; holds what it printed."""


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of the processor (all threads, and child processes of a command)."""

    wall_s: float
    cpu_s: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)

    def __mul__(self, factor: float) -> Spent:
        return Spent(self.wall_s * factor, self.cpu_s * factor)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
      group: which `--only` names it by.
      name: what is compared with what.
      value: the figure that is judged: the rounds' median, or largest where `name` says so.
      bar: what it has to reach; None: it is shown, and not judged.
      at_least: whether the bar is a floor; else it is a ceiling.
      unit: of the value; "×" for ratios.
      rounds: the value of each round.
      detail: further figures, by what they are.
    """

    group: str
    name: str
    value: float
    bar: float | None
    at_least: bool
    unit: str = "×"
    rounds: Sequence[float] = ()
    detail: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Row:
        return Row(**{name: value for name, value in content.items() if name != "reached"})


def row(group: str, name: str, rounds: Sequence[float], bar: float | None, at_least: bool, **more: Any) -> Row:
    """The values of some rounds -> the row that their median makes."""
    return Row(group, name, statistics.median(rounds), bar, at_least, rounds=tuple(rounds), **more)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Two figures a round -> their ratio a round: what slows a whole round down cancels out."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def interleaved(rounds: int, measures: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Takes every measure once a round, in turn forwards and backwards -> each one's results, in the rounds' order."""
    results: dict[str, list[Any]] = {name: [] for name in measures}
    for index in range(rounds):
        for name in list(measures)[:: -1 if index % 2 else 1]:
            results[name].append(measures[name]())
    return results


def spent(call: Callable[[], Any]) -> Spent:
    """Clock and processor time of a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def python(*arguments: str | Path, cores: set[int] | None = None) -> list[Spent]:
    """`python ARGUMENTS` as `commands` of one."""
    return commands([list(map(str, arguments))], [cores])


def commands(arguments: Sequence[Sequence[str]], cores: Sequence[set[int] | None]) -> list[Spent]:
    """Python commands that run side by side -> what each cost, with its child processes.

    Args:
      arguments: of each.
      cores: which each may use; None: all.

    Raises:
      CommandError: with what a failed one printed.
    """
    with tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        running = [_start(one, may_use, log) for one, may_use in zip(arguments, cores, strict=True)]
        result = []
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            result.append(Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime))
        if failed := [process.args for process in running if process.returncode]:
            log.seek(0)
            raise CommandError(f"{failed[0]!r} failed:\n{log.read()}")
    return result


def peak_memory(*arguments: str | Path) -> int:
    """`python ARGUMENTS` -> the most bytes that it and its child processes held at a time.

    Pages that processes share are counted once (PSS) where the system tells, else as often as they are shared (RSS).
    """
    import psutil

    with tempfile.TemporaryFile("w+") as log:
        process = _start(list(map(str, arguments)), None, log)
        peak = 0
        ended = threading.Event()

        def wait() -> None:
            process.wait()
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        root = psutil.Process(process.pid)
        while not ended.wait(SAMPLE_S):
            peak = max(peak, _memory_of_tree(root))
        if process.returncode:
            log.seek(0)
            raise CommandError(f"{process.args!r} failed:\n{log.read()}")
    return peak


def _start(arguments: Sequence[str], cores: set[int] | None, log: Any) -> subprocess.Popen[bytes]:
    def hold() -> None:
        if cores is not None:
            os.sched_setaffinity(0, cores)

    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=hold)


def _memory_of_tree(root: Any) -> int:
    import psutil

    total = 0
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            info = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += getattr(info, "pss", info.rss)
    return total
