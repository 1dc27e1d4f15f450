"""`--record_format youtube8m_video` through the commands: written, verified, continued, read, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline import export_arrays, fad, fit_pca, load_dataset, read_records, reshard, run
from pipeline import verify as program
from pipeline.checking import audit, verify
from pipeline.cli import verify as verify_command
from pipeline.output import provenance
from pipeline.output.loading.clip_vectors import clip_mean
from pipeline.output.loading.parquet import from_parquet, made_by, to_parquet
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.types import RecordFormat
from tests import interrupted_run, outputs

VIDEO = ["--record_format", "youtube8m_video"]
CLIPS = [outputs.clip(number) for number in range(40)]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(9)
    for number in range(8):
        soundfile.write(folder / f"{number:03d}.wav", rng.normal(0, 0.1, (2 + number % 3) * 16000), 16000)
    soundfile.write(folder / "short.wav", np.ones(100), 16000)
    return folder


def embed(audio: Path, output: Path, *flags: str) -> int:
    return run.main([*interrupted_run.FLAGS, "--input", str(audio), "--output", str(output), *flags])


def data(output: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(output.glob("embeddings-*"))]


@pytest.mark.usefixtures("summed_examples")
def test_the_command_writes_the_means_of_what_it_writes_as_frames(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "_found", lambda manifest, kind, given: "standin")
    assert embed(audio, tmp_path / "frames", "--record_format", "youtube8m") == 0
    later = audio.parent / "later.wav"
    (audio / "003.wav").rename(later)
    assert embed(audio, tmp_path / "means", *VIDEO, "--num_shards", "2") == 0
    later.rename(audio / "003.wav")
    assert embed(audio, tmp_path / "means", *VIDEO, "--num_shards", "2") == 0  # continues
    frames = {record.id: record.values for record in read_records(f"{tmp_path}/frames/*.tfrecord")}
    found = list(read_records(f"{tmp_path}/means/*.tfrecord"))
    assert {record.id for record in found} == set(frames)
    assert len(found) == 8
    for record in found:
        assert np.array_equal(record.values, clip_mean(frames[record.id])[np.newaxis])
    capsys.readouterr()
    assert program.main([str(tmp_path / "means"), "--audit", "20"]) == 0
    assert "8 clips computed again, 8 equal" in capsys.readouterr().out
    assert embed(audio, tmp_path / "means", "--num_shards", "2", "--record_format", "youtube8m") == 2
    assert "record_format is youtube8m_video in the output, youtube8m was asked for" in capsys.readouterr().err
    assert embed(audio, tmp_path / "means", *VIDEO, "--check") == 0
    assert reshard.main([str(tmp_path / "means"), "--num_shards", "3"]) == 0
    assert program.main([str(tmp_path / "means")]) == 0
    assert embed(audio, tmp_path / "fresh", *VIDEO, "--num_shards", "3") == 0
    assert data(tmp_path / "fresh") == data(tmp_path / "means")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    outputs.write(outputs.job(tmp_path / "out", 3, "youtube8m_video"), CLIPS)
    return tmp_path / "out"


def faults(output: Path) -> list[str]:
    return verify_command.fault_lines(verify.verify_output(str(output)))


def test_growth_equals_a_fresh_run_and_has_no_faults(output: Path, tmp_path: Path) -> None:
    grown = outputs.job(tmp_path / "grown", 3, "youtube8m_video")
    outputs.write(grown, CLIPS[:20])
    outputs.write(grown, CLIPS[20:])
    assert outputs.content(tmp_path / "grown") == outputs.content(output)
    assert faults(output) == []
    assert verify.verify_files([f"{output}/*.tfrecord"]).fault_count == 0


@pytest.mark.parametrize(
    ("values", "layout", "found"),
    [
        (np.full((1, 128), np.nan, np.float32), "youtube8m_video", "values that are not finite"),
        (np.ones((2, 128), np.uint8), "youtube8m", "layout youtube8m, not youtube8m_video"),
    ],
)
def test_verify_looks_at_each_record(output: Path, values: np.ndarray, layout: RecordFormat, found: str) -> None:
    shard = next(output.glob("embeddings-00001*"))
    held = list(read_records(str(shard), incomplete="use"))
    content = [to_sequence_example(r.id, 0, 0, r.labels, r.values, "youtube8m_video") for r in held]
    content[1] = to_sequence_example(held[1].id, 0, 0, held[1].labels, values, layout)
    with shard.open("wb") as file:
        write_tfrecord(file, content)
    assert any(f"({held[1].id}): {found}" in line for line in faults(output))


def test_readers_have_a_vector_a_clip(output: Path, tmp_path: Path) -> None:
    pattern = f"{output}/*.tfrecord"
    expected = [record.values[0] for record in read_records(pattern)]
    batch = next(iter(load_dataset(pattern, batch_size=100, level="clip").as_numpy_iterator()))
    assert np.array_equal(batch.embeddings, expected)
    for level in ("clip", "frame"):
        export_arrays(pattern, str(tmp_path / level), "npy", level)  # type: ignore[arg-type]
        assert np.array_equal(np.load(tmp_path / level / "X.npy"), expected)
    to_parquet(pattern, str(tmp_path / "a.parquet"))
    assert np.array_equal(np.array(pq.read_table(tmp_path / "a.parquet")["embeddings"].to_pylist())[:, 0], expected)
    from_parquet(str(tmp_path / "a.parquet"), str(tmp_path / "a.tfrecord"))
    assert (tmp_path / "a.tfrecord").read_bytes() == b"".join(data(output))


def test_means_do_not_pass_for_frames(output: Path, tmp_path: Path) -> None:
    """Of whatever origin: with a manifest, without, or as Parquet."""
    pattern = f"{output}/*.tfrecord"
    made = provenance.of(pattern)
    assert made.settings["embeddings"] == "means of quantized"
    to_parquet(pattern, str(tmp_path / "a.parquet"))
    assert made_by(str(tmp_path / "a.parquet")) == made
    to_parquet(pattern, str(tmp_path / "b.parquet"), hop_s=1.0)
    assert made_by(str(tmp_path / "b.parquet")).settings["embeddings"] == "means of quantized"
    (output / "manifest.json").unlink()
    shutil.rmtree(output / "_state")
    released = provenance.of(pattern)
    assert (released.source, released.models["checkpoint"]["name"]) == ("released", "released with YouTube-8M")
    assert released.settings["embeddings"] == "means of quantized"


def test_what_needs_frames_says_so(
    output: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs.write(outputs.job(tmp_path / "frames", 3, "youtube8m"), CLIPS)
    outputs.write(outputs.job(tmp_path / "raw", 3, "youtube8m_video", "raw"), CLIPS)

    def said(main: Callable[[list[str]], int], *arguments: str | Path) -> str:
        assert main([str(each) for each in arguments]) == 2
        return capsys.readouterr().err

    pca = said(fit_pca.main, "--input", tmp_path / "raw/*.tfrecord", "--output", tmp_path / "a.npz", "--no_plot")
    assert "embeddings are means of raw" in pca
    different = 'embeddings is "means of quantized" instead of "quantized"'
    assert different in said(fad.main, tmp_path / "frames", output)
    assert "embeddings are means of quantized" in said(fad.main, output, audio)
    assert fad.main([str(output), str(output)]) == 0  # a distance of means
