"""`--config`: flags in a file, and the file that each run leaves."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from pipeline.cli import config, options
from pipeline.errors import FlagError
from tests.in_process import Embed


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def to(text: str) -> str:
        (tmp_path / "c.yaml").write_text(text)
        return str(tmp_path / "c.yaml")

    return to


def test_the_keys_are_the_flags(write) -> None:  # type: ignore[no-untyped-def]
    file = write("input: [a b, c]\noutput: out\nnum-shards: 3\nretry_failed: true\nprune: false\nmanifest:\nproject: p")
    flags, rest = options.parse(["--config", file])
    assert (flags.input, flags.output, flags.num_shards) == (["a b", "c"], "out", 3)
    assert (flags.retry_failed, flags.prune, flags.manifest) == (True, False, None)
    assert rest == ["--project=p"]


def test_flags_that_are_given_win(write) -> None:  # type: ignore[no-untyped-def]
    file = write("input: [a, b]\noutput: out\nnum_shards: 3\n")
    flags, _ = options.parse(["--num-shards=5", f"--config={file}", "--input", "c"])
    assert (flags.input, flags.output, flags.num_shards) == (["c"], "out", 5)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("- a\n- b\n", "holds no flags"),
        ("input: [\n", r"is no YAML \(line 2\)"),
        ("input: {a: b}\n", "input has the value"),
        ("num_shards: none\n", "--num_shards: 'none' is not a whole number"),
    ],
)
def test_a_file_of_something_else(text: str, wrong: str, write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FlagError, match=wrong):
        options.parse(["--config", write(text), "--input", "a", "--output", "o"])


@pytest.mark.parametrize("arguments", [["--config"], ["--config="], ["--config", "gone.yaml"]])
def test_no_file(arguments: list[str]) -> None:
    with pytest.raises(FlagError, match="--config"):
        options.parse(["--input", "a", *arguments])


def test_what_a_run_leaves_is_the_same_run(tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "audio").mkdir()
    for number in range(3):
        samples = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(tmp_path / "audio" / f"{number}.wav", samples, 16_000)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "out"
    given = ["--input", "audio", "--exclude", "2*", "--num-shards", "2", "--hop_seconds", "0.48"]
    assert embed_here(output, *given).status == 0
    kept = yaml.safe_load((output / "config.yaml").read_text())
    assert kept["input"] == [str(tmp_path / "audio")]
    assert (kept["output"], kept["num_shards"], kept["hop_seconds"]) == (str(output), 2, 0.48)
    assert not {"progress", "config", "overwrite"} & set(kept)
    monkeypatch.chdir("/")
    again = embed_here(output, "--config", output / "config.yaml")
    assert again.status == 0, again.err
    assert "nothing to compute" in again.out
    assert "2 clips were there already" in again.out
    assert yaml.safe_load((output / "config.yaml").read_text()) == kept


def test_secrets_are_not_kept() -> None:
    beam = "--s3_secret_access_key=hidden --s3_endpoint_url http://here --no_auth --experiments a b"
    flags, rest = options.parse(shlex.split(f"--input a --output o {beam}"))
    kept = config.kept(options.parser(), flags, rest)
    assert "hidden" not in kept
    assert "# --s3_secret_access_key is not kept\n" in kept
    found = yaml.safe_load(kept)
    assert (found["s3_endpoint_url"], found["no_auth"], found["experiments"]) == ("http://here", True, ["a", "b"])
