"""Clips computed again from their audio are equal or reported; and the check of files on Beam."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import run
from pipeline.checking import audit
from pipeline.cli import verify
from pipeline.decoding import other_route
from pipeline.output.layout import OutputError
from pipeline.output.records import parse, to_sequence_example
from pipeline.output.tfrecord import read_tfrecord, write_tfrecord
from tests import command, interrupted_run
from tests.made_audio import FILES
from tests.plain_flac import write_flac
from vggish_core.audio import open_audio

pytestmark = pytest.mark.usefixtures("summed_examples")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(9)
    for number in range(12):
        soundfile.write(folder / f"{number:03d}.wav", rng.normal(0, 0.1, (2 + number % 3) * 44100), 44100)
    return folder


@pytest.fixture
def corpus(audio: Path, tmp_path: Path) -> Path:
    """A copy of the audio, and of it `tmp_path/out`."""
    shutil.copytree(audio, tmp_path / "audio")
    flags = ["--input", str(tmp_path / "audio"), "--output", str(tmp_path / "out"), "--num_shards", "3"]
    assert run.main([*interrupted_run.FLAGS, *flags]) == 0
    return tmp_path / "audio"


@pytest.fixture
def any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that costs nothing has no weights to compare."""
    monkeypatch.setattr(audit, "_found", lambda manifest, kind, given: "standin")


@pytest.mark.usefixtures("any_weights")
def test_all_clips_are_equal(corpus: Path, tmp_path: Path) -> None:
    found = audit.audit(str(tmp_path / "out"), 100, 0)
    assert (found.equal, found.faults) == (12, [])
    assert found.notes == ["audit: 12 clips computed again, 12 equal (seed 0)"]


@pytest.mark.usefixtures("any_weights")
def test_what_is_not_equal_is_reported(corpus: Path, tmp_path: Path) -> None:
    shard = max((tmp_path / "out").glob("embeddings-*"), key=lambda path: path.stat().st_size)
    with shard.open("rb") as file:
        held = [parse(data) for data in read_tfrecord(file)]
    values = held[0].values.copy()
    values[1, 5] ^= 3
    held[0] = replace(held[0], values=values)
    with shard.open("wb") as file:
        write_tfrecord(file, [to_sequence_example(r.id, r.start_s, r.end_s, r.labels, r.values) for r in held])
    found = audit.audit(str(tmp_path / "out"), 100, 0)
    assert found.equal == 11
    (line,) = found.faults
    assert line.startswith(f"{held[0].id}: {corpus}/{held[0].id}.wav now gives a different record: 1 of ")
    assert "the first is 1, by up to" in line


@pytest.mark.usefixtures("any_weights")
def test_audio_that_is_gone_or_changed_is_no_fault_of_the_output(corpus: Path, tmp_path: Path) -> None:
    (corpus / "003.wav").unlink()
    soundfile.write(corpus / "004.wav", np.zeros(44100 * 3), 44100)
    found = audit.audit(str(tmp_path / "out"), 100, 0)
    assert (found.equal, found.faults) == (10, [])
    assert any(note.startswith("note: 003: not comparable") and "is gone" in note for note in found.notes)
    assert any(note.startswith("note: 004: not comparable") and "was changed since" in note for note in found.notes)
    shutil.rmtree(corpus)
    assert audit.audit(str(tmp_path / "out"), 5, 0).faults == [
        "audit: the audio of none of the clips is there as it was"
    ]


def test_other_weights_are_refused_with_both_sums(corpus: Path, tmp_path: Path, standin_weights: Path) -> None:
    path = tmp_path / "out" / "manifest.json"
    content = json.loads(path.read_text())
    content["models"]["checkpoint"] = {"name": "standin", "sha256": "0" * 64}
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match=r"has the sha256 [0-9a-f]{64}, the output was made with 0{64}"):
        audit.audit(str(tmp_path / "out"), 5, 0)


def test_the_seed_decides_which(corpus: Path, tmp_path: Path) -> None:
    from pipeline.checking import expectations

    out = str(tmp_path / "out")
    manifest = expectations.read(out).manifest
    drawn = [[entry.id for entry in audit.choose(out, manifest, 4, seed)] for seed in range(20)]
    assert drawn[3] == [entry.id for entry in audit.choose(out, manifest, 4, 3)]
    assert {len(ids) for ids in drawn} == {4}
    assert len(set().union(*drawn)) == 12


def test_on_beam_the_table_is_the_same(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert verify.main([str(out)]) == 0
    alone = capsys.readouterr().out
    assert verify.main([str(out), "--runner", "DirectRunner"]) == 0
    assert capsys.readouterr().out == alone
    shard = max(out.glob("embeddings-*"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert verify.main([str(out)]) == 1
    alone = capsys.readouterr().out
    assert "FAULT" in alone
    assert verify.main([str(out), "--runner", "DirectRunner"]) == 1
    assert capsys.readouterr().out == alone
    assert verify.main([str(out), "--runners", "DirectRunner"]) == 2
    assert "unknown flag --runners" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("standin_weights")
def test_with_the_network_itself(audio: Path, tmp_path: Path) -> None:
    done = command.embed(tmp_path / "out", "--input", audio, "--num_shards", "3")
    assert done.status == 0, done.err
    done = command.run("pipeline.verify", tmp_path / "out", "--audit", "5", "--seed", "2")
    assert done.status == 0, done.out + done.err
    assert "audit: 5 clips computed again, 5 equal (seed 2)" in done.out


@pytest.mark.usefixtures("any_weights")
def test_another_kind_of_processor_explains_a_step(corpus: Path, tmp_path: Path) -> None:
    name = tmp_path / "out" / "manifest.json"
    made = json.loads(name.read_text())
    made["run"]["arithmetic"] = "riscv64 without fused multiply-add"
    name.write_text(json.dumps(made))
    shards = sorted((tmp_path / "out").glob("embeddings-*"), key=lambda path: path.stat().st_size)
    for shard, steps in zip(shards[-2:], (1, 2), strict=True):
        with shard.open("rb") as file:
            held = [parse(data) for data in read_tfrecord(file)]
        values = held[0].values.copy()
        values[1, 5] = values[1, 5] + steps if values[1, 5] < 128 else values[1, 5] - steps
        held[0] = replace(held[0], values=values)
        with shard.open("wb") as file:
            write_tfrecord(file, [to_sequence_example(r.id, r.start_s, r.end_s, r.labels, r.values) for r in held])
    found = audit.audit(str(tmp_path / "out"), 100, 0)
    assert (found.equal, found.close, len(found.faults)) == (10, 1, 1)
    assert "by up to 2" in found.faults[0]
    (note,) = [note for note in found.notes if "without fused multiply-add" in note]
    assert "by up to 1: made on riscv64 without fused multiply-add; this is " in note
    assert found.notes[-1] == "audit: 12 clips computed again, 10 equal, 1 within a step of rounding (seed 0)"


@pytest.mark.usefixtures("any_weights")
def test_a_length_that_the_other_decoder_contradicts_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    sound = np.random.default_rng(0).normal(0, 0.1, 16000 * 4)
    soundfile.write(folder / "sound.flac", sound, 16000)
    soundfile.write(folder / "odd.wav", sound, 16000, subtype="PCM_16")
    # Two seconds in the header's count, and four that follow: FFmpeg goes by the count.
    data = bytearray((folder / "odd.wav").read_bytes())
    data[40:44] = (2 * 16000 * 2).to_bytes(4, "little")
    (folder / "odd.wav").write_bytes(data)
    flags = ["--input", str(folder), "--output", str(tmp_path / "out"), "--num_shards", "1"]
    assert run.main([*interrupted_run.FLAGS, *flags]) == 0
    found = audit.audit(str(tmp_path / "out"), 5, 0)
    assert found.faults == []
    (note,) = [note for note in found.notes if "listen" in note]
    assert note.startswith(f"note: odd: {folder}/odd.wav has sound up to 4.00 s here, 2.00 s by another route")


def test_every_format_is_as_long_by_another_route(made_formats: Path) -> None:
    """Whichever decoder is first, the other, or the packets' times, say the same but for what encoders add."""
    lengths = {}
    for made in FILES:
        path = made_formats / made.name
        with open_audio(path) as audio:
            frames = sum(len(block) for block in audio.blocks())
            lengths[made.name] = frames / audio.sample_rate_hz
        found = other_route.measure(str(path), lambda: None)
        if made.name == "wavpack.mkv":  # one packet, of which the container does not say how long it is
            assert found is None
            continue
        assert found is not None, made.name
        lengths[made.name] -= found.frames / found.sample_rate_hz
    del lengths["wavpack.mkv"]
    assert {name: differs for name, differs in lengths.items() if abs(differs) > 0.2} == {}


def test_another_route_where_ffmpeg_is_first(tmp_path: Path) -> None:
    """Two seconds in the header's count, and four in the frames: libsndfile goes by the count."""
    samples = np.random.default_rng(0).integers(-3000, 3000, (4 * 16000, 1))
    path = write_flac(tmp_path / "odd.flac", samples, 16000, 16, total=2 * 16000)
    with open_audio(path) as audio:
        assert sum(len(block) for block in audio.blocks()) == 4 * 16000
    found = other_route.measure(str(path), lambda: None)
    assert found is not None
    assert (found.frames, found.sample_rate_hz) == (2 * 16000, 16000)


def test_no_other_route(tmp_path: Path) -> None:
    (tmp_path / "film.ogg").write_bytes(b"no audio at all" * 100)
    assert other_route.measure(str(tmp_path / "film.ogg"), lambda: None) is None
