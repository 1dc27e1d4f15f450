"""`~` is the home folder wherever a path is given; `./~` is a folder of that name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import find_corpus, load_dataset, parquet, reshard, storage, train
from pipeline.cli import verify
from pipeline.running.engines import runners
from tests.command import manifest
from tests.in_process import Embed
from vggish_core import weights


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with recordings, and a working directory elsewhere."""
    for folder in ("home/audio", "elsewhere/~/audio"):
        (tmp_path / folder).mkdir(parents=True)
        soundfile.write(tmp_path / folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    (tmp_path / "home" / "list.csv").write_text("uri,labels\naudio/a.wav,Yes\n~/audio/b.wav,Yes\n")
    (tmp_path / "home" / "classes.csv").write_text("index,mid,display_name\n0,/m/0,Yes\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_the_command(embed_here: Embed, home: Path) -> None:
    done = embed_here(Path("~/out"), "--input", "~/audio/**")
    assert (done.status, done.err) == (0, "")
    assert manifest(home / "out")["totals"]["written"] == 1
    assert [path.name for path in Path("~").iterdir()] == ["audio"]
    lists = ["--manifest", "~/list.csv", "--class_labels", "~/classes.csv", "--temp_location=~/tmp"]
    done = embed_here(Path("~/labelled"), *lists, "--max_failures", "1")
    assert done.status == 0, done.err
    (failure,) = (home / "labelled" / "failures.jsonl").read_text().splitlines()
    assert f'"{home}/~/audio/b.wav"' in failure  # a row's path is below its list's folder


def test_a_folder_of_that_name(embed_here: Embed, home: Path) -> None:
    done = embed_here(Path("out"), "--input", "./~/audio")
    assert (done.status, manifest(Path("out"))["totals"]["written"]) == (0, 1)
    assert find_corpus(["./~/audio"]).clips[0].uri == str(Path("~/audio/a.wav").absolute())
    assert [file.uri for file in storage.match("*/audio/*")] == ["./~/audio/a.wav"]
    assert storage.size("./~/audio/a.wav") == storage.size(storage.match("*/audio/*")[0].uri)
    done = embed_here(Path(f"{Path.cwd()}/~/out"), "--input", "./~/audio")
    assert (done.status, Path("./~/out").is_dir()) == (0, True)


def test_other_commands_and_the_library(
    embed_here: Embed, home: Path, capfd: pytest.CaptureFixture[str], standin_weights: Path
) -> None:
    embed_here(home / "out", "--input", home / "audio")
    assert verify.main(["~/out"]) == 0
    assert verify.main(["--manifest", "none", "~/out/*.tfrecord"]) == 0
    assert reshard.main(["~/out", "--num_shards", "2"]) == 0
    assert parquet.main(["--input", "~/out/*.tfrecord", "--output", "~/out.parquet"]) == 0
    assert (home / "out.parquet").is_file()
    assert len(list(load_dataset("~/out/*.tfrecord"))) == 1
    (home / "weights").symlink_to(standin_weights)
    assert weights.resolve("~/weights/vggish_model.ckpt", "checkpoint").path.startswith(str(home))
    capfd.readouterr()
    flags = ["--train", "~/out/*.tfrecord", "--eval", "~/out/*.tfrecord", "--classes", "~/classes.csv"]
    assert train.main([*flags, "--model", "~/model"]) == 2
    assert "--train: one record is not enough" in capfd.readouterr().err
    assert not any(path.name == "model" for path in Path("~").iterdir())


def test_beams_own_flags(home: Path) -> None:
    given = ["--temp_location=~/tmp", "--staging_location", "~/staging", "--job_name=a~b", "--setup_file=./~/setup.py"]
    engine = runners.choose("DirectRunner", given)
    wanted = [f"--temp_location={home}/tmp", "--staging_location", f"{home}/staging", *given[-2:]]
    assert list(engine.arguments) == wanted


def test_weights_in_a_folder_of_that_name(home: Path) -> None:
    (home / "w.ckpt").write_bytes(b"not this one")
    with pytest.raises(weights.WeightsError, match=r"checkpoint \./~/w\.ckpt does not exist"):
        weights.resolve("./~/w.ckpt", "checkpoint")
