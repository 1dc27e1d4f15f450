"""`pipeline.status`: how far an output is, while it is made, when it was stopped, and when it is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.cli import status as command
from pipeline.output.at_work import submitted
from pipeline.output.at_work.status import look
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.tasks import Task
from tests.command import REPOSITORY

CLIPS = 30
OFTEN = {"TEST_BATCH": "2", "TEST_ROWS_SECONDS": "0.05"}


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number in range(CLIPS):
        soundfile.write(folder / f"{number:02d}.wav", rng.normal(0, 0.1, 24_000), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


def started(folder: Path, audio: Path, *flags: str, example_s: float = 0.0) -> subprocess.Popen[bytes]:
    arguments = ["--input", audio, "--output", folder / "out", "--num_shards", "3", "--max_failures", "1", *flags]
    return subprocess.Popen(
        [str(item) for item in (sys.executable, "-m", "tests.interrupted_run", folder / "log", *arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **OFTEN, "TEST_EXAMPLE_SECONDS": str(example_s)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_run_is_followed_to_its_end(audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    process = started(tmp_path, audio, example_s=0.3)
    try:
        while not list(output.glob("_state/rows/*.rows")) or look(str(output)).rows.clips < 3:
            assert process.poll() is None
            time.sleep(0.05)
        found = look(str(output))
        assert not found.complete
        assert found.planned == CLIPS + 1
        assert found.done is not None
        assert 3 <= found.done == found.rows.clips
        assert found.at_work == (f"process {process.pid} on {os.uname().nodename} (a run)",)
        assert found.times_real_time
        assert command.main([str(output)]) == 0
        assert f"{output}: not finished, being written" in capsys.readouterr().out
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    found = look(str(output))
    assert (found.at_work, found.since, found.times_real_time) == ((), None, None)
    kept = found.rows.clips
    assert command.main([str(output)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{output}: not finished, nobody is at work"
    assert shown[2].startswith(f"  computed   {kept} clips not yet committed, ")
    assert shown[3].startswith(f"  planned    {CLIPS + 1} clips, {kept} of them computed (")

    assert started(tmp_path, audio).wait() == 0
    assert command.main([str(output), "--json"]) == 0
    found_json = json.loads(capsys.readouterr().out)
    totals = found_json["committed"]
    assert found_json["complete"]
    assert (totals["clips_in"], totals["written"], totals["failed"]) == (CLIPS + 1, CLIPS, 1)
    assert found_json["rows"] == {"clips": 0, "failed": 0, "examples": 0}
    assert (found_json["planned"], found_json["at_work"], found_json["jobs"]) == (None, [], [])
    assert command.main([str(output)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{output}: a finished data set"
    assert shown[1].startswith(f"  committed  {CLIPS + 1} clips: {CLIPS} written, 1 failed, 0 skipped; ")
    assert len(shown) == 2


@pytest.mark.ci
def test_tasks_and_jobs(audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    assert started(tmp_path, audio, "--task", "0/2").wait() == 0
    found = look(output)
    assert 0 < found.rows.clips < CLIPS
    assert found.committed["clips_in"] == 0
    submitted.write(output, Submitted("PortableRunner", "job-7", "EXTERNAL", "127.0.0.1:1", page="http://page"))
    submitted.write(output, Submitted("PrismRunner", "job-8"), Task(1, 2))
    assert {job.id for job in look(output).jobs} == {"job-7", "job-8"}
    assert look(output).planned is None
    assert list(submitted.noted(output, Task(0, 2)).values()) == [job for job in look(output).jobs if job.id == "job-7"]
    assert command.main([output]) == 0
    shown = capsys.readouterr().out
    assert "  job        job-7 of PortableRunner (http://page), unless it has ended: its engine knows" in shown


def test_what_is_no_output_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no manifest.json\n")


def test_it_is_quick() -> None:
    code = "import sys, pipeline.cli.status; print({'apache_beam', 'tensorflow', 'grpc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
