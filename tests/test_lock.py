from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.output import lock
from pipeline.output.holder import RUN, STALE_AFTER_S
from pipeline.output.lock import Lock, OutputBusy
from pipeline.output.tasks import Task

HOLD = (
    "import sys, time; from pipeline.output.lock import Lock;"
    "Lock(sys.argv[1]); print('held', flush=True); time.sleep(100)"
)


def lock_file(directory: Path) -> Path:
    return directory / "_state/lock.json"


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_refused_and_learns_who_holds_it(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(OutputBusy, match=rf"being written by process {holder.pid} on .* since \d{{4}}-"):
        Lock(str(tmp_path))


@pytest.mark.parametrize("reaped", [True, False])
def test_a_dead_processs_lock_is_taken_over(tmp_path: Path, holder: subprocess.Popen[bytes], reaped: bool) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    if reaped:
        holder.wait()
    else:  # a zombie writes nothing either
        while "Z" not in Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]:
            time.sleep(0.01)
    with Lock(str(tmp_path)) as taken:
        taken.confirm()
    assert not lock_file(tmp_path).exists()


def test_another_process_with_the_pid_of_the_dead_one_does_not_hold_it(tmp_path: Path) -> None:
    Lock(str(tmp_path))
    content = json.loads(lock_file(tmp_path).read_text())
    lock_file(tmp_path).write_text(json.dumps({**content, "started": "1"}))
    Lock(str(tmp_path)).release()


def test_a_lock_of_another_host_holds_while_it_is_renewed(tmp_path: Path) -> None:
    Lock(str(tmp_path))
    content = {**json.loads(lock_file(tmp_path).read_text()), "host": "elsewhere/1/2"}
    lock_file(tmp_path).write_text(json.dumps({**content, "renewed": time.time() - STALE_AFTER_S + 30}))
    with pytest.raises(OutputBusy, match="on elsewhere since"):
        Lock(str(tmp_path))
    lock_file(tmp_path).write_text(json.dumps({**content, "renewed": time.time() - STALE_AFTER_S - 1}))
    Lock(str(tmp_path)).release()


def test_a_lock_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_S", 0.05)
    with Lock(str(tmp_path)):
        first = json.loads(lock_file(tmp_path).read_text())
        deadline = time.monotonic() + 300
        while json.loads(lock_file(tmp_path).read_text())["renewed"] == first["renewed"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert json.loads(lock_file(tmp_path).read_text())["since"] == first["since"]


def test_a_lock_that_was_taken_over_is_noticed_and_left_alone(tmp_path: Path) -> None:
    mine = Lock(str(tmp_path))
    mine.confirm()
    content = {**json.loads(lock_file(tmp_path).read_text()), "token": "another", "pid": 77}
    lock_file(tmp_path).write_text(json.dumps(content))
    with pytest.raises(OutputBusy, match="process 77"):
        mine.confirm()
    mine.release()
    assert json.loads(lock_file(tmp_path).read_text()) == content


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    def attempt(_: int) -> Lock | None:
        try:
            return Lock(str(tmp_path))
        except OutputBusy:
            return None

    with ThreadPoolExecutor(16) as pool:
        held = [found for found in pool.map(attempt, range(16)) if found]
    assert len(held) == 1
    held[0].release()


def test_of_many_that_find_a_dead_one_one_takes_it_over(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    test_of_many_at_once_one_gets_it(tmp_path)


def test_without_flock_the_lock_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that has no locks."""

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("pipeline.output.lock.fcntl.flock", unsupported)
    monkeypatch.setattr(lock, "SETTLE_S", 0.3)
    test_of_many_at_once_one_gets_it(tmp_path)


def test_a_job_that_outlives_its_command_commits_unless_somebody_is_at_work(tmp_path: Path) -> None:
    with Lock(str(tmp_path)) as held:
        lock.expect(str(tmp_path), held.token)
    lock.expect(str(tmp_path), held.token)
    for other in (None, Task(1, 3)):
        with Lock(str(tmp_path), other), pytest.raises(OutputBusy):
            lock.expect(str(tmp_path), held.token)


def test_tasks_exclude_each_other_where_a_clip_would_be_both_s(tmp_path: Path) -> None:
    with Lock(str(tmp_path), Task(0, 3)), Lock(str(tmp_path), Task(1, 3)):
        for rival in (Task(1, 3), Task(4, 6), Task(0, 2)):
            with pytest.raises(OutputBusy, match=r"\(task [01]/3\)"):
                Lock(str(tmp_path), rival)
        Lock(str(tmp_path), Task(5, 6)).release()


def test_runs_and_tasks_exclude_each_other(tmp_path: Path) -> None:
    with Lock(str(tmp_path), Task(0, 3)), pytest.raises(OutputBusy, match=r"\(task 0/3\)") as caught:
        Lock(str(tmp_path))
    assert caught.value.role == "task 0/3"
    with Lock(str(tmp_path)), pytest.raises(OutputBusy, match=r"since [-0-9: ]+\. Wait") as caught:
        Lock(str(tmp_path), Task(0, 3))
    assert caught.value.role == RUN
    with Lock(str(tmp_path), role=lock.OPENING), pytest.raises(OutputBusy) as caught:
        Lock(str(tmp_path), Task(0, 3))
    assert caught.value.role == lock.OPENING


def test_the_lock_of_a_dead_task_goes_with_the_next_run(tmp_path: Path) -> None:
    dead = Lock(str(tmp_path), Task(0, 3))
    file = tmp_path / "_state/task-0-of-3.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "started": "1"}))
    with Lock(str(tmp_path)):
        assert not file.exists()
        with pytest.raises(OutputBusy, match="was removed"):
            dead.confirm()
    dead.release()


def test_a_lock_file_that_makes_no_sense_holds_nobody_up(tmp_path: Path) -> None:
    lock_file(tmp_path).parent.mkdir()
    lock_file(tmp_path).write_text("{")
    Lock(str(tmp_path)).release()
