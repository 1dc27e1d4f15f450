"""Long recordings: what was embedded of one outlives a killed run, is used once, and whatever the segments are."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.decoding.decoders import DecoderPool
from pipeline.embedding import models
from pipeline.output import history
from pipeline.output.journal import held, rows, writer
from pipeline.output.tasks import Task
from pipeline.running import tasks
from pipeline.running.counts import Counts
from pipeline.running.engines.watch import counts_of
from pipeline.types import Clip, DecodeRequest
from tests import outputs
from tests.command import manifest
from tests.in_process import Embed
from tests.interrupted_run import values_of
from tests.test_interruption import Run, no_faults

FLAGS = ["--hop_seconds", "0.01", "--max_failures", "0", "--num_shards", "1"]
SPLIT = ["--segment_seconds", "6"]
SECONDS = 20


class StoppedError(Exception):
    """The network, in the middle of a recording."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    noise = np.random.default_rng(3).normal(0, 0.1, SECONDS * 16000)
    soundfile.write(folder / "day.wav", noise, 16000)
    soundfile.write(folder / "day.mp3", noise, 16000)
    return folder


def held_clip(output: Path) -> held.HeldClip:
    """What row files hold of the only recording."""
    parts = held.files_of(str(output), manifest(output)["fingerprint"]).parts(range(1))
    (variants,) = held.look(str(output), parts).clips.values()
    (found,) = variants
    return found


def rows_in(output: Path) -> int:
    """How many rows are kept."""
    return held_clip(output).examples


@pytest.mark.parametrize("name", ["day.wav", pytest.param("day.mp3", marks=pytest.mark.ci)])
@pytest.mark.parametrize("kind", ["quantized", pytest.param("raw", marks=pytest.mark.ci)])
def test_rows_that_are_there_are_not_embedded_again(
    recording: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr(writer, "FIRST_S", 0.0)
    monkeypatch.setattr(writer, "SHARE", 0.0)
    embedded: list[int] = []
    limit = [10**9]

    def counted(examples: np.ndarray) -> np.ndarray:
        if sum(embedded) >= limit[0]:
            raise StoppedError
        embedded.append(len(examples))
        time.sleep(0.02)  # as long as it takes to write what came before
        values = values_of(examples)
        return values if kind == "quantized" else values.astype(np.float32)

    monkeypatch.setattr(models, "load", lambda model, check=False: models.finished(counted))
    flags = ["--input", recording / name, *FLAGS, *SPLIT, "--embeddings", kind]
    assert embed_here(tmp_path / "whole", *flags).status == 0
    total = sum(embedded)
    assert not rows.names(str(tmp_path / "whole"))

    output = tmp_path / "out"
    embedded.clear()
    limit[0] = total * 3 // 4
    assert embed_here(output, *flags).status == 1
    kept = rows_in(output)
    assert 0 < kept <= sum(embedded)
    assert kept >= sum(embedded) - 64 * 10  # batches in flight, and those of the file that was being written
    embedded.clear()
    limit[0] = 10**9
    assert embed_here(output, *flags, "--segment_seconds", "2.5").status == 0  # other segments find the same rows
    assert sum(embedded) == total - kept
    assert outputs.content(output) == outputs.content(tmp_path / "whole")
    assert not rows.names(str(output))


def test_segments_that_are_there_are_not_decoded_again(
    recording: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FIRST_S", 0.0)
    monkeypatch.setattr(writer, "SHARE", 0.0)
    asked: Counter[int] = Counter()
    submit, calls = DecoderPool.submit, [0]

    def counted(pool: DecoderPool, request: DecodeRequest) -> object:
        asked.update(segment.index for segment in request.segments)
        return submit(pool, request)

    def stops(examples: np.ndarray) -> np.ndarray:
        calls[0] += 1
        if calls[0] > 20:
            raise StoppedError
        time.sleep(0.02)
        return values_of(examples)

    monkeypatch.setattr(DecoderPool, "submit", counted)
    flags = ["--input", recording / "day.wav", *FLAGS, *SPLIT]
    with monkeypatch.context() as patch:
        patch.setattr(models, "load", lambda model, check=False: models.finished(stops))
        assert embed_here(tmp_path / "out", *flags).status == 1
    ended = {index for index, _ in held_clip(tmp_path / "out").ended()}
    assert 0 < len(ended) < 4
    asked.clear()
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})
    monkeypatch.setattr(models, "load", lambda model, check=False: models.finished(values_of))
    assert embed_here(tmp_path / "out", *flags).status == 0
    assert set(asked) == set(range(4)) - ended


@pytest.mark.parametrize("counters", [True, False])
def test_a_recording_counts_for_the_run_that_finishes_it(
    recording: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch, counters: bool
) -> None:
    """Though its last segment was there already; on engines without counters, too."""
    audio, output = tmp_path / "audio", tmp_path / "out"
    audio.mkdir()
    (audio / "day.wav").symlink_to(recording / "day.wav")
    mine, other = (0, 1) if Task(0, 2).owns(Clip("day", "")) else (1, 0)
    name = next(name for name in map(str, range(9)) if Task(other, 2).owns(Clip(name, "")))
    (audio / f"{name}.wav").symlink_to(recording / "day.wav")  # so that no task commits
    flags = ["--input", audio, *FLAGS, *SPLIT, "--task", f"{mine}/2"]
    done = embed_here(output, *flags)
    assert f"task {mine}/2: 1 clip, 0 failed" in done.out
    total = rows_in(output)
    fingerprint = manifest(output)["fingerprint"]
    for file in held.files_of(str(output), fingerprint).files:
        found = list(rows.read(str(output), *file.parts))
        for of_clip in found:
            of_clip.embeddings = [piece for piece in of_clip.embeddings if piece.segment]
            of_clip.endings = [end for end in of_clip.endings if end.segment]
        rows.write(str(output), fingerprint, 1, found, file.made_with)
        (output / rows.ROWS / file.name).unlink()
    missing = total - rows_in(output)
    assert 0 < missing < total
    (first,) = history.read(str(output))

    told: list[Counts] = []

    def counted(result: object) -> Counts:
        told.append(counts_of(result))
        return told[0] if counters else Counts()

    monkeypatch.setattr(tasks, "counts_of", counted)
    done = embed_here(output, *flags)
    assert done.status == 0, done.err
    assert f"task {mine}/2: 1 clip, 0 failed" in done.out
    assert "embedded in" in done.out
    assert told[0].clips == 1
    (again,) = [run for run in history.read(str(output)) if run != first]
    assert sum(piece.clips for piece in again.pieces) == 1
    assert sum(piece.examples for piece in again.pieces) == missing


@pytest.mark.parametrize(
    "task", [pytest.param([], marks=pytest.mark.ci), pytest.param(["--task", "0/1"], marks=pytest.mark.full)]
)
def test_killed_in_the_middle_of_one_long_recording(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: list[str]
) -> None:
    monkeypatch.setenv("TEST_NOTE_BATCHES", "1")
    flags: list[str | Path] = ["--input", recording / "day.wav", *FLAGS[:2], *FLAGS[4:], *SPLIT]
    output = tmp_path / "out"
    first = Run(tmp_path / "first", *flags, *task, "--output", output, example_s=0.005)
    while len(list((output / rows.ROWS).glob("*.rows"))) < 2:
        assert first.process.poll() is None
        time.sleep(0.01)
    assert first.signal(signal.SIGKILL)[0] == -signal.SIGKILL
    kept = rows_in(output)
    no_faults(output)
    assert not list(output.glob("embeddings-*"))
    second = Run(tmp_path / "second", *flags, *task, "--output", output, example_s=0)
    status, said = second.end()
    assert status == 0, said
    whole = Run(tmp_path / "whole", *flags, "--output", tmp_path / "whole out", example_s=0)
    assert whole.end()[0] == 0
    assert counted(second) == counted(whole) - kept
    assert outputs.content(output) == outputs.content(tmp_path / "whole out")
    assert not rows.names(str(output))


def counted(run: Run) -> int:
    """Examples that a run embedded."""
    return sum(int(line.split()[1]) for line in run.lines() if line.startswith("rows "))
