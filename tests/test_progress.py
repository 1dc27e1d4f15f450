"""Tallies of several workers, and what is shown of them."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from pipeline import progress
from pipeline.engines import watch


def test_tallies_add_up(tmp_path: Path) -> None:
    workers = [progress.Tally(str(tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.add(clips=2, failed=1, examples=10, audio_s=9.6)
        worker.add(clips=1)
        worker.flush()
    assert progress.total(str(tmp_path)) == progress.Counts(9, 3, 30, 9.6 * 3)


def test_a_tally_nobody_looks_at_writes_nothing(tmp_path: Path) -> None:
    tally = progress.Tally(str(tmp_path / "gone"))
    tally.add(clips=1)
    progress.Tally(None).add(clips=1)
    assert not list(tmp_path.iterdir())


def test_the_line_says_how_far_and_how_long(monkeypatch) -> None:
    line = progress.ProgressLine(400, progress.Counts, stream=io.StringIO())
    line._start = time.monotonic() - 10
    assert line.line(progress.Counts(100, 3, 1000, 960.0)) == "100 / 400 clips, 3 failed, 96 × real time, 30 s left"
    assert line.line(progress.Counts()) == "0 / 400 clips, 0 failed, 0 × real time, unknown time left"


def test_a_log_gets_plain_lines_at_intervals(monkeypatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.01)
    stream = io.StringIO()
    with progress.ProgressLine(4, lambda: progress.Counts(clips=2), stream=stream):
        time.sleep(0.1)
    lines = stream.getvalue().splitlines()
    assert lines
    assert all(text.startswith("2 / 4 clips") for text in lines)


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with progress.ProgressLine(4, lambda: progress.Counts(clips=3, failed=1), stream=stream):
        time.sleep(0.05)
    assert "3 / 4 clips" in stream.getvalue()
    assert "1 failed" in stream.getvalue()


def test_off_draws_nothing() -> None:
    stream = io.StringIO()
    with progress.ProgressLine(4, progress.Counts, mode="off", stream=stream):
        time.sleep(0.02)
    assert stream.getvalue() == ""


def test_the_line_names_the_stage_and_tells_the_page_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FLUSH_S", 0.01)
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.02)
    seen, stream = watch.Watch(), io.StringIO()
    seen.begin()
    seen.running(None, "http://localhost:8081/#/job/running")
    with progress.ProgressLine(4, lambda: progress.Counts(clips=2), stream=stream, watch=seen):
        time.sleep(0.3)
    lines = stream.getvalue().splitlines()
    assert lines.count("The job's page: http://localhost:8081/#/job/running") == 1
    assert any(text.startswith("2 / 4 clips, 0 failed, 0 × real time, embedding, ") for text in lines)
