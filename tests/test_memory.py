"""The command's memory, over all its processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.command import REPOSITORY, STANDIN, manifest
from tests.test_extract import sparse_wav

MAX_BYTES = 2_500_000_000


def peak_of_run(output: Path, *flags: str | Path) -> int:
    """Run the command -> the largest sum of its processes' resident sizes in bytes, looked at ten times a second."""
    command = psutil.Popen(
        [sys.executable, "-m", "pipeline.run", "--output", output, *STANDIN, *map(str, flags)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    try:
        while command.poll() is None:
            peak = max(peak, resident(command))
            time.sleep(0.1)
        assert command.returncode == 0, command.stderr.read()
    finally:
        if command.poll() is None:
            command.kill()
            command.wait()
    return peak


def resident(process: psutil.Process) -> int:
    """Bytes of a process and its descendants; pages that they share count for each."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        return 0  # one ended meanwhile: this look does not count
    return total


@pytest.mark.full
@pytest.mark.usefixtures("standin_weights")
@pytest.mark.parametrize("segment_seconds", ["100", "40000"], ids=["in parts", "in one"])
def test_ten_hours_take_no_more_memory_than_ten_minutes(tmp_path: Path, segment_seconds: str) -> None:
    """48 kHz stereo, 10 min in six parts or in one; a fifth of the default number of examples, for time's sake."""
    peaks = {}
    for seconds in (600, 36_000):
        audio = sparse_wav(tmp_path / f"{seconds}.wav", seconds)
        output = tmp_path / f"out-{seconds}"
        peaks[seconds] = peak_of_run(
            output, "--input", audio, "--hop_seconds", "4.8", "--segment_seconds", segment_seconds
        )
        assert manifest(output)["totals"]["audio_seconds"] == pytest.approx(seconds)
        assert manifest(output)["totals"]["examples"] == seconds * 5 // 24
    print(f"10 min {peaks[600] / 1e6:.0f} MB, 10 h {peaks[36_000] / 1e6:.0f} MB")
    assert peaks[36_000] < 1.15 * peaks[600]
    assert peaks[36_000] < MAX_BYTES
