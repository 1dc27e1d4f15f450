from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.estimate import CLIP_S, SURE, Estimate, Trial, estimate
from pipeline.corpus import sample
from pipeline.types import Clip, Failure

BYTES_A_SECOND = {"wav": 32_000, "mp3": 8_000}
DECODE_S = {"wav": 0.001, "mp3": 0.004}
"""Of a second of audio."""
EXAMPLE_S = 0.007
RECORD_BYTES = 130


def clip(number: int, kind: str, seconds: float) -> Clip:
    return Clip(f"{number}", f"{number}.{kind}", size_bytes=round(seconds * BYTES_A_SECOND[kind]))


def tried(one: Clip, most_s: float = 120.0) -> Trial:
    kind = one.uri[-3:]
    seconds = one.size_bytes / BYTES_A_SECOND[kind]
    heard = min(seconds, most_s)
    return Trial(one, int(heard), heard, seconds, heard * DECODE_S[kind], np.empty((0, 128)))


def failed(one: Clip) -> Trial:
    failure = Failure(one, "decode", "not_audio", "no")
    return Trial(one, 0, 0.0, 0.0, 0.0, np.empty((0, 128)), failure)


def of(clips: list[Clip], trials: list[Trial]) -> Estimate:
    return estimate(clips, trials, EXAMPLE_S, lambda trial: RECORD_BYTES * trial.examples)


@given(st.lists(st.tuples(st.sampled_from(["wav", "mp3"]), st.floats(1, 1000)), min_size=1, max_size=50))
def test_what_was_tried_itself_is_known(kinds: list[tuple[str, float]]) -> None:
    clips = [clip(number, *kind) for number, kind in enumerate(kinds)]
    trials = [tried(one, most_s=1e9) for one in clips]
    found = of(clips, trials)
    audio_s = sum(trial.audio_s for trial in trials)
    examples = sum(trial.examples for trial in trials)
    assert found.audio_s == pytest.approx(audio_s)
    decode_s = sum(trial.decode_s for trial in trials)
    assert found.core_s == pytest.approx(decode_s + examples * EXAMPLE_S + len(clips) * CLIP_S)
    assert found.output_bytes == pytest.approx(RECORD_BYTES * examples)
    assert found.off >= SURE


@pytest.mark.parametrize("seconds", [1.0, 5.0, 10.0, 600.0])
def test_formats_are_foretold_each_by_its_own_rates(seconds: float) -> None:
    clips = [clip(number, "mp3" if number % 5 else "wav", seconds) for number in range(400)]
    found = of(clips, [tried(one) for one in sample.draw(clips)])
    assert found.audio_s == pytest.approx(400 * seconds, rel=0.01)
    decode_s = seconds * (320 * DECODE_S["mp3"] + 80 * DECODE_S["wav"])
    assert found.core_s == pytest.approx(decode_s + 400 * (int(seconds) * EXAMPLE_S + CLIP_S), rel=0.02)


def test_clips_that_fail_are_expected_among_the_others() -> None:
    clips = [clip(number, "wav", 5.0) for number in range(100)]
    drawn = sample.draw(clips)
    trials = [failed(one) if number % 4 == 0 else tried(one) for number, one in enumerate(drawn)]
    assert of(clips, trials).audio_s == pytest.approx(375, rel=0.02)
    assert of(clips, [failed(one) for one in drawn]) == Estimate(0.0, 0.0, 0.0, 0.0)


def test_the_more_clips_differ_the_less_it_is_sure() -> None:
    """Bytes say little of the duration where rates of bits differ."""
    random = np.random.default_rng(0)
    alike = [clip(number, "mp3", 10.0) for number in range(1000)]
    drawn = sample.draw(alike)
    varied = [Trial(one, 10, float(seconds), float(seconds), 0.04, np.empty((0, 128))) for one, seconds in
              zip(drawn, random.lognormal(2, 1, len(drawn)), strict=True)]  # fmt: skip
    assert of(alike, [tried(one) for one in drawn]).off == pytest.approx(SURE)
    assert of(alike, varied).off > 2 * SURE
