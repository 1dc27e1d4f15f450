"""A run whose work is done exits 0, though its last words cannot be printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.command import REPOSITORY, STANDIN, manifest


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a corpus whose embeddings are there: a run finds nothing to do."""
    folder = tmp_path_factory.mktemp("words")
    for name in ("a×b", "c"):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    assert command(folder, subprocess.DEVNULL).returncode == 0
    return folder


def command(folder: Path, output: int, **environment: str) -> subprocess.CompletedProcess[str]:
    flags = ["--input", str(folder / "*.wav"), "--output", str(folder / "out"), *STANDIN, "--report", "off"]
    return subprocess.run(
        [sys.executable, "-m", "pipeline.run", *flags],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("where", ["full device", "closed pipe", "ASCII"])
def test_what_cannot_be_printed_is_no_failure(done: Path, where: str) -> None:
    if where == "ASCII":
        found = command(done, subprocess.PIPE, PYTHONIOENCODING="ascii")
        assert "2 clips: 2 written" in found.stdout
        assert "\\xd7 realtime" in found.stdout or "×" not in found.stdout
    else:
        reader, writer = os.pipe()
        os.close(reader)
        full = os.open("/dev/full", os.O_WRONLY)
        found = command(done, full if where == "full device" else writer)
        os.close(writer)
        os.close(full)
    assert (found.returncode, "Traceback" in found.stderr) == (0, False), found.stderr
    assert manifest(done / "out")["complete"]
