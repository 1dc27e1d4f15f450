"""The example audio: made twice the same, in the formats it says, with the two files that give no record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import make_audio
from vggish_core.audio import AudioError, open_audio


@pytest.fixture(scope="module")
def made(example_audio: Path) -> list[Path]:
    return make_audio.make(example_audio)  # which is made already: its paths


def test_every_example_is_what_it_says(made: list[Path]) -> None:
    for path, example in zip(made, make_audio.EXAMPLES, strict=False):
        with open_audio(str(path)) as audio:
            frames = sum(len(block) for block in audio.blocks(1 << 16))
            assert (audio.sample_rate_hz, audio.channels) == (example.rate_hz, example.channels), path
        assert frames / example.rate_hz == pytest.approx(example.seconds, abs=0.1), path


def test_one_file_is_no_audio(made: list[Path]) -> None:
    with pytest.raises(AudioError) as error:
        open_audio(str(made[-1]))
    assert error.value.reason == "not_audio"


@pytest.mark.ci
def test_sounds_are_the_same_each_time_and_within_bounds() -> None:
    for example in make_audio.EXAMPLES:
        first, second = make_audio.samples(example), make_audio.samples(example)
        assert np.array_equal(first, second)
        assert 0.1 < np.abs(first).max() <= 1, example.name


def test_files_that_are_there_are_left_alone(made: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for path in made]
    assert make_audio.make(made[-1].parent) == made
    assert [path.stat().st_mtime_ns for path in made] == before
    assert sorted(path for path in made[-1].parent.rglob("*") if path.is_file()) == sorted(made)
