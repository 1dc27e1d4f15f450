"""What contributors' tools are told: hooks do what `make lint` does, other people's CI tests all supported Pythons."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

from tests.command import REPOSITORY


def _read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def test_hooks_are_those_of_make_lint_and_fetch_nothing() -> None:
    repositories = _read(".pre-commit-config.yaml")["repos"]
    assert {each["repo"] for each in repositories} == {"local"}
    hooks = [hook for each in repositories for hook in each["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    lint = (REPOSITORY / "Makefile").read_text().split("\nlint: install\n", 1)[1].split("\n\n", 1)[0]
    tools = re.findall(r"\$\(BIN\)/(ruff \w+|[\w-]+)", lint)
    found = [re.match(r"\.venv/bin/(ruff \w+|[\w-]+)", hook["entry"]) for hook in hooks]
    assert [each and each[1] for each in found] == tools


def test_hooks_are_understood() -> None:
    if find_spec("pre_commit") is None:
        pytest.skip("pre-commit is absent: make install gets it")
    command = [sys.executable, "-m", "pre_commit", "validate-config", REPOSITORY / ".pre-commit-config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_workflow_runs_all_supported_pythons() -> None:
    job = _read(".github/workflows/ci.yml")["jobs"]["ci"]
    versions = job["strategy"]["matrix"]["python"]
    lists = [re.findall(r'"3\.(\d+)"', each) for each in re.findall(r"'(\[.*?\])'", versions)]
    assert lists[0] == ["11"]
    supported = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (REPOSITORY / "pyproject.toml").read_text())
    assert supported
    assert lists[1] == [str(minor) for minor in range(int(supported[1]), int(supported[2]))]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
