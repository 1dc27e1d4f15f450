"""A run's notes about its speed add up to the output's totals, and decide none of its bytes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from pipeline.output import history, resume
from pipeline.output.layout import OutputError
from pipeline.reporting import report
from pipeline.running import counts, progress
from tests import outputs
from tests.in_process import Embed


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    return make(tmp_path / "audio", 8)


def make(folder: Path, clips: int) -> Path:
    """A folder of so many clips of 1.5 s, and one that is no audio."""
    folder.mkdir()
    for number in range(clips):
        soundfile.write(folder / f"{clips}-{number}.wav", np.random.default_rng(number).normal(0, 0.1, 24_000), 16_000)
    (folder / f"{clips}-words.wav").write_bytes(b"words")
    return folder


@pytest.mark.ci
def test_the_stretches_of_a_run_add_up_to_its_output(
    tmp_path: Path, audio: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    monkeypatch.setattr(counts, "FLUSH_S", 0.0)
    monkeypatch.setattr(history, "STRETCH_S", 0.1)
    output = tmp_path / "out"
    done = embed_here(output, "--input", audio, "--max_failures", "100%")
    assert done.status == 0, done.err
    totals = json.loads((output / "manifest.json").read_text())["totals"]
    (run,) = history.read(str(output))
    assert len(run.pieces) > 1
    assert sum(piece.clips for piece in run.pieces) == totals["clips_in"]
    assert sum(piece.failed for piece in run.pieces) == totals["failed"]
    assert sum(piece.examples for piece in run.pieces) == totals["examples"]
    assert sum(piece.audio_seconds for piece in run.pieces) == pytest.approx(totals["audio_seconds"], abs=0.1)
    for piece in run.pieces:
        assert 0 <= piece.commit_s <= piece.seconds <= piece.at_s
    assert any(piece.inference_s is not None for piece in run.pieces)  # none where no clip had an example
    assert sum(piece.decode_s or 0 for piece in run.pieces) > 0
    assert [piece.at_s for piece in run.pieces] == sorted(piece.at_s for piece in run.pieces)

    assert embed_here(output, "--input", audio, "--max_failures", "100%").status == 0  # nothing to do: nothing noted
    assert len(history.read(str(output))) == 1


@pytest.mark.ci
def test_the_stretches_of_tasks_add_up_to_their_output(tmp_path: Path, audio: Path, embed_here: Embed) -> None:
    output = tmp_path / "out"
    flags = ["--input", audio, "--num_shards", "4", "--max_failures", "100%"]
    for task in ("1/2", "0/2"):
        done = embed_here(output, *flags, "--task", task)
        assert done.status == 0, done.err
    totals = json.loads((output / "manifest.json").read_text())["totals"]
    runs = history.read(str(output))
    assert sorted(run.task for run in runs) == ["0/2", "1/2"]
    assert all(run.pieces for run in runs)
    pieces = [piece for run in runs for piece in run.pieces]
    assert sum(piece.clips for piece in pieces) == totals["clips_in"]
    assert sum(piece.failed for piece in pieces) == totals["failed"]
    assert sum(piece.examples for piece in pieces) == totals["examples"]
    assert sum(piece.audio_seconds for piece in pieces) == pytest.approx(totals["audio_seconds"], abs=0.1)
    page = Path(report.write(str(output))).read_text()
    assert "Tasks of an array computed this" in page
    assert all(f">{task}</th>" in page for task in ("0/2", "1/2"))

    assert embed_here(output, "--input", make(tmp_path / "more", 2), *flags[2:]).status == 0
    assert "Tasks of an array" not in Path(report.write(str(output))).read_text()  # but the run since


def test_an_overwritten_output_forgets_its_runs(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    outputs.write(job, [outputs.clip(1)])
    log = history.Log(job, {"runner": "FnApiRunner", "workers": 1}, 0.0)
    log.begin(0.0)
    log.end({**dict.fromkeys(history.SUMS, 0.0), "clips": 1.0}, 0.0)
    (run,) = history.read(str(tmp_path))
    assert (run.engine["runner"], run.pieces[0].clips, run.pieces[0].decode_s) == ("FnApiRunner", 1, None)
    (tmp_path / "report.html").write_text("of the data set that goes")
    resume.start(str(tmp_path), job, overwrite=True)
    assert history.read(str(tmp_path)) == []
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "_state" / "run-20260102T030405Z-0a1b2c3d.json"
    path.parent.mkdir()
    path.write_text('{"pieces": 7}')
    with pytest.raises(OutputError, match=path.name):
        history.read(str(tmp_path))


def test_an_engine_that_tells_no_counters_is_no_error() -> None:
    def refuses() -> None:
        raise NotImplementedError("no metrics here")

    assert history.worked(SimpleNamespace(metrics=refuses)) == {}
