"""How many processors count: those of the container, and of them the share of one worker process."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import machine


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")


def quotas(tmp_path: Path, groups: str) -> list[float]:
    (tmp_path / "cgroup").write_text(groups)
    return list(machine.quotas(tmp_path / "cgroup", tmp_path / "fs"))


def test_quotas_of_version_2_of_the_group_and_those_around_it(tmp_path: Path) -> None:
    group(tmp_path / "fs" / "kubepods" / "pod" / "container", cpu__max="150000 100000")
    group(tmp_path / "fs" / "kubepods" / "pod", cpu__max="max 100000")
    group(tmp_path / "fs" / "kubepods", cpu__max="400000 100000")
    assert quotas(tmp_path, "0::/kubepods/pod/container\n") == [1.5, 4.0]


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    group(tmp_path / "fs", cpu__max="200000 100000")
    assert quotas(tmp_path, "0::/\n") == [2.0]
    assert quotas(tmp_path, "0::/docker/0123\n") == [2.0]  # the path is the host's


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_quotas_of_version_1(tmp_path: Path, folder: str) -> None:
    files = {"cpu__cfs_period_us": "50000"}
    group(tmp_path / "fs" / folder, cpu__cfs_quota_us="-1", **files)
    group(tmp_path / "fs" / folder / "job", cpu__cfs_quota_us="125000", **files)
    group(tmp_path / "fs" / "cpuset" / "job", cpu__cfs_quota_us="1", **files)
    assert quotas(tmp_path, "9:cpuset:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n") == [2.5]


@pytest.mark.parametrize("content", ["max 100000", "200000", "", "200000 0", "two 100000"])
def test_what_is_no_quota_limits_nothing(tmp_path: Path, content: str) -> None:
    group(tmp_path / "fs", cpu__max=content)
    assert quotas(tmp_path, "0::/\n") == []


def test_no_control_groups() -> None:
    assert list(machine.quotas(Path("/no/such/file"))) == []


@pytest.mark.parametrize(("found", "most"), [([1.5], 2), ([0.1], 1), ([], math.inf), ([1000.0], math.inf)])
def test_a_quota_limits_the_cores(monkeypatch: pytest.MonkeyPatch, found: list[float], most: float) -> None:
    monkeypatch.setattr(machine, "quotas", list)
    allowed = machine.cores()
    monkeypatch.setattr(machine, "quotas", lambda: found)
    assert machine.cores() == min(most, allowed)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="by /proc")
def test_worker_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them finds the others; what is none of them counts itself alone."""
    code = "from pipeline import machine; print(machine.worker_processes(), flush=True); input()"

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(process: subprocess.Popen[str]) -> int:
        assert process.stdout
        return int(process.stdout.readline())

    processes = []
    try:
        for number in (1, 2, 3):
            processes.append(start(machine.SDK_WORKER.decode()))
            assert said(processes[-1]) >= number
        processes.append(start())
        assert said(processes[-1]) == 1
    finally:
        for process in processes:
            process.communicate("\n")
    monkeypatch.setattr(machine, "worker_processes", lambda: 3)
    assert machine.cores_a_process() == max(1, machine.cores() // 3)
