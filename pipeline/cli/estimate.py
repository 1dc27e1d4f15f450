"""What a run would take, from what a sample of its clips took."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from pipeline.corpus import plan
from pipeline.corpus.sample import format_of
from pipeline.machine import cores
from pipeline.types import Clip, Failure

START_S = 3.0
"""Seconds of a run before the first clip, and after the last: imports, the graph, the report."""
CLIP_S = 0.002
"""Processor time that the graph, the accounts and the records take for a clip."""
BUSY = 0.9
"""Share of the processors' time that a run on this machine makes use of."""
SURE = 0.1
"""What an estimate is off at the least, as a share: machines have other things to do."""


@dataclass(frozen=True)
class Trial:
    """The outcome of one clip.

    Attributes:
      clip: which.
      examples, audio_s: decoded.
      lasts_s: all of the clip's audio, by its end or its header; None where neither tells.
      decode_s: what the decoding took a decoder.
      values: its embeddings [k, 128]; zeros where the network had seen enough; no rows where it failed.
      failure: why it did.
    """

    clip: Clip
    examples: int
    audio_s: float
    lasts_s: float | None
    decode_s: float
    values: np.ndarray
    failure: Failure | None = None


@dataclass(frozen=True)
class Estimate:
    """An estimate of the work.

    Attributes:
      audio_s: seconds of audio.
      core_s: seconds of one processor.
      output_bytes: of records.
      off: what it may be off by, as a share: two standard errors.
    """

    audio_s: float
    core_s: float
    output_bytes: float
    off: float

    @property
    def wall_s(self) -> float:
        """Seconds on this machine's processors."""
        return START_S + self.core_s / cores() / BUSY


def estimate(
    clips: Sequence[Clip], trials: Sequence[Trial], example_s: float, record_bytes: Callable[[Trial], int]
) -> Estimate:
    """All clips, and the outcome of some -> an estimate for all.

    Durations of other clips follow from their files' sizes, and the time that they take to decode from their durations,
    both by the trials of the same format.

    Args:
      clips: that are to be embedded.
      trials: of some of them.
      example_s: processor time that the network takes for an example.
      record_bytes: the size of a trial's record.
    """
    good = [trial for trial in trials if trial.failure is None]
    if not good:
        return Estimate(0.0, 0.0, 0.0, 0.0)
    share = len(good) / len(trials)
    tried_s, tried_examples = fsum(trial.audio_s for trial in good), sum(trial.examples for trial in good)
    mean_s = tried_s / len(good)
    telling = (trial for trial in good if trial.lasts_s and not trial.clip.cut and trial.clip.size_bytes)
    per_byte = _rates(telling, lambda trial: trial.clip.size_bytes, lambda trial: trial.lasts_s or 0.0)
    audio: dict[str, float] = defaultdict(float)
    tried = {trial.clip.key: trial for trial in trials}
    for clip in clips:
        trial = tried.get(clip.key)
        seconds = _come_of(trial, per_byte, mean_s) if trial else share * _audio_s(clip, per_byte, mean_s)
        audio[format_of(clip)] += seconds
    audio_s = fsum(audio.values())
    decoding = _rates(good, lambda trial: trial.audio_s, lambda trial: trial.decode_s)
    decode_s = fsum(seconds * decoding.get(name, decoding[""]) for name, seconds in audio.items())
    examples = tried_examples * audio_s / tried_s
    core_s = decode_s + examples * example_s + len(clips) * CLIP_S
    output_bytes = examples * sum(map(record_bytes, good)) / tried_examples
    return Estimate(audio_s, core_s, output_bytes, _off(good, per_byte, mean_s, 1 - len(trials) / max(1, len(clips))))


def _off(good: Sequence[Trial], per_byte: dict[str, float], mean_s: float, untried: float) -> float:
    """Two standard errors of the audio in clips that were not tried, as a share of all; at least `SURE`."""
    found = np.array([_come_of(trial, per_byte, mean_s) for trial in good])
    foretold = np.array([_audio_s(trial.clip, per_byte, mean_s) for trial in good])
    if len(good) < 2:
        return 1.0 if untried else SURE
    error = math.sqrt(len(good) / (len(good) - 1) * float(np.square(found - foretold).sum())) / float(found.sum())
    return math.hypot(SURE, 2 * error * math.sqrt(max(0.0, untried)))


def _rates(
    trials: Iterable[Trial],
    of: Callable[[Trial], float],
    amount: Callable[[Trial], float],
) -> dict[str, float]:
    """By format, "" for all: an amount, seconds of audio for instance, divided by another of the same trials."""
    above: dict[str, float] = defaultdict(float)
    below: dict[str, float] = defaultdict(float)
    for trial in trials:
        for name in {format_of(trial.clip), ""}:
            above[name] += amount(trial)
            below[name] += of(trial)
    return {name: above[name] / below[name] for name in below if below[name]}


def _come_of(trial: Trial, per_byte: dict[str, float], otherwise: float) -> float:
    """Seconds of audio in a tried clip, which may not have been read to its end."""
    if trial.failure is not None:
        return 0.0
    return trial.lasts_s or max(trial.audio_s, _audio_s(trial.clip, per_byte, otherwise))


def _audio_s(clip: Clip, per_byte: dict[str, float], otherwise: float) -> float:
    if clip.end_s is not None:
        return plan.most_seconds(clip)
    rate = per_byte.get(format_of(clip), per_byte.get(""))
    return clip.size_bytes * rate if rate and clip.size_bytes else otherwise
