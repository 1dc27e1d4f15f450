"""Once round: fine-tune VGGish, embed with it, fit its PCA, embed again, train a classifier, predict from audio."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import fit_pca, predict, run, train
from pipeline.output.loading.dataset import read_records
from tests.command import manifest
from vggish_core import train_demo

RATE = 16000
CLASSES = ("hiss", "hum", "sweep")
SECONDS = 8
"""Of each file."""


def sound(name: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    loud = rng.uniform(0.1, 0.5)
    if name == "hiss":
        return loud * rng.normal(0, 0.4, len(t))
    if name == "hum":
        return loud * np.sin(2 * np.pi * rng.uniform(80, 300) * t)
    return loud * np.sin(2 * np.pi * (200 * t + rng.uniform(300, 500) * t**2))


def make(folder: Path, clips: int, seed: int) -> dict[str, str]:
    """Makes files; returns their classes by id."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    classes = {f"{name} {number}": name for number in range(clips) for name in CLASSES}
    for clip_id, name in classes.items():
        soundfile.write(folder / f"{clip_id}.wav", sound(name, SECONDS, rng), RATE)
    return classes


def write_table(path: Path, header: tuple[str, str], rows: dict[str, object]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows.items()])
    return str(path)


@pytest.mark.full
def test_from_fine_tuning_to_predictions(
    standin_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A checkpoint of this test's own is prepared in a cache of its own; compiled kernels are taken along.
    cache = tmp_path / "cache"
    shutil.copytree(standin_weights.parent / "kernels", cache / "kernels", dirs_exist_ok=True)
    monkeypatch.setenv("VGGISH_CACHE", str(cache))
    known = make(tmp_path / "known", 8, 1)

    labels = write_table(
        tmp_path / "known" / "labels.csv", ("path", "label"), {f"{k}.wav": v for k, v in known.items()}
    )
    tuned = tmp_path / "tuned" / "vggish_model.ckpt"
    flags = ["--num_batches", "3", "--batch_size", "16", "--output", str(tuned.parent)]
    assert train_demo.main(["--checkpoint", str(standin_weights / tuned.name), "--files", labels, *flags]) == 0

    both = ["--input", str(tmp_path / "known" / "*.wav"), "--checkpoint", str(tuned), "--progress", "off"]
    assert run.main([*both, "--output", str(tmp_path / "raw"), "--embeddings", "raw"]) == 0
    pca = tmp_path / "tuned_pca.npz"
    assert fit_pca.main(["--input", str(tmp_path / "raw" / "*.tfrecord"), "--output", str(pca)]) == 0

    index = write_table(
        tmp_path / "classes.csv", ("display_name", "index"), {name: i for i, name in enumerate(CLASSES)}
    )
    listed = tmp_path / "seconds.csv"  # a clip for every second of the files
    with listed.open("w", newline="", encoding="utf-8") as file:
        cells = [
            (f"known/{clip}.wav", f"{clip} at {second}", second, second + 1, CLASSES.index(name))
            for clip, name in known.items()
            for second in range(SECONDS)
        ]
        csv.writer(file).writerows([("uri", "id", "start_seconds", "end_seconds", "labels"), *cells])
    output = tmp_path / "out"
    weights = ["--checkpoint", str(tuned), "--pca_params", str(pca), "--progress", "off"]
    assert run.main(["--manifest", str(listed), "--output", str(output), *weights]) == 0
    assert manifest(output)["models"]["pca_params"]["name"] == str(pca)
    whitened = np.concatenate([each.values for each in read_records(f"{output}/*.tfrecord")])
    assert 100 < whitened.mean() < 155  # what the PCA was fitted to is centred, in units of its spread

    # Seconds of the files that the model learned from: what shows that all steps agree. Given other embeddings than it
    # knows, it would be right for a third of them.
    model, records = str(tmp_path / "model"), f"{output}/*.tfrecord"
    fitting = ["--classifier", "logistic", "--batch_size", "8", "--learning_rate", "0.03"]
    assert train.main(["--train", records, "--eval", records, "--classes", index, "--model", model, *fitting]) == 0
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["mAP"] > 0.8

    heard = tmp_path / "heard.json"
    capsys.readouterr()
    audio = str(tmp_path / "known" / "*.wav")
    assert predict.main(["--model", model, "--input", audio, "--output", str(heard)]) == 0
    best = {clip["id"]: clip["classes"][0]["display_name"] for clip in json.loads(heard.read_text())}
    assert set(best) == set(known)
    assert sum(best[clip] == name for clip, name in known.items()) >= 0.9 * len(known)
    # Other weights are refused, by name.
    refused = ["--model", model, "--input", audio, "--checkpoint", str(standin_weights / tuned.name)]
    assert predict.main(refused) == 2
    assert "checkpoint is" in capsys.readouterr().err
