"""`--labels_from`: labels in the audio's own names."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import read_records
from pipeline.corpus.path_labels import PathLabels
from pipeline.errors import FlagError
from tests.command import manifest
from tests.in_process import Embed

SETS = {"dog": 2, "cat": 1, "tawny owl": 1}


def add(folder: Path, kind: str, number: int) -> None:
    path = folder / kind / f"{kind}_{number}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(kind.encode()) + number
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 16_000), 16_000)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    for kind, count in SETS.items():
        for number in range(count):
            add(folder, kind, number)
    return folder


def labels(output: Path) -> dict[str, str]:
    """Id -> its label's name in the output's own table."""
    with (output / "classes.csv").open(newline="") as file:
        names = {int(row["index"]): row["display_name"] for row in csv.DictReader(file)}
    return {
        record.id: ";".join(names[label] for label in record.labels) for record in read_records(f"{output}/*.tfrecord")
    }


@pytest.mark.parametrize(
    ("rule", "path", "label"),
    [
        ("folder", "dog/x/a.wav", "dog"),
        ("folder:2", "dog/x/a.wav", "x"),
        ("folder:3", "dog/x/a.wav", ""),
        ("folder", "a.wav", ""),
        ("filename:(?P<label>[a-z]+)_", "x/dog_1.wav", "dog"),
        ("filename:_(?P<label>.*)$", "1_dog.wav", "dog"),
        ("filename:(?P<label>z)?x", "x.wav", ""),
        ("filename:^(?P<label>[0-9]+)", "dog.wav", ""),
    ],
)
def test_where_a_label_stands(rule: str, path: str, label: str) -> None:
    assert PathLabels(rule).of(path) == label


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("", "is none of its values"),
        ("folders", "is none of its values"),
        ("folder:0", "is none of its values"),
        ("filename:", "is none of its values"),
        ("filename:(", "is no regular expression"),
        ("filename:(.*)_", "has no group called label"),
    ],
)
def test_a_rule_that_says_nothing(rule: str, wrong: str) -> None:
    with pytest.raises(FlagError, match=wrong):
        PathLabels(rule)


def test_folders_are_labels(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    output = tmp_path / "out"
    done = embed_here(output, "--input", audio, "--labels_from", "folder")
    assert done.status == 0, done.err
    assert labels(output) == {
        "cat/cat_0": "cat", "dog/dog_0": "dog", "dog/dog_1": "dog", "tawny owl/tawny owl_0": "tawny owl",
    }  # fmt: skip
    assert (output / "classes.csv").read_text() == "index,display_name\n0,cat\n1,dog\n2,tawny owl\n"


def test_a_set_that_grows_keeps_its_numbers(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    """A new class goes behind the others, though its name comes first: no clip is embedded again."""
    output, flags = tmp_path / "out", ["--input", audio, "--labels_from", "filename:(?P<label>.+)_"]
    assert embed_here(output, *flags).status == 0
    add(audio, "bear", 0)
    done = embed_here(output, *flags)
    assert "4 clips were there already" in done.out
    assert labels(output)["bear/bear_0"] == "bear"
    assert labels(output)["cat/cat_0"] == "cat"
    assert (output / "classes.csv").read_text().endswith("3,bear\n")
    assert embed_here(output, *flags, "--overwrite").status == 0
    assert (output / "classes.csv").read_text().startswith("index,display_name\n0,bear\n")


def test_a_table_of_ones_own(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    table = tmp_path / "table.csv"
    table.write_text("index,mid,display_name\n7,/m/dog,dog\n9,/m/cat,cat\n")
    flags = ["--input", audio, "--labels_from", "folder", "--class_labels", table]
    done = embed_here(tmp_path / "out", *flags)
    assert done.status == 2
    assert "--labels_from finds the label 'tawny owl'" in done.err
    table.write_text(table.read_text() + "3,/m/owl,tawny owl\n")
    assert embed_here(tmp_path / "out", *flags).status == 0
    found = {record.id: list(record.labels) for record in read_records(f"{tmp_path}/out/*.tfrecord")}
    assert found["dog/dog_0"] == [7]
    assert not (tmp_path / "out" / "classes.csv").exists()


def test_clips_without_a_label_are_told(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    soundfile.write(audio / "loose.wav", np.zeros(16_000), 16_000)
    done = embed_here(tmp_path / "out", "--input", audio, "--labels_from", "folder")
    assert "1 clip without a label: --labels_from folder finds none in the path" in done.err
    assert labels(tmp_path / "out")["loose"] == ""


def test_tasks_number_alike(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    output, flags = tmp_path / "out", ["--input", audio, "--labels_from", "folder"]
    for task in ("1/2", "0/2"):
        assert embed_here(output, *flags, "--task", task).status == 0
    assert manifest(output)["complete"]
    assert labels(output)["tawny owl/tawny owl_0"] == "tawny owl"


def test_lists_have_labels_of_their_own(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    (tmp_path / "list.csv").write_text(f"uri\n{audio}/dog/dog_0.wav\n")
    done = embed_here(tmp_path / "out", "--manifest", tmp_path / "list.csv", "--labels_from", "folder")
    assert done.status == 2
    assert "has labels of its own" in done.err
