"""Training's promises: it continues after a kill, reports errors before it begins, and needs no plot."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import fit_pca, report
from pipeline.output.records import RecordError, parse, read_records, read_tfrecord, write_tfrecord
from pipeline.train import main
from pipeline.training import resume, saved_model
from pipeline.training.data import Classes, load_clips
from pipeline.training.resume import State
from tests.command import REPOSITORY
from tests.reference_data import part
from tests.test_train import CLASSES, write_records

TrainHere = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    (folder / "classes.csv").write_text(CLASSES)
    write_records(folder / "train.tfrecord", 120, 1)
    write_records(folder / "eval.tfrecord", 60, 2)
    return folder


def flags_of(records: Path, model: Path, **others: str) -> list[str]:
    flags = {
        "train": f"{records}/train.tfrecord",
        "eval": f"{records}/eval.tfrecord",
        "classes": f"{records}/classes.csv",
        "model": str(model),
        "classifier": "logistic",
        "epochs": "3",
        "validation": "0.2",
        "batch_size": "32",
        **others,
    }
    return [word for name, value in flags.items() for word in (f"--{name}", value)]


@pytest.fixture
def train_here(records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> TrainHere:
    """The command as a function -> (status, what it says)."""

    def train(**others: str) -> tuple[int, str]:
        capfd.readouterr()
        return main(flags_of(records, tmp_path / "model", **others)), "".join(capfd.readouterr())

    return train


# Killed.


def state(epochs: int) -> State:
    history = [{"epoch": epoch + 1, "validation_mAP": float("nan")} for epoch in range(epochs)]
    return State(history, [np.full((2, 3), epochs)], [np.array(epochs), np.ones(3)], [np.zeros((2, 3))])


def test_states_are_kept_and_the_one_before_a_damaged_one_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "resume"
    for epochs in (1, 2, 3):
        resume.save(folder, state(epochs))
    (folder / "epoch-00004.npz.12345678.tmp").write_bytes(b"half")
    resume.save(folder, state(4))
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00003.npz", "epoch-00004.npz"]
    said: list[str] = []
    found = resume.newest(folder, said.append)
    assert found is not None
    assert (len(found.history), int(found.weights[0][0, 0]), said) == (4, 4, [])
    assert found.fits([np.empty((2, 3))], [np.empty(()), np.empty(3)])
    assert not found.fits([np.empty((3, 2))], [np.empty(()), np.empty(3)])

    whole = (folder / "epoch-00004.npz").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], b"\0" * len(whole), flipped(whole)):
        said.clear()
        (folder / "epoch-00004.npz").write_bytes(damaged)
        found = resume.newest(folder, said.append)
        assert found is not None
        assert len(found.history) == 3
        assert "epoch-00004.npz is damaged" in said[0]
    (folder / "epoch-00003.npz").unlink()
    assert resume.newest(folder, said.append) is None
    assert resume.newest(tmp_path / "nowhere", said.append) is None


def flipped(data: bytes) -> bytes:
    """One byte of an array is another."""
    place = data.index(np.full((2, 3), 4).tobytes())
    return data[:place] + b"\x05" + data[place + 1 :]


def test_a_folder_with_files_of_somebody_s_is_left_alone(train_here: TrainHere, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tmp").write_text("precious")
    status, said = train_here()
    assert status == 2
    assert "holds other files" in said
    assert (tmp_path / "model" / "thesis.tmp").read_text() == "precious"


def test_a_damaged_description_is_named(train_here: TrainHere, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").touch()
    status, said = train_here()
    assert status == 2
    assert "model.json is not the description of a model" in said
    assert said.splitlines()[-1] == "  Train again."


def test_drafts_of_a_killed_training_are_no_obstacle(train_here: TrainHere, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    drafts = [tmp_path / "model" / name for name in ("model.json.0123abcd.tmp", "model.keras.tmp.keras")]
    for draft in drafts:
        draft.write_text("half")
    status, said = train_here(epochs="1")
    assert status == 0, said
    assert not any(draft.exists() for draft in drafts)


def test_a_damaged_state_costs_an_epoch(train_here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.cli.train.write_metrics", stop)
        status, said = train_here()
    assert status == 130
    assert "continues after the last whole epoch" in said
    newest = tmp_path / "model" / "resume" / "epoch-00003.npz"
    newest.write_bytes(newest.read_bytes()[:1000])
    status, said = train_here()
    assert status == 0
    assert f"{newest} is damaged" in said
    assert "continuing after epoch 2" in said
    assert [line.split(":")[0] for line in said.splitlines() if line.startswith("epoch")] == ["epoch 3"]


@pytest.mark.ci
def test_killed_at_any_moment_it_continues(records: Path, tmp_path: Path, full: bool) -> None:
    """Kills fall within an epoch, within the writing of a state, and within Keras' own writing of the network."""
    kills, model = 20 if full else 2, tmp_path / "model"
    arguments = flags_of(records, model, classifier="attention", hidden="64", epochs="6")
    draw = random.Random(3)
    epochs_before = 0
    for number in range(kills + 1):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.train", *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = ""
        try:
            if number < kills:
                wait_until((model / "model.json").exists)
                time.sleep(draw.choice([draw.uniform(0, 8), 4 + draw.uniform(0, 1)]))
                process.send_signal(signal.SIGKILL)
            said = process.communicate(timeout=300)[0]
        finally:
            process.kill()
            process.wait()
        if number == kills or (model / "model.keras").exists():
            break
        states = sorted((model / "resume").glob("epoch-*.npz"))
        whole = resume.newest(model / "resume", pytest.fail)
        assert len(whole.history if whole else []) >= epochs_before, said
        epochs_before = len(whole.history) if whole else 0
        assert len(states) <= resume.KEPT + 1
    if not (model / "model.keras").exists():
        assert process.returncode == 0, said
    assert main(arguments) == 2  # "holds a trained model"
    assert len(json.loads((model / "metrics.json").read_text())["per_class"]) == 4
    assert [json.loads(line)["epoch"] for line in (model / "history.jsonl").open()] == [1, 2, 3, 4, 5, 6]
    from pipeline.training.saved_model import load

    assert load(model)[0].output["clip"].shape[-1] == 4


def wait_until(what: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.ci
@pytest.mark.parametrize("at", ["resume.save", "save_network"])
def test_a_full_disk_is_reported_and_the_same_command_continues(
    at: str, train_here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "none", str(model)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here: root may")
    owner = "pipeline.training.resume.save" if at == "resume.save" else "pipeline.cli.train.save_network"
    write = resume.save if at == "resume.save" else saved_model.save_network
    filler = model / "model.json.ffffffff.tmp"

    def on_a_full_disk(*arguments: Any) -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        write(*arguments)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(owner, on_a_full_disk)
            status, said = train_here(epochs="2")
        assert status == 2, said
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert not (model / "model.keras").exists()
        filler.unlink()
        status, said = train_here(epochs="2")
        assert status == 0, said
        assert (model / "model.keras").exists()
        assert ("continuing after epoch 2" in said) == (at == "save_network")
    finally:
        subprocess.run(["umount", str(model)], check=True)


# Looked at first.


def float_records(path: Path, bad: int | None = None) -> str:
    from pipeline.output.records import to_sequence_example

    values = np.random.default_rng(0).normal(size=(20, 3, 128)).astype(np.float32)
    if bad is not None:
        values[bad, 1, 7] = np.nan
    with path.open("wb") as file:
        write_tfrecord(file, (to_sequence_example(f"clip {n}", 0, 3, [n % 4], each) for n, each in enumerate(values)))
    return str(path)


@pytest.fixture
def no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.train._fit", lambda *_: pytest.fail("an epoch was begun"))


@pytest.mark.parametrize("which", ["train", "eval"])
def test_values_that_are_not_finite_are_named(
    which: str, no_epoch: None, train_here: TrainHere, tmp_path: Path
) -> None:
    paths = {"train": float_records(tmp_path / "a.tfrecord"), "eval": float_records(tmp_path / "b.tfrecord")}
    paths[which] = float_records(tmp_path / "bad.tfrecord", bad=13)
    status, said = train_here(**paths)
    assert status == 2
    assert "bad.tfrecord: record 13 (clip 13): frame 1 holds NaN or infinite values" in said
    assert "docs/training.md" in said


def test_eval_records_without_labels_are_refused(no_epoch: None, train_here: TrainHere, tmp_path: Path) -> None:
    from pipeline.output.records import to_sequence_example

    with (tmp_path / "eval.tfrecord").open("wb") as file:
        write_tfrecord(file, [to_sequence_example("x", 0, 1, [], np.zeros((1, 128), np.uint8))])
    status, said = train_here(eval=f"{tmp_path}/eval.tfrecord")
    assert status == 2
    assert "no record carries a label" in said


def test_reported_eval_records(no_epoch: None, train_here: TrainHere) -> None:
    records = part("cases") / "eval-records"
    status, said = train_here(eval=f"{records}/eval-corrupt.tfrecord")
    assert status == 2
    assert "eval-corrupt.tfrecord: record " in said
    status, said = train_here(eval=f"{records}/eval-7.tfrecord")
    assert status == 2
    assert re.search(r"eval-7\.tfrecord: record \d+ \(.*\): label 7 is no class", said)


def test_a_report_and_a_pca_name_what_is_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = float_records(tmp_path / "bad.tfrecord", bad=13)
    assert report.main(["--manifest", "none", path, "--to", str(tmp_path / "report.html")]) == 2
    assert "bad.tfrecord: record 13 (clip 13): frame 1 holds NaN" in capsys.readouterr().err
    from pipeline.training.pca import blocks

    with pytest.raises(RecordError, match=r"record 13 \(clip 13\)"):
        list(blocks(path))
    assert fit_pca.main(["--input", path, "--output", str(tmp_path / "pca.npz")]) != 0
    assert "record 13 (clip 13)" in capsys.readouterr().err


def test_the_page_s_lines_copy_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    lines = page.split("## Records with NaN")[1].split("```python\n")[1].split("```")[0]
    float_records(tmp_path / "theirs.tfrecord", bad=13)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert len(list(read_records("finite.tfrecord"))) == 19


# The picture.


def test_names_of_classes_are_no_formulas(train_here: TrainHere, tmp_path: Path) -> None:
    names = ["A$$AP", "Ba$$in $x_$", "\\frac{1}{", "two\nlines \x85 $"]
    rows = "".join(f'{n},"{name}"\n' for n, name in enumerate(names))
    (tmp_path / "classes.csv").write_text(f"index,display_name\n{rows}")
    status, said = train_here(classes=f"{tmp_path}/classes.csv", epochs="1")
    assert status == 0, said
    assert (tmp_path / "model" / "per_class_ap.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "model" / "metrics.json").read_text())["per_class"]
    assert [each["display_name"] for each in found] == names


def test_a_model_is_there_without_its_picture(
    train_here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> bytes:
        raise ValueError("no ink")

    monkeypatch.setattr("pipeline.training.report.plot", fails)
    status, said = train_here(epochs="1")
    assert status == 0
    assert "per_class_ap.png was not drawn: no ink" in said
    assert (tmp_path / "model" / "model.keras").exists()


# Memory.


def test_memory_follows_the_number_of_classes(train_here: TrainHere, records: Path, tmp_path: Path) -> None:
    """Indices like taxon numbers."""
    indices = (9_606, 9_685, 2_147_483_647, 9_223_372_036_854_775_807)
    with (tmp_path / "taxa.tfrecord").open("wb") as file:
        write_tfrecord(file, renumbered(records / "train.tfrecord", indices))
    names = "".join(f"{index},class {n}\n" for n, index in enumerate(indices))
    (tmp_path / "taxa.csv").write_text(f"index,display_name\n{names}")
    clips = load_clips(f"{tmp_path}/taxa.tfrecord", Classes(indices[::-1], tuple("dcba"), ("",) * 4))
    plain = load_clips(f"{records}/train.tfrecord", Classes((3, 2, 1, 0), tuple("dcba"), ("",) * 4))
    assert np.array_equal(clips.labels, plain.labels)
    assert clips.labels.shape == (120, 4)
    taxa = str(tmp_path / "taxa.tfrecord")
    status, said = train_here(train=taxa, eval=taxa, classes=f"{tmp_path}/taxa.csv", epochs="1")
    assert status == 0, said


def renumbered(path: Path, indices: tuple[int, ...]) -> Iterator[bytes]:
    from pipeline.output.records import to_sequence_example

    with path.open("rb") as file:
        for record in map(parse, read_tfrecord(file, str(path))):
            labels = [indices[label] for label in record.labels]
            yield to_sequence_example(record.id, 0.0, 5.0, labels, record.values)
