"""Classifiers on records: fitting, resuming, metrics, refusals. Small, separable data; real Keras."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.cli.train import main
from pipeline.corpus.sources import SourceError
from pipeline.output.loading.dataset import dequantize
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.training import advice
from pipeline.training.data import Classes, Clips, load_clips, read_classes, split
from tests import outputs

FOUR = Classes((0, 1, 2, 3), ("Speech", "Dog, bark", "Rain", "Purr"), ("/m/0", "/m/1", "/m/2", "/m/3"))
CLASSES = 'index,mid,display_name\n0,/m/0,"Speech"\n1,/m/1,"Dog, bark"\n2,/m/2,"Rain"\n3,/m/3,"Purr"\n'


def write_records(path: Path, count: int, seed: int) -> str:
    """Clips of 1 to 5 frames; each class shifts a tenth of the embedding's values in one frame, or in all."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(count):
        labels = sorted(set(rng.integers(0, 4, rng.integers(1, 3)).tolist()))
        values = rng.normal(128, 30, (rng.integers(1, 6), 128))
        for label in labels:
            values[rng.integers(len(values)) if label % 2 else slice(None), label * 12 : label * 12 + 12] += 60
        quantized = values.clip(0, 255).astype(np.uint8)
        records.append(to_sequence_example(f"{seed}-{i}", 0.0, 5.0, labels, quantized))
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        write_tfrecord(file, records)
    return str(path)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("records")
    (folder / "classes.csv").write_text(CLASSES)
    return [
        "--train", write_records(folder / "train.tfrecord", 400, 1),
        "--eval", write_records(folder / "eval.tfrecord", 200, 2),
        "--classes", str(folder / "classes.csv"),
        "--batch_size", "50", "--validation", "0.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("classifier", "epochs"), [("logistic", 20), pytest.param("attention", 8, marks=pytest.mark.full)]
)
def test_learns_and_measures(arguments: list[str], tmp_path: Path, classifier: str, epochs: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    folder = tmp_path / "model"
    flags = ["--classifier", classifier, "--epochs", str(epochs)]
    if classifier == "attention":
        flags += ["--hidden", "64"]
    assert main([*arguments, "--model", str(folder), *flags]) == 0
    report = json.loads((folder / "metrics.json").read_text())
    assert report["mAP"] > 0.7  # labels are on 1 to 2 of 4 classes: chance is 0.4
    assert report["clips"]["eval"] == 200
    assert report["clips"]["train"] + report["clips"]["validation"] == 400
    assert [each["display_name"] for each in report["per_class"]] == ["Speech", "Dog, bark", "Rain", "Purr"]
    assert (folder / "per_class_ap.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "resume").exists()

    from pipeline.training.fitting import scores
    from pipeline.training.saved_model import load

    model, description = load(folder)
    clips = load_clips(arguments[3], FOUR)
    found = scores(model, clips)
    expected = sklearn.average_precision_score(clips.labels, found, average=None)
    assert [each["AP"] for each in report["per_class"]] == pytest.approx(expected.tolist(), abs=1e-6)
    assert description.made_by.source == "released"


def test_padding_and_batches_do_not_change_scores(arguments: list[str]) -> None:
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    from pipeline.training import classifiers
    from pipeline.training.fitting import scores

    clips = load_clips(arguments[3], FOUR)
    for model in (classifiers.build("logistic", 4), classifiers.build("attention", 4, hidden=16)):
        together = scores(model, clips)
        for i in range(5):
            alone = scores(model, clips.take(np.array([i])))[0]
            assert together[i] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("classifier", ["logistic", pytest.param("attention", marks=pytest.mark.full)])
def test_a_seed_repeats_also_after_an_interruption(arguments: list[str], tmp_path: Path, classifier: str) -> None:
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    import keras

    from pipeline.training import classifiers
    from pipeline.training.fitting import Fitting, fit, scores
    from pipeline.training.resume import HISTORY

    clips = load_clips(arguments[1], FOUR)
    train, held_out = clips.take(np.arange(300)), clips.take(np.arange(300, 400))
    fitting = Fitting(epochs=4, batch_size=50, frames=3, seed=7)

    def run(name: str, interrupt_after: int) -> np.ndarray:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        reported: list[str] = []

        def report(line: str) -> None:
            reported.append(line)
            if len(reported) == interrupt_after:
                raise KeyboardInterrupt

        keras.utils.set_random_seed(fitting.seed)
        model = classifiers.logistic(4) if classifier == "logistic" else classifiers.attention(4, hidden=32)
        fit(model, train, held_out, fitting, folder, report)
        history = (folder / HISTORY).read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in history] == [1, 2, 3, 4]
        return scores(model, held_out)

    whole = run("whole", 0)
    with pytest.raises(KeyboardInterrupt):
        run("cut", 3)
    assert run("cut", 0) == pytest.approx(whole, abs=1e-4)


def test_only_some_classes(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*arguments, "--classifier", "logistic", "--epochs", "2"]
    assert main([*flags, "--model", str(tmp_path / "two"), "--only", 'Purr, "Dog, bark"']) == 0
    report = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert [(each["index"], each["display_name"]) for each in report["per_class"]] == [(1, "Dog, bark"), (3, "Purr")]
    assert main([*flags, "--model", str(tmp_path / "none"), "--only", "dog"]) == 2
    assert "no class is called 'dog'; there is Dog, bark" in capsys.readouterr().err


@pytest.mark.ci
def test_a_folder_in_use_is_refused(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*arguments, "--classifier", "logistic", "--epochs", "1", "--model", str(tmp_path / "m")]
    assert main(flags) == 0
    assert main(flags) == 2
    assert "holds a trained model" in capsys.readouterr().err
    assert main([*flags, "--overwrite"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert main([*arguments, "--model", str(tmp_path / "mine"), "--overwrite"]) == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_eval_records_made_otherwise_are_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_records(tmp_path / "own" / "embeddings-00000-of-00001.tfrecord", 20, 3)
    model = settings.Model("my.ckpt", "my.npz", checkpoint_sha256="a" * 64, pca_sha256="b" * 64)
    job = settings.Job(settings.Output("x", 1), model, settings.FrontEnd(hop_seconds=0.48))
    outputs.promise(tmp_path / "own", job)
    flags = [*arguments[:2], "--eval", path, *arguments[4:], "--model", str(tmp_path / "m")]
    assert main(flags) == 2
    message = capsys.readouterr().err
    assert "hop_seconds is 0.48 instead of 0.96" in message
    assert "checkpoint is my.ckpt (aaaaaaaaaaaa...) instead of released" in message
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--validation", "1.5"], "'1.5' is not a share between 0 and 1"),
        (["--epochs", "0"], "'0' is not a whole number of 1 or more"),
        (["--classifier", "transformer"], "'transformer' is not one of its values"),
        (["--classifier", "logistic", "--hidden", "9"], "--classifier logistic has no hidden units"),
        (["--frobnicate"], "unknown flag --frobnicate"),
    ],
)
def test_flag_errors_are_two_lines(
    arguments: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--model", "m", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[0]
    assert error.count("\n") == 2


@pytest.mark.parametrize("module", ["train", "predict", "fit_pca", "parquet", "fad", "export"])
def test_help_comes_without_heavy_imports(module: str) -> None:
    code = (
        f"import sys; from pipeline import {module}\n"
        f"try: {module}.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'apache_beam', 'matplotlib', 'pyarrow', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"python -m pipeline.{module}" in found.stdout


def test_split_depends_on_ids_alone() -> None:
    ids = [f"clip{i}" for i in range(1000)]
    train, held_out = split(ids, 0.1)
    assert sorted([*train, *held_out]) == list(range(1000))
    assert 60 < len(held_out) < 140
    reverse = split(ids[::-1], 0.1)[1]
    assert {ids[i] for i in held_out} == {ids[::-1][i] for i in reverse}
    assert [len(part) for part in split(["a", "b"], 0.01)] == [1, 1]


def test_clips_taken_and_padded() -> None:
    frames = np.arange(6 * 128, dtype=np.uint8).reshape(6, 128)
    clips = Clips(("a", "b", "c"), np.zeros(3), frames, np.array([0, 1, 3, 6]), np.eye(3, dtype=bool))
    taken = clips.take(np.array([2, 0]))
    assert taken.ids == ("c", "a")
    assert taken.offsets.tolist() == [0, 3, 4]
    assert np.array_equal(taken.frames, frames[[3, 4, 5, 0]])
    values, mask = clips.padded(np.array([2, 0]), 2, np.array([1, 0]))
    assert mask.tolist() == [[True, True], [True, False]]
    assert np.array_equal(values[0], dequantize(frames[4:6]))
    assert np.array_equal(values[1, 0], dequantize(frames[0]))
    assert not values[1, 1].any()


def test_classes_files(tmp_path: Path, made_audioset: Path) -> None:
    classes = read_classes(str(made_audioset / "class_labels_indices.csv"))
    assert len(classes.indices) == 527
    assert classes.only(["/m/0012", "Speech"]).names == ("Speech", "Sound 18")
    assert classes.only(['Sound of "5", far']).indices == (5,)
    (tmp_path / "bad.csv").write_text("name\nDog\n")
    with pytest.raises(SourceError, match="line 1: the header is name, without display_name and index"):
        read_classes(str(tmp_path / "bad.csv"))
    (tmp_path / "bad.csv").write_text("index,display_name\n1,Dog\n1,Rain\n")
    with pytest.raises(SourceError, match="line 3: index 1 was there before"):
        read_classes(str(tmp_path / "bad.csv"))


def test_classes_of_ones_own_beside_released_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two sets of records, one of a class that the other does not have; the model tells all classes apart."""
    (tmp_path / "classes.csv").write_text(CLASSES + '4,,"My saw"\n')
    released = write_records(tmp_path / "released" / "a.tfrecord", 200, 1)
    for name, seed in ("mine", 3), ("mine_eval", 4):
        rng = np.random.default_rng(seed)
        values = np.clip(rng.normal(128, 30, (60, 3, 128)) + np.r_[np.zeros(64), np.full(64, 50)], 0, 255)
        with (tmp_path / f"{name}.tfrecord").open("wb") as file:
            write_tfrecord(
                file, [to_sequence_example(f"{name}-{i}", 0.0, 3.0, [4], v) for i, v in enumerate(values.astype("u1"))]
            )
    mine, mine_eval = f"{tmp_path}/mine.tfrecord", f"{tmp_path}/mine_eval.tfrecord"
    model = tmp_path / "model"
    arguments = ["--classes", f"{tmp_path}/classes.csv", "--classifier", "logistic", "--epochs", "8"]
    arguments += ["--batch_size", "50", "--validation", "0.2", "--model", str(model)]
    assert main(["--train", released, mine, "--eval", released, "--eval", mine_eval, *arguments]) == 0
    report = json.loads((model / "metrics.json").read_text())
    assert [each["positives"] > 0 for each in report["per_class"]] == [True] * 5
    assert report["per_class"][4]["AP"] > 0.9
    assert report["clips"]["train"] + report["clips"]["validation"] == 260
    said = capsys.readouterr()
    assert "5 classes" in said.out
    assert said.out.endswith(f": python -m pipeline.report OUTPUT --model {model}\n")
    assert "warning: 200 of 260 eval records have ids that --train has as well (1-0)" in said.err

    from pipeline.cli import predict

    assert predict.main(["--model", str(model), "--input", mine_eval, "--top", "1"]) == 0
    assert capsys.readouterr().out.count("My saw") > 50


def test_validation_and_evaluation_that_are_far_apart() -> None:
    nothing = {"validation_mAP": math.nan}
    assert advice.far_apart([nothing, {"validation_mAP": 0.9}], 0.8) == ""
    assert advice.far_apart([nothing], 0.8) == ""
    easy = advice.far_apart([{"validation_mAP": 0.2}, {"validation_mAP": 0.3}], 1.0)
    assert easy.startswith("note: mAP 0.300 in validation, 1.000 in evaluation: few clips")
    assert "may be on both sides of --validation" in advice.far_apart([{"validation_mAP": 0.9}, nothing], 0.5)


def test_a_label_without_a_class_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.csv").write_text("index,display_name\n0,Speech\n1,Dog\n")
    flags = [*arguments[:5], str(tmp_path / "classes.csv"), "--model", str(tmp_path / "m")]
    assert main(flags) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"train\.tfrecord: record \d+ \(1-\d+\): label \d is no class of the table, which has 2 from 0 to 1", said
    )


def test_descriptions_survive(tmp_path: Path) -> None:
    from pipeline.output import provenance
    from pipeline.training.saved_model import Description, ModelError, load, read_description

    made = provenance.Provenance("released", dict(provenance.PUBLISHED["audioset"]), {}, "f")
    description = Description("logistic", Classes((3,), ("Köter",), ("/m/3",)), made, 10, {"x": 1})
    description.save(tmp_path)
    assert read_description(tmp_path) == description
    description.refuse_others(made, "here")
    with pytest.raises(ModelError, match=r"here: .*hop_seconds is 1\.0 instead of 0\.96"):
        description.refuse_others(replace(made, settings={**made.settings, "hop_seconds": 1.0}), "here")
    with pytest.raises(ModelError, match="its training did not end"):
        load(tmp_path)
    with pytest.raises(ModelError, match=r"has no model\.json"):
        load(tmp_path / "elsewhere")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="not the description"):
        read_description(tmp_path)


@pytest.mark.full
def test_ten_of_the_audioset_classes_as_documented(
    audioset_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of docs/training.md on all released records, with the quick classifier."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    (command,) = [
        each for each in re.findall(r"```\npython -m pipeline\.train (.*?)```", page, re.S) if "--only" in each
    ]
    audioset = tmp_path / "audioset"
    for name in ("bal_train", "eval"):
        (audioset / name).mkdir(parents=True)
        (audioset / name / "00.tfrecord").symlink_to(audioset_data / f"{name}.tfrecord")
    (tmp_path / "class_labels_indices.csv").symlink_to(audioset_data / "class_labels_indices.csv")
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command.replace("\\\n", " ")), "--classifier", "logistic", "--epochs", "5"]) == 0
    report = json.loads((tmp_path / "ten" / "metrics.json").read_text())
    assert len(report["per_class"]) == 10
    clips = report["clips"]
    assert (clips["train"] + clips["validation"], clips["eval"]) == (22160, 20371)
    chance = np.mean([each["positives"] for each in report["per_class"]]) / 20371
    print(report["mAP"], chance)
    assert report["mAP"] > 20 * chance
