"""A trained model applied to records and to audio."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import predict, run
from pipeline.output import history, provenance
from pipeline.output.records import Record, read_records, to_sequence_example, write_tfrecord
from pipeline.training import predictions
from pipeline.training.data import Classes
from pipeline.training.saved_model import NETWORK, Description, load
from tests.in_process import Embed

CLASSES = Classes((0, 7), ("Hund", "Regen, stark"), ("/m/0", "/m/7"))


def save_model(folder: Path, made_by: provenance.Provenance) -> Path:
    """A logistic regression that hears class 0 where the first value is high and class 7 where the second is."""
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    from pipeline.training import classifiers

    folder.mkdir()
    model = classifiers.build("logistic", 2)
    weights = np.zeros((128, 2), np.float32)
    weights[0, 0] = weights[1, 1] = 3.0
    model.set_weights([weights, np.zeros(2, np.float32)])
    model.save(folder / NETWORK)
    Description("logistic", CLASSES, made_by, 10, {}).save(folder)
    return folder


def write_records(path: Path, rows: dict[str, list[tuple[int, int]]]) -> str:
    records = []
    for name, pairs in rows.items():
        values = np.full((len(pairs), 128), 128, np.uint8)
        values[:, :2] = pairs
        records.append(to_sequence_example(name, 30.0, 40.0, [], values))
    with path.open("wb") as file:
        write_tfrecord(file, records)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    released = provenance.Provenance(
        "released",
        dict(provenance.PUBLISHED["audioset"]),
        {kind: {"name": "released", "sha256": ""} for kind in ("checkpoint", "pca_params")},
    )
    return save_model(folder / "model", released)


def test_records_to_csv_and_json(model: Path, tmp_path: Path) -> None:
    pattern = write_records(tmp_path / "a.tfrecord", {"dog": [(255, 0), (255, 255)], "rain": [(0, 255)]})
    flags = ["--model", str(model), "--input", pattern, "--top", "2"]
    assert predict.main([*flags, "--output", str(tmp_path / "a.csv"), "--plots", str(tmp_path / "plots")]) == 0
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = {row["id"]: row["display_name"] for row in rows if row["rank"] == "1"}
    assert best == {"dog": "Hund", "rain": "Regen, stark"}
    assert len(rows) == 4
    plots = sorted((tmp_path / "plots").iterdir())
    assert [plot.name for plot in plots] == ["00000-dog.png", "00001-rain.png"]
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)

    assert predict.main([*flags, "--output", str(tmp_path / "a.json")]) == 0
    dog = json.loads((tmp_path / "a.json").read_text())[0]
    assert dog["frame_times"] == [30.0, 30.96]
    over_time = {each["display_name"]: each["over_time"] for each in dog["classes"]}
    assert over_time["Regen, stark"][0] < 0.01 < 0.99 < over_time["Regen, stark"][1]
    assert dog["classes"][0]["index"] == 0


def test_a_long_clip_in_parts_is_the_whole(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = load(model)
    values = np.random.default_rng(0).integers(0, 256, (50, 128), dtype=np.uint8)
    record = Record("x", 0.0, 48.0, (), values, "audioset")
    whole = predictions.predict(network, record, 0.96)
    monkeypatch.setattr(predictions, "FRAMES_OF_A_CALL", 7)
    parts = predictions.predict(network, record, 0.96)
    assert np.allclose(parts.over_time, whole.over_time, atol=1e-6)
    assert parts.over_time.shape == (50, 2)
    assert parts.times_s[-1] == pytest.approx(49 * 0.96)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nowhere", "--input", "x"], "has no model.json"),
        (["--model", "MODEL", "--input", "nothing*"], "no file matches nothing*"),
        (["--model", "MODEL", "--input", "x", "--output", "x.txt"], "does not end in .csv or .json"),
        (["--model", "MODEL"], "missing: --input"),
    ],
)
def test_errors_are_two_lines(model: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([flag.replace("MODEL", str(model)) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[0]
    assert error.count("\n") == 2


def test_embeddings_made_otherwise_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = to_sequence_example("x", 0.0, 1.0, [], np.zeros((1, 128), np.float32))
    with (tmp_path / "raw.tfrecord").open("wb") as file:
        write_tfrecord(file, [record])
    assert predict.main(["--model", str(model), "--input", str(tmp_path / "raw.tfrecord")]) == 2
    assert 'embeddings is "raw" instead of "quantized"' in capsys.readouterr().err


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["quantized", pytest.param("raw", marks=pytest.mark.full)])
def test_audio_goes_through_the_pipeline_with_the_models_settings(
    tmp_path: Path, made_clips: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    clips = sorted((made_clips / "002 - Rain").iterdir())[:2]
    records = str(tmp_path / "embeddings")
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--hop_seconds", "0.48", "--embeddings", kind]
    assert run.main(["--input", str(clips[0]), "--input", str(clips[1]), "--output", records, *flags]) == 0
    made_by = provenance.of(f"{records}/*.tfrecord")
    folder = save_model(tmp_path / "model", made_by)
    (tmp_path / "broken.wav").write_text("no audio")
    audio = [str(clips[0]), str(clips[1]), str(tmp_path / "broken.wav")]
    for name, inputs in (("audio", audio), ("records", [f"{records}/*.tfrecord"])):
        arguments = ["--model", str(folder), "--output", str(tmp_path / f"{name}.json"), "--input", *inputs]
        assert predict.main([*arguments, "--plots", str(tmp_path / name)]) == 0
    assert "broken.wav: not_audio" in capsys.readouterr().err
    from_audio, from_records = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("audio", "records"))
    assert from_audio == from_records
    assert len(from_audio) == 2
    first = next(read_records(f"{records}/*.tfrecord"))
    assert from_audio[0]["frame_times"] == pytest.approx([0.48 * i for i in range(len(first.values))])
    assert len(list((tmp_path / "audio").iterdir())) == 2


class TestAudio:
    """In this process, with digests in place of the network: what comes before the embeddings, and what stays."""

    @pytest.fixture
    def standin_model(self, embed_here: Embed, tmp_path: Path, audio: Path) -> Path:
        embed_here(tmp_path / "records", "--input", audio)
        return save_model(tmp_path / "model", provenance.of(f"{tmp_path}/records/*.tfrecord"))

    @pytest.fixture
    def audio(self, tmp_path: Path) -> Path:
        (tmp_path / "audio").mkdir()
        for name in "ab":
            noise = np.random.default_rng(ord(name)).normal(0, 0.1, 32000)
            soundfile.write(tmp_path / "audio" / f"{name}.wav", noise, 16000)
        return tmp_path / "audio"

    def test_embeddings_are_kept_and_continued(
        self, standin_model: Path, audio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def predicted(*inputs: Path) -> list[str]:
            """Audio -> ids of the clips with predictions."""
            flags = ["--model", str(standin_model), "--embeddings_dir", str(kept), "--output", f"{tmp_path}/x.json"]
            capfd.readouterr()
            assert predict.main([*flags, "--progress", "off", "--input", *map(str, inputs)]) == 0
            return [clip["id"] for clip in json.loads((tmp_path / "x.json").read_text())]

        kept = audio / "a_kept"  # comes first in a listing of the audio
        assert predicted(audio / "a.wav") == ["a"]
        assert predicted(audio) == ["a", "b"]
        assert "Left out of the input" in capfd.readouterr().err
        assert predicted(audio) == ["a", "b"]
        (audio / "broken.wav").write_text("no audio")
        assert predicted(audio / "b.wav", audio / "broken.wav") == ["b"]
        assert f"{audio}/broken.wav: not_audio: " in capfd.readouterr().err
        assert predicted(audio / "a.wav") == ["a"]
        assert "broken.wav" not in capfd.readouterr().err
        runs = history.read(str(kept))
        assert [sum(piece.clips for piece in run.pieces) for run in runs] == [1, 1, 1]

    def test_other_weights_are_refused_before_any_audio_is_embedded(
        self, standin_model: Path, audio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        flags = ["--model", str(standin_model), "--input", str(audio), "--embeddings_dir", str(tmp_path / "kept")]
        assert predict.main([*flags, "--checkpoint", "mine.ckpt"]) == 2
        assert capfd.readouterr().err.splitlines() == [
            f"error: --model {standin_model}: the model was trained on other embeddings: checkpoint is "
            "mine.ckpt instead of standin",
            "  Make embeddings with the model's settings, or train a model on these.",
        ]
        assert not (tmp_path / "kept").exists()

    def test_errors_name_what_the_user_gave(
        self, standin_model: Path, audio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for path in audio.iterdir():
            path.write_text("no audio")
        model = ["--model", str(standin_model), "--progress", "off"]
        assert predict.main([*model, "--input", str(audio)]) == 2
        *clips, error, remedy = capfd.readouterr().err.splitlines()
        assert [line.partition(": ")[0] for line in clips] == [f"{audio}/a.wav", f"{audio}/b.wav"]
        assert (error, remedy) == (
            f"error: --input {audio}: no clip could be embedded",
            "  See the failures above.",
        )
        assert predict.main([*model, "--input", str(audio), "--embeddings_dir", f"{tmp_path}/records"]) == 2
        assert capfd.readouterr().err.splitlines() == [
            f"error: --embeddings_dir {tmp_path}/records was made with other settings: short_clips is skip in the "
            "output, pad was asked for",
            "  Name another folder.",
        ]
        records = ["--input", f"{tmp_path}/records/*.tfrecord"]
        assert predict.main([*model, *records, "--embeddings_dir", f"{tmp_path}/kept"]) == 2
        assert "holds embeddings already" in capfd.readouterr().err
        (standin_model / NETWORK).unlink()
        assert predict.main([*model, "--input", str(audio)]) == 2
        assert f"{standin_model} has no {NETWORK}: its training did not end" in capfd.readouterr().err
