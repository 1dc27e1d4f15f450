"""The examples and the code in the README run, with the stand-in weights, and give what they say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from examples import make_audio
from pipeline.output.loading.dataset import dequantize
from pipeline.output.records import read_records
from tests.command import REPOSITORY, embed, run
from vggish_core import weights

pytestmark = pytest.mark.usefixtures("standin_weights")


@pytest.fixture(scope="module")
def audio(example_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ten seconds of one tone, fifteen of a voice, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("audio")
    for name in ("tones/chirp fast.wav", "voices/vowels.m4a", make_audio.BROKEN):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(example_audio / name, folder / name)
    return folder


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob(name)) for line in file.read_text().splitlines()]


@pytest.mark.ci
def test_embed_in_your_pipeline_writes_what_the_command_computes(audio: Path, tmp_path: Path) -> None:
    flags = ["--checkpoint", "standin", "--pca", "standin"]
    output = tmp_path / "index"
    done = run("examples.embed_in_your_pipeline", "--input", f"{audio}/**", "--output", output, *flags)
    assert done.status == 0, done.err
    assert embed(tmp_path / "out", "--input", f"{audio}/**", "--max_failures", "1").status == 0
    records = {record.id: record for record in read_records(str(tmp_path / "out" / "embeddings-*"))}
    found = {Path(line["uri"]).stem: line for line in lines(tmp_path, "index-embedded-*.jsonl")}
    assert set(found) == {"chirp fast", "vowels"}
    for clip_id, record in records.items():
        line = found[Path(clip_id).name]
        assert line["seconds"] == pytest.approx(record.end_s)
        np.testing.assert_allclose(line["mean"], dequantize(record.values).mean(axis=0), atol=1e-4)
    (failed,) = lines(tmp_path, "index-failed-*.jsonl")
    assert (Path(failed["uri"]).name, failed["reason"]) == (make_audio.BROKEN, "not_audio")


@pytest.mark.full
def test_embed_in_a_notebook(audio: Path) -> None:
    done = run("examples.embed_in_a_notebook", audio / "tones" / "chirp fast.wav", "standin")
    assert (done.status, done.out) == (0, "10 embeddings of 128 values, float32\n"), done.err


def test_the_readme_in_python(audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = page.split("## In Python\n", 1)[1].split("\n## ", 1)[0]
    code = re.findall(r"```python\n(.*?)```", section, re.S)
    waveform, rate = soundfile.read(audio / "tones" / "chirp fast.wav")
    monkeypatch.chdir(audio)
    soundfile.write("dog.flac", waveform, rate)
    resolve = weights.resolve
    monkeypatch.setattr(weights, "resolve", lambda name, kind: resolve("standin", kind))
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert names["examples"].shape == (10, 96, 64)
    assert (names["raw"].shape, names["raw"].dtype) == ((10, 128), np.float32)
    assert (names["records"].shape, names["records"].dtype) == ((10, 128), np.uint8)


def test_the_readme_in_python_of_a_corpus(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = page.split("## In Python\n", 1)[1].split("\n## ", 1)[0]
    code = re.findall(r"```python\n(.*?)```", section, re.S)[0].replace('"released"', '"standin"')
    shutil.copytree(audio, tmp_path / "recordings", ignore=shutil.ignore_patterns("dog.flac"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "2 clips, 1 failed"
    assert "Counts(clips=" in printed
    (batch,) = names["dataset"]
    assert sorted(batch.num_frames.numpy()) == [10, 15]
