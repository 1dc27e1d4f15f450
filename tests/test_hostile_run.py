"""The command with decoders that crash, hang or take too much memory: its cost, its results, and the end by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.command import REPOSITORY, STANDIN, failures, manifest, shard_bytes
from tests.in_process import Embed

pytestmark = pytest.mark.usefixtures("standin_weights")
RATE = 8000
FAULTS = {"segfault 1": "crashed", "killed 2": "crashed", "hang 3": "timed_out", "balloon 4": "too_large"}
GOOD = [f"good {number}" for number in range(6)]


@pytest.fixture(scope="module")
def decoders_stay() -> None:
    """They do not: each run has decoders of its own, or none is left to look for."""


def start(output: Path, *flags: str | Path, network: str) -> subprocess.Popen[str]:
    """`python -m tests.hostile.run` as a shell starts it: a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.run", "--output", output, *STANDIN, *map(str, flags)],
        cwd=REPOSITORY,
        env={**os.environ, "TEST_NETWORK": network},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def decoders_of(output: Path) -> list[psutil.Process]:
    """Decoder processes whose ancestor is the command that writes to `output`, or that have lost it."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        if "tests.hostile.named" in (process.info["cmdline"] or []):
            parent = process.parent()
            if parent is None or parent.pid == 1 or str(output) in parent.cmdline():
                found.append(process)
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    for seed, name in enumerate([*FAULTS, *GOOD]):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(seed).normal(0, 0.1, 3 * RATE), RATE)
    return folder


@pytest.mark.ci
def test_faults_cost_their_own_clips_and_the_next_run_finds_no_trace(
    corpus: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.decoding import decoders
    from tests.hostile.run import HostilePool

    output = tmp_path / "out"
    flags = ["--input", f"{corpus}/**", "--decode_timeout_seconds", "3", "--decode_memory_mb", "64"]
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "DecoderPool", HostilePool)
        done = embed_here(output, *flags, "--max_failures", "4")
    assert done.status == 0, done.err
    assert {name: line["reason"] for name, line in failures(output).items()} == FAULTS
    totals = manifest(output)["totals"]
    assert [totals[name] for name in ("clips_in", "written", "failed", "skipped")] == [10, 6, 4, 0]
    for reason in FAULTS.values():
        assert reason in done.out
    assert decoders_of(output) == []
    # With decoders that behave, --retry_failed leaves what a run without faults would have written.
    assert embed_here(output, *flags, "--retry_failed").status == 0
    assert embed_here(tmp_path / "never failed", *flags).status == 0
    assert shard_bytes(output) == shard_bytes(tmp_path / "never failed")
    assert failures(output) == {}


@pytest.mark.parametrize(
    "network", [pytest.param("digests", marks=pytest.mark.ci), pytest.param("vggish", marks=pytest.mark.full)]
)
def test_ctrl_c_leaves_no_process_and_the_same_command_continues(corpus: Path, tmp_path: Path, network: str) -> None:
    """The command as a process group, interrupted while one decoder hangs and others work."""
    output = tmp_path / "out"
    flags = ["--input", f"{corpus}/**", "--decode_timeout_seconds", "3", "--decode_memory_mb", "64"]
    flags += ["--max_failures", "4"]
    command = start(output, *flags, network=network)
    try:
        wait_for(lambda: command.poll() is not None or len(decoders_of(output)) >= 2)
        children = decoders_of(output)
        os.killpg(command.pid, signal.SIGINT)
        out, err = command.communicate()
    finally:
        command.kill()
        command.wait()
    assert command.returncode == 130, out + err
    assert "same command continues" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children)
    assert alive == []
    assert decoders_of(output) == []
    again = start(output, *flags, network=network)
    out, err = again.communicate()
    assert again.returncode == 0, out + err
    assert manifest(output)["totals"]["written"] == 6
    assert {name: line["reason"] for name, line in failures(output).items()} == FAULTS
    assert decoders_of(output) == []


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
