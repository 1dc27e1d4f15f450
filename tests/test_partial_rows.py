"""Long recordings: what was embedded of one outlives a killed run, is used once, and never for anything else."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedding import models
from pipeline.output import partial_rows
from pipeline.output.partial_rows import PARTIAL, ROWS_OF_A_PART, Parts, Place
from pipeline.types import Clip, Embedding, ExampleBlock, Segment
from tests import outputs
from tests.in_process import Embed
from tests.interrupted_run import values_of
from tests.test_interruption import Run, no_faults

CLIP = Clip("day", "/audio/day.wav", size_bytes=10**9, version="1")
FLAGS = ["--hop_seconds", "0.01", "--max_failures", "0", "--num_shards", "1", "--segment_seconds", "6"]
SECONDS = 20
ROWS = 512
"""Of a part, in runs of the command: few, so that a short recording is a long one."""


def parts_in(output: Path) -> list[Path]:
    return sorted((output / PARTIAL).glob("*.part"))


def rows_in(output: Path) -> int:
    """How many rows are kept."""
    heads = [json.loads(path.read_bytes().partition(b"\n")[0]) for path in parts_in(output)]
    return sum(count for head in heads for _, count in head["runs"])


def rows(start: int, count: int, clip: Clip = CLIP) -> Embedding:
    return Embedding(clip, 0, start, (np.arange(start, start + count) % 256).astype(np.uint8)[:, None].repeat(128, 1))


def write(place: Place, start: int, count: int, clip: Clip = CLIP) -> None:
    parts = Parts(place)
    for begin in range(start, start + count, 64):
        parts.add(rows(begin, min(64, start + count - begin), clip))


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 5000), count=st.integers(1, 300))
def test_a_block_is_what_is_there_and_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory, first: int, count: int
) -> None:
    place = Place(str(tmp_path_factory.mktemp("out")), "f" * 64)
    write(place, 1000, ROWS_OF_A_PART)
    there = range(1000, 1000 + ROWS_OF_A_PART)
    examples = np.arange(first, first + count, dtype=np.float32)[:, None, None].repeat(2, 1)
    found, missing = Parts(place).take(ExampleBlock(Segment(CLIP), first, examples))
    positions = [item.first_example + row for item in found for row in range(len(item.values))]
    assert positions == [position for position in range(first, first + count) if position in there]
    for item in found:
        assert len(item.values) <= 64
        np.testing.assert_array_equal(item.values[:, 0], (np.arange(len(item.values)) + item.first_example) % 256)
    left = [(block.first_example + row, value[0, 0]) for block in missing for row, value in enumerate(block.examples)]
    assert left == [(position, position) for position in range(first, first + count) if position not in there]


def test_parts_of_other_settings_files_and_times_are_not_used(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "f" * 64)
    write(place, 0, ROWS_OF_A_PART)
    block = ExampleBlock(Segment(CLIP), 0, np.zeros((4, 96, 64), np.float32))
    assert len(Parts(place).take(block)[0]) == 1
    for other in (
        replace(CLIP, version="2"),
        replace(CLIP, size_bytes=5),
        replace(CLIP, start_s=3.0, end_s=9.0, cut=True),
        replace(CLIP, id="night"),
    ):
        assert Parts(place).take(replace(block, segment=Segment(other)))[0] == []
    assert Parts(Place(str(tmp_path), "e" * 64)).take(block)[0] == []
    assert len(Parts(place).take(replace(block, segment=Segment(replace(CLIP, uri="/moved.wav", labels=(3,)))))[0]) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_part_is_computed_again(tmp_path: Path, damage: str) -> None:
    place = Place(str(tmp_path), "f" * 64)
    write(place, 0, ROWS_OF_A_PART)
    (part,) = parts_in(tmp_path)
    data = bytearray(part.read_bytes())
    data[-5] ^= 1
    part.write_bytes({"flip": bytes(data), "cut": bytes(data[:-77]), "empty": b""}[damage])
    block = ExampleBlock(Segment(CLIP), 0, np.zeros((4, 96, 64), np.float32))
    found, (missing,) = Parts(place).take(block)
    assert found == []
    assert missing.examples.shape == (4, 96, 64)
    assert not part.exists()


def test_what_is_stale_is_removed(tmp_path: Path) -> None:
    place, other = Place(str(tmp_path), "f" * 64), replace(CLIP, id="night")
    write(place, 0, ROWS_OF_A_PART)
    write(place, 0, ROWS_OF_A_PART, other)
    write(Place(str(tmp_path), "e" * 64), 0, ROWS_OF_A_PART)
    (tmp_path / PARTIAL / "half.part.01234567.tmp").write_bytes(b"half")
    partial_rows.keep_only(place, [CLIP])
    assert [path.name[:34] for path in parts_in(tmp_path)] == [place.prefix(CLIP)]
    partial_rows.remove(place, [other])
    assert len(parts_in(tmp_path)) == 1
    partial_rows.remove(place, [CLIP])
    assert list((tmp_path / PARTIAL).iterdir()) == []


class StoppedError(Exception):
    """The network, in the middle of a recording."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    noise = np.random.default_rng(3).normal(0, 0.1, SECONDS * 16000)
    soundfile.write(folder / "day.wav", noise, 16000)
    soundfile.write(folder / "day.mp3", noise, 16000)
    return folder


@pytest.mark.parametrize("name", ["day.wav", pytest.param("day.mp3", marks=pytest.mark.ci)])
@pytest.mark.parametrize("kind", ["quantized", pytest.param("raw", marks=pytest.mark.ci)])
def test_rows_that_are_there_are_not_embedded_again(
    recording: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr(partial_rows, "ROWS_OF_A_PART", ROWS)
    embedded: list[int] = []
    limit = [10**9]

    def counted(examples: np.ndarray) -> np.ndarray:
        if sum(embedded) >= limit[0]:
            raise StoppedError
        embedded.append(len(examples))
        values = values_of(examples)
        return values if kind == "quantized" else values.astype(np.float32)

    monkeypatch.setattr(models, "load", lambda model, check=False: models.finished(counted))
    flags = ["--input", recording / name, *FLAGS, "--embeddings", kind]
    assert embed_here(tmp_path / "whole", *flags).status == 0
    total = sum(embedded)
    assert total > 3 * ROWS
    assert not parts_in(tmp_path / "whole")

    output = tmp_path / "out"
    embedded.clear()
    limit[0] = total * 3 // 4
    assert embed_here(output, *flags).status == 1
    kept = rows_in(output)
    assert kept >= ROWS
    assert kept >= sum(embedded) - 2 * (ROWS + 64 * 8)  # two bundles, a part that is not full in each
    embedded.clear()
    limit[0] = 10**9
    assert embed_here(output, *flags, "--segment_seconds", "2.5").status == 0  # other segments find the same rows
    assert sum(embedded) == total - kept
    assert outputs.content(output) == outputs.content(tmp_path / "whole")
    assert not left_over_parts(output)


def left_over_parts(output: Path) -> list[Path]:
    folder = output / PARTIAL
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    "task", [pytest.param([], marks=pytest.mark.ci), pytest.param(["--task", "0/1"], marks=pytest.mark.full)]
)
def test_killed_in_the_middle_of_one_long_recording(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: list[str]
) -> None:
    monkeypatch.setenv("TEST_NOTE_BATCHES", "1")
    monkeypatch.setenv("TEST_ROWS_OF_A_PART", str(ROWS))
    flags: list[str | Path] = ["--input", recording / "day.wav", *FLAGS[:2], *FLAGS[4:], *task]
    output = tmp_path / "out"
    first = Run(tmp_path / "first", *flags, "--output", output, example_s=0.005)
    while len(parts_in(output)) < 2:
        assert first.process.poll() is None
        time.sleep(0.01)
    assert first.signal(signal.SIGKILL)[0] == -signal.SIGKILL
    kept = rows_in(output)
    no_faults(output)
    assert not list(output.glob("embeddings-*"))
    second = Run(tmp_path / "second", *flags, "--output", output, example_s=0)
    status, said = second.end()
    assert status == 0, said
    whole = Run(tmp_path / "whole", *flags[:-2] if task else flags, "--output", tmp_path / "whole out", example_s=0)
    assert whole.end()[0] == 0
    assert counted(second) == counted(whole) - kept
    assert counted(first) - kept < 2 * (ROWS + 64 * 8)  # lost: parts that are not full, and batches in flight
    assert outputs.content(output) == outputs.content(tmp_path / "whole out")
    assert not left_over_parts(output)


def counted(run: Run) -> int:
    """Examples that a run embedded."""
    return sum(int(line.split()[1]) for line in run.lines() if line.startswith("rows "))
