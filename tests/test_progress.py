"""Tallies of several workers, and what is shown of them."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from pipeline.cli.console import progress
from pipeline.running import counts
from pipeline.running import progress as running_progress
from pipeline.running.engines.runners import Engine
from pipeline.running.progress import Progress


def test_tallies_add_up(tmp_path: Path) -> None:
    workers = [counts.WorkerTally(str(tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.add(clips=2, failed=1, examples=10, audio_s=9.6)
        worker.add(clips=1)
        worker.flush()
    assert counts.total(str(tmp_path)) == counts.Counts(9, 3, 30, 9.6 * 3)


def test_a_tally_nobody_looks_at_writes_nothing(tmp_path: Path) -> None:
    tally = counts.WorkerTally(str(tmp_path / "gone"))
    tally.add(clips=1)
    counts.WorkerTally(None).add(clips=1)
    assert not list(tmp_path.iterdir())


def progress_of(clips: int, done: counts.Counts, stage: str = "embedding", page: str = "") -> Progress:
    return Progress(clips, done, stage, page, working_s=10.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_says_how_far_and_how_long() -> None:
    line = progress.ProgressLine(stream=io.StringIO())
    done = counts.Counts(100, 3, 1000, 960.0)
    assert line.line(progress_of(400, done)) == "100 / 400 clips, 3 failed, 96 × real time, 30 s left"
    slow = counts.Counts(1, 0, 5, 42.0)
    assert line.line(progress_of(400, slow, "writing shards")) == "1 / 400 clips, 4.2 × real time, writing shards"
    assert line.line(progress_of(400, counts.Counts())) == "0 / 400 clips"


def test_a_log_gets_plain_lines_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.01)
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    stream = io.StringIO()
    with progress.ProgressLine(stream=stream) as line:
        for _ in range(5):
            line.show(progress_of(4, counts.Counts(clips=2)))
            time.sleep(0.02)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 3
    assert all(text.startswith("2 / 4 clips") for text in lines)


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with progress.ProgressLine(stream=stream) as line:
        line.show(progress_of(4, counts.Counts(clips=3, failed=1)))
    assert "3 / 4 clips, 1 failed" in stream.getvalue()


def _drawn(stream: io.StringIO, wanted: str) -> bool:
    until = time.monotonic() + 20
    while wanted not in stream.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    return wanted in stream.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_stage_that_takes_long_is_shown(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """A log has a line of it, a terminal one that is replaced."""
    monkeypatch.setattr(progress, "QUIET_S", 0.3)
    stream = kind()
    with progress.ProgressLine(stream=stream) as line:
        line.stage("finding the weights")
        line.stage("listing the audio")
        assert _drawn(stream, "listing the audio …")
        line.show(Progress(4, counts.Counts(), "planning"))
        assert _drawn(stream, "planning …")
        time.sleep(0.6)
    text = stream.getvalue()
    assert "weights" not in text
    if kind is io.StringIO:
        assert text == "listing the audio …\nplanning …\n"
    else:
        assert text.endswith("\r\x1b[K")  # nothing stays on the screen
        assert "\n" not in text


def test_a_stage_is_told_again_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 1.0)
    stream = io.StringIO()
    with progress.ProgressLine(stream=stream) as line:
        line.stage("listing the audio")
        line.count(1)
        assert _drawn(stream, "listing the audio: 1 file … 1 s\n")
        line.count(12_345)
        assert _drawn(stream, "listing the audio: 12,345 files … 2 s\n")
        line.stage("finding the weights")
        assert _drawn(stream, "finding the weights …\n")


def test_a_short_command_says_nothing() -> None:
    for kind in (Terminal, io.StringIO):
        stream = kind()
        with progress.ProgressLine(stream=stream) as line:
            line.stage("listing the audio")
            line.stage("")
        assert stream.getvalue().strip("\r\x1b[K") == ""


def test_the_bar_is_legible_at_80_columns() -> None:
    stream = Terminal()
    with progress.ProgressLine(stream=stream) as line:
        line.show(progress_of(12_345, counts.Counts(10_000, 234, 10**6, 4_800.0)))
        line._bar.dynamic_ncols, line._bar.ncols = None, 79  # as tqdm finds for a terminal of 80
        line._bar.refresh()
    shown = stream.getvalue().split("\r")[-3].rstrip()
    assert len(shown) <= 80
    assert len(shown.split("|")[1]) >= 5


def test_off_draws_nothing() -> None:
    with progress.ProgressLine("off", io.StringIO()) as line:
        assert line.off


def test_the_line_tells_the_page_once() -> None:
    stream, page = io.StringIO(), "http://localhost:8081/#/job/running"
    with progress.ProgressLine(stream=stream) as line:
        for _ in range(3):
            line.show(progress_of(4, counts.Counts(clips=2), page=page))
    assert stream.getvalue() == f"The job's page: {page}\n"


def test_progress_is_reported_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the tallies of this machine's workers, with the stage and the page, and once more at the end."""
    monkeypatch.setattr(running_progress, "INTERVAL_S", 0.02)
    seen: list[Progress] = []
    with running_progress.watched(Engine("FnApiRunner", (), True, 1), 4, seen.append) as job:
        assert job.engine.watch is not None
        job.engine.watch.begin()
        job.engine.watch.running(None, "http://localhost:8081/")
        counts.WorkerTally(job.tallies).add(clips=2, examples=7)
        until = time.monotonic() + 20
        while not (seen and seen[-1].done.clips == 2) and time.monotonic() < until:
            time.sleep(0.01)
        counts.WorkerTally(job.tallies).add(clips=2)
    assert Progress(4, counts.Counts(clips=2, examples=7), "embedding", "http://localhost:8081/") in seen
    assert seen[-1] == Progress(4, counts.Counts(clips=4, examples=7), "writing shards", "http://localhost:8081/")


def test_nobody_asks() -> None:
    with running_progress.watched(Engine("FnApiRunner", (), True, 1), 4, None) as job:
        assert Path(job.tallies or "").is_dir()
    assert not Path(job.tallies or "gone").exists()
