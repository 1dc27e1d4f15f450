"""A command that reads archives or Parquet, killed and run again: what was kept is not decoded again, all is there."""

from __future__ import annotations

import signal
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from pipeline import read_records
from pipeline.checking import verify
from tests.test_interruption import FOUR, Run, computed

CLIPS = 40


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for number in range(CLIPS):
        soundfile.write(folder / f"{number:03d}.wav", np.random.default_rng(number).normal(0, 0.1, 24_000), 16_000)
    return folder


@pytest.fixture(scope="module")
def wanted(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The embeddings of an uninterrupted run on the folder itself."""
    folder = tmp_path_factory.mktemp("whole")
    status, said = Run(folder / "log", "--input", audio, "--output", folder / "out", *FOUR, example_s=0).end()
    assert status == 0, said
    return values(folder / "out")


def values(output: Path) -> dict[str, bytes]:
    """Ids without what holds the clips -> embeddings."""
    return {Path(each.id).stem: each.values.tobytes() for each in read_records(f"{output}/*.tfrecord")}


def packed(audio: Path, folder: Path, kind: str) -> Path:
    """The recordings as one file."""
    target, paths = folder / f"set.{kind}", sorted(audio.iterdir())
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path in paths:
                archive.write(path, path.name)
    elif kind == "parquet":
        rows = [{"audio": {"bytes": path.read_bytes(), "path": path.name}, "key": path.stem} for path in paths]
        parquet.write_table(pyarrow.Table.from_pylist(rows), target, row_group_size=7)
    else:
        with tarfile.open(target, "w:gz" if kind == "tar.gz" else "w") as tar:
            for path in paths:
                tar.add(path, path.name)
    return target


@pytest.mark.ci
@pytest.mark.parametrize("kind", [pytest.param("tar", marks=pytest.mark.full), "tar.gz", "zip", "parquet"])
def test_continues(audio: Path, wanted: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    flags = ["--input", packed(audio, tmp_path, kind), "--output", tmp_path / "out", *FOUR]
    flags += ["--id_column", "key"] if kind == "parquet" else []
    this = Run(tmp_path / "log", *flags)
    assert this.wait_for(lambda lines: len(computed(lines)[0]) >= CLIPS // 4)
    status, said = this.signal(signal.SIGKILL)
    assert status == -signal.SIGKILL, said
    kept = computed(this.lines())[0]
    again = Run(tmp_path / "again", *flags, example_s=0)
    status, said = again.end()
    assert status == 0, said
    decoded = {line.partition(" ")[2] for line in again.lines() if line.startswith("clip ")}
    assert decoded
    assert not decoded & set(kept)
    assert values(tmp_path / "out") == wanted
    assert not verify.verify_output(str(tmp_path / "out")).fault_count
