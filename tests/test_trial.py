"""`--check`: says what a run then does, and leaves nothing behind."""

from __future__ import annotations

import random
import re
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline import run
from pipeline.cli import trial
from pipeline.corpus import plan, sample
from pipeline.types import Clip
from tests import interrupted_run
from tests.command import manifest

pytestmark = pytest.mark.usefixtures("summed_examples")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(3)
    for number in range(60):
        kind, seconds = ("wav", 2) if number % 2 else ("flac", 4)
        soundfile.write(folder / f"{number:03d}.{kind}", rng.normal(0, 0.1, seconds * 16000), 16000)
    for number in range(20):
        (folder / f"bad{number:03d}.wav").write_bytes(b"RIFF" + bytes(65_000))
    return folder


def command(audio: Path, output: Path, *flags: str) -> int:
    some = ["--input", str(audio), "--output", str(output), "--max_failures", "50%"]
    return run.main([*interrupted_run.FLAGS, *some, *flags])


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_it_foretells_what_the_run_does(audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "out"
    assert command(audio, output, "--check") == 0
    said = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert "80 to embed, 0 kept" in said
    assert "new: 1 shard," in said
    foretold = re.search(r"about (\d+) failed as (\w+)", said)
    assert foretold is not None
    bytes_foretold = re.search(r"([\d.]+) MB of records", said)
    assert bytes_foretold is not None
    assert command(audio, output) == 0
    found = manifest(output)
    assert found["failures"] == {foretold[2]: 20}
    assert int(foretold[1]) == pytest.approx(20, abs=6)
    sample = "sample     32 clips in"
    assert sample in said
    seconds = re.search(r"estimate   (?:(\d+) min )?(\d+) s of audio", said)
    assert seconds is not None
    foretold_s = int(seconds[1] or 0) * 60 + int(seconds[2])
    assert foretold_s == pytest.approx(found["totals"]["audio_seconds"], rel=0.25)


def test_an_output_that_is_there_stays_as_it_is(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert command(audio, output) == 0
    before = tree(output)
    new = tmp_path / "new"
    new.mkdir()
    soundfile.write(new / "one.wav", np.zeros(32000), 16000)
    capsys.readouterr()
    assert command(audio, output, "--check", "--input", str(new)) == 0
    said = capsys.readouterr().out
    assert "1 to embed, 80 kept, 0 no longer among the inputs" in said
    assert "continued" in said
    assert tree(output) == before
    assert command(audio, output, "--check", "--hop_seconds", "0.48") == 2
    assert "hop_seconds is 0.96 in the output, 0.48 was asked for" in capsys.readouterr().err


def test_a_storage_that_takes_nothing_is_reported(audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("no /proc here, in which nobody can make files")
    assert command(audio, Path("/proc/out"), "--check") == 2
    assert "--output: /proc/out: writing a record to try the storage failed" in capsys.readouterr().err


def test_a_sample_spreads_over_formats_and_sizes() -> None:
    clips = [Clip(str(n), f"{n}.{kind}", size_bytes=n * 10**6) for n in range(100) for kind in ("mp3", "wav")]
    drawn = sample.draw(clips, 20)
    assert len(set(drawn)) == 20
    assert drawn == sample.draw(clips[::-1], 20)
    for kind in ("mp3", "wav"):
        sizes = sorted(clip.size_bytes for clip in drawn if clip.uri.endswith(kind))
        assert len(sizes) == 10
        assert np.diff(sizes).max() <= 10**7
    assert sample.draw(clips[:5], 20) == sorted(clips[:5], key=lambda clip: (clip.uri[-3:], clip.size_bytes))


KINDS = st.builds(
    Clip, st.sampled_from(["a", "b", "cc", "é"]), st.sampled_from(["x.wav", "y/z.MP3", "x.d/.wav", "x."]),
    start_s=st.sampled_from([0.0, 1.5]), size_bytes=st.sampled_from([0, 10**6, 2**40]),
)  # fmt: skip


@given(st.lists(KINDS, max_size=40), st.integers(1, 20), st.integers(0, 3))
def test_a_sample_is_taken_from_the_order_by_format_size_and_key(clips: list[Clip], most: int, seed: int) -> None:
    ordered = sorted(clips, key=lambda clip: (PurePath(clip.uri).suffix.lower(), plan.cost_bytes(clip), clip.key))
    drawn = sample.draw(clips, most, seed)
    if len(clips) <= most:
        assert drawn == ordered
    else:
        places = [ordered.index(clip) for clip in drawn]
        assert places == sorted(places)
        assert len(drawn) == most
        start = random.Random(seed).uniform(0, len(clips) / most)
        assert drawn == [ordered[int(start + index * len(clips) / most)] for index in range(most)]


@pytest.mark.ci
def test_of_a_long_recording_only_the_start_is_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 16000, 1) as file:
        for _ in range(40):
            file.write(np.random.default_rng(0).normal(0, 0.1, 60 * 16000))
    taken: list[int] = []
    original = trial.Trial

    def noted(*values: object) -> trial.Trial:
        result = original(*values)  # type: ignore[arg-type]
        taken.append(result.examples)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "Trial", noted)
        assert command(tmp_path / "long.wav", tmp_path / "out", "--check") == 0
    assert trial.EXAMPLES_OF_A_CLIP <= taken[0] < trial.EXAMPLES_OF_A_CLIP + 100
