"""The output's lock on object stores: of runs that start at once one gets it, whoever held it before."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import storage
from pipeline.output import lock
from pipeline.output.layout import OutputError
from pipeline.output.lock import Lock, OutputBusy
from pipeline.output.tasks import Task
from pipeline.storage import errors
from tests.command import REPOSITORY
from tests.engines.stores import Store

RACE = """
import sys, time
from pipeline.output.lock import Lock, OutputBusy
from pipeline.storage import options
options.set_flags(sys.argv[2:])
from pipeline import storage
storage.exists(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    held = Lock(sys.argv[1])
except OutputBusy:
    print("busy", flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
    held.confirm()
    held.release()
"""
RACERS = 8


@pytest.fixture
def output(reached: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.01)
    return reached.uri("out")


def left_by_a_dead_run(output: str) -> None:
    """Writes the lock of a process that is no more."""
    uri = f"{output}/_state/lock.json"
    with Lock(output):
        data, version = storage.read_whole(uri)
        dead = {**json.loads(data), "pid": 1 << 30, "token": "of the dead"}
        assert storage.write_if(uri, json.dumps(dead).encode(), version)
    assert storage.exists(uri)


def at_once(attempts: list[Callable[[], Lock]]) -> list[Lock]:
    """The locks that are held of those that threads ask for at the same moment."""
    start = threading.Barrier(len(attempts))

    def attempt(take: Callable[[], Lock]) -> Lock | None:
        start.wait()
        try:
            return take()
        except OutputBusy:
            return None

    with ThreadPoolExecutor(len(attempts)) as pool:
        return [found for found in pool.map(attempt, attempts) if found]


@pytest.mark.parametrize("dead", [False, True])
def test_of_runs_at_once_one_holds_the_output(output: str, dead: bool) -> None:
    for _ in range(5):
        if dead:
            left_by_a_dead_run(output)
        (held,) = at_once([lambda: Lock(output)] * RACERS)
        held.confirm()
        with pytest.raises(OutputBusy, match="is being written by process"):
            Lock(output)
        held.release()
        assert not storage.exists(f"{output}/_state/lock.json")


def test_a_run_and_a_task_at_once_never_both_hold_it(output: str) -> None:
    for _ in range(5):
        held = at_once([lambda: Lock(output), lambda: Lock(output, Task(0, 2)), lambda: Lock(output, Task(0, 4))])
        assert len(held) <= 1
        for each in held:
            each.release()
        assert storage.list_folder(f"{output}/_state") == []


def test_of_two_processes_at_once_one_holds_it(reached: Store, output: str) -> None:
    flags = ["--no_auth"] if reached.scheme == "gs" else list(reached.flags)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, output, *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )
        for _ in range(2)
    ]  # fmt: skip
    pipes = [(racer.stdin, racer.stdout) for racer in racers]
    for _, out in pipes:
        assert out is not None
        assert out.readline() == "ready\n"
    for to, _ in pipes:
        assert to is not None
        print(file=to, flush=True)
    assert sorted(out.readline() for _, out in pipes if out) == ["busy\n", "held\n"]
    for racer in racers:
        racer.communicate("\n")
        assert racer.returncode == 0


def test_a_lock_is_taken_where_answers_are_lost(reached: Store, output: str) -> None:
    for seed in range(6):
        reached.proxy.fail(0.4, seed, most=6)
        with Lock(output) as held:
            held.confirm()
        reached.proxy.fail(0)
        assert storage.list_folder(f"{output}/_state") == []


def test_a_lock_is_renewed_until_another_run_takes_it(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_S", 0.1)
    held = Lock(output)
    uri = f"{output}/_state/lock.json"
    first = json.loads(storage.read_whole(uri)[0])
    deadline = time.monotonic() + 60
    while json.loads(storage.read_whole(uri)[0])["renewed"] == first["renewed"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    storage.write_atomic(uri, json.dumps({**first, "token": "another", "pid": 77}).encode())
    time.sleep(0.5)
    with pytest.raises(OutputBusy, match="process 77"):
        held.confirm()
    held.release()
    assert json.loads(storage.read_whole(uri)[0])["token"] == "another"


def test_a_store_that_does_not_mind_conditions_is_refused(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.storage import remote

    def unconditional(uri: str, data: bytes, version: str | None) -> bool:
        storage.write_atomic(uri, data)
        return True

    monkeypatch.setattr(remote, "write_if", unconditional)
    with pytest.raises(OutputError, match="cannot be locked: its store does not mind conditions"):
        Lock(output)
    assert storage.list_folder(f"{output}/_state") == []
