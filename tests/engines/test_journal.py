"""One job on an engine, killed with all its workers: what was finished is kept, and the end is that of a clean run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.output.journal import held, rows
from tests import command, outputs
from tests.command import REPOSITORY, STANDIN
from tests.engines.conftest import Running, engines, make_clip

pytestmark = pytest.mark.usefixtures("standin_weights")

SHARDS = 10
FULL_CLIPS, FULL_KILLS = 10_000, 10
CLIPS, KILLS = 200, 1
KEPT = 0.94
"""Of the rows that were finished when everything was killed. A small job has as many in flight as a large one."""


@pytest.fixture(scope="module")
def clips(full: bool, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of five seconds: ESC-10's by many names, or a few made ones."""
    folder = tmp_path_factory.mktemp("clips")
    made = folder / "made"
    made.mkdir()
    if full:
        files = sorted((request.getfixturevalue("shared_data") / "audio" / "esc10").glob("*/*.ogg"))
    else:
        files = [make_clip(made, number) for number in range(20)]
    links = folder / "links"
    links.mkdir()
    for number in range(FULL_CLIPS if full else CLIPS):
        file = files[number % len(files)]
        (links / f"{number:05d}{file.suffix}").symlink_to(file)
    return links


def started(engine: Running, output: Path, *flags: str | Path) -> subprocess.Popen[bytes]:
    """The command in a session of its own."""
    arguments = ["-m", "pipeline.run", "--output", output, *STANDIN, "--report", "off", *engine.flags, *flags]
    return subprocess.Popen(
        [str(item) for item in (sys.executable, "-m", "tests.engines.observed", engine.log, *arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kept_rows(output: Path) -> int:
    """Embeddings in row files."""
    files = held.files_of(str(output), command.manifest(output)["fingerprint"])
    clips = held.look(str(output), files.parts(range(SHARDS))).clips
    return sum(stop - start for found in clips.values() for clip in found for start, stop in clip.filled())


# Others have workers that are not the command's to kill, or that nobody observes.
@pytest.mark.parametrize(
    "engine", engines("threads", "prism-loopback", "jobs-loopback", full={"jobs-loopback"}), indirect=True
)
def test_a_job_killed_at_any_moment_keeps_what_was_finished(
    engine: Running, clips: Path, tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(21)
    flags = ["--input", clips, "--num_shards", str(SHARDS), "--max_failures", "0"]
    engine.log.unlink(missing_ok=True)
    begun = time.monotonic()
    done = engine.embed(tmp_path / "clean", *flags)
    clean_s = time.monotonic() - begun
    assert done.status == 0, done.err
    total = engine.observed().rows
    expected = outputs.content(tmp_path / "clean")
    for kill in range(FULL_KILLS if full else KILLS):
        share = 0.95 if full and not kill else rng.uniform(0.2 if full else 0.6, 0.95)
        output = tmp_path / f"out{kill}"
        engine.log.unlink(missing_ok=True)
        begun = time.monotonic()
        process = started(engine, output, *flags)
        while engine.observed().rows < share * total:
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        killed = engine.observed().rows
        process.wait()
        assert not list(output.glob("embeddings-*"))
        kept = kept_rows(output)
        engine.log.unlink()
        done = engine.embed(output, *flags)
        took_s = time.monotonic() - begun
        assert done.status == 0, done.err
        again = engine.observed().rows
        assert outputs.content(output) == expected
        assert not rows.names(str(output))
        with capsys.disabled():
            print(
                f"\n{engine.name}: killed at {killed / total:.0%}, {kept / killed:.1%} of {killed:,} rows kept, "
                f"{again:,} of {total:,} embedded again; {took_s / clean_s:.2f} × the time of one run"
            )
        assert again == total - kept
        assert kept > (KEPT if full else 0.3) * killed
