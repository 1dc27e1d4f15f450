from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from vggish_core import command, train_demo
from vggish_core.network.checkpoints import read_variables
from vggish_core.network.model import Embedder
from vggish_core.network.slim import tf


@pytest.fixture(scope="module")
def before(standin_weights: Path) -> dict[str, np.ndarray]:
    return read_variables(standin_weights / "vggish_model.ckpt")


def losses(said: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"Step \d+: loss (\S+)", said)]


@pytest.mark.ci
def test_frozen_vggish_stays_and_the_classifier_learns(
    before: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--checkpoint", "standin", "--no-train_vggish", "--num_batches", "8", "--learning_rate", "0.02"]
    assert train_demo.main([*flags, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "standin (random weights, no meaning)" in said
    found = losses(said)
    assert len(found) == 8
    assert found[-1] < 0.5 * found[0]
    assert float(re.search(r"([\d.]+)% of 15 new examples", said)[1]) > 60  # a third by chance
    checkpoint = tmp_path / "out" / "vggish_model.ckpt"
    assert f"--checkpoint {checkpoint}" in said
    after = read_variables(checkpoint)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    names = tf.train.load_checkpoint(str(checkpoint)).get_variable_to_shape_map()
    assert names["mymodel/logits/weights"] == [100, 3]
    assert not [name for name in names if "Adam" in name or "power" in name]


@pytest.mark.full
def test_fine_tuned_vggish_is_taken_by_the_embedder(
    before: dict[str, np.ndarray], made_clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["001 - Rising tone", "002 - Rain"]
    clips = [clip for folder in folders for clip in sorted((made_clips / folder).iterdir())[:2]]
    with (tmp_path / "files.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(clip, clip.parent.name[6:]) for clip in clips]
        csv.writer(file).writerows([("path", "label"), *rows])
    flags = ["--checkpoint", "standin", "--files", str(tmp_path / "files.csv"), "--batch_size", "8"]
    assert train_demo.main([*flags, "--num_batches", "2", "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "2 classes: Rain, Rising tone" in said
    assert len(losses(said)) == 2
    after = read_variables(tmp_path / "out" / "vggish_model.ckpt")
    assert not [name for name, value in before.items() if np.array_equal(after[name], value)]
    embedder = Embedder(tmp_path / "out" / "vggish_model.ckpt", batch_size=8, convolutions="direct")
    assert np.isfinite(embedder.embed(np.zeros((1, 96, 64), np.float32))).all()
    assert (tmp_path / "out" / "labels.csv").read_text().split() == ["index,label", "0,Rain", "1,Rising", "tone"]


def test_batches_hold_every_example_once_a_round() -> None:
    examples = np.arange(10, dtype=np.float32)[:, None, None]
    everything = train_demo.Batch(examples, np.eye(2, dtype=np.float32)[np.arange(10) % 2])
    batches = train_demo.shuffled_batches(everything, 4, np.random.RandomState(0))
    for _ in range(2):
        taken = [next(batches) for _ in range(3)]
        assert [len(batch.labels) for batch in taken] == [4, 4, 2]
        found = np.concatenate([batch.examples[:, 0, 0] for batch in taken])
        assert sorted(found) == list(range(10))
        labels = np.concatenate([batch.labels for batch in taken])
        np.testing.assert_array_equal(labels.argmax(axis=1), found % 2)


def test_synthetic_batch_is_five_of_each_class() -> None:
    batch = train_demo.synthetic_batch(np.random.RandomState(0))
    assert batch.examples.shape == (15, 96, 64)
    assert batch.labels.sum(axis=0).tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\n", "must have the columns"),
        ("file,label\na.wav,x\n", r"it has \['file', 'label'\]"),
        ("path,label\na.wav,x\nb.wav,x\n", "one label only, x"),
        ("path,label\nnone.wav,x\nnone.wav,y\n", r"none\.wav"),
    ],
)
def test_unusable_lists_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "files.csv").write_text(content)
    assert train_demo.main(["--files", str(tmp_path / "files.csv")]) == command.UNUSABLE
    assert re.search(message, capsys.readouterr().err)


def test_unusable_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_demo.main(["--num_batches", "0"]) == command.UNUSABLE
    assert "--num_batches 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--train_vggish=False"], "--train_vggish takes no value, not 'False': give --no-train_vggish"),
        (["--train_vggish", "false"], "--train_vggish takes no value, not 'false': give --no-train_vggish"),
        (["--train_vggish=1"], "--train_vggish takes no value, not '1': give --train_vggish"),
    ],
)
def test_the_originals_flags_of_truths(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_demo.main(["--num_batches", "1", *flags]) == 2
    assert capsys.readouterr().err == f"python -m vggish_core.train_demo: error: {said}\n"
