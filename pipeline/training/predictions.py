"""A model's predictions: scores of a clip and over time, as CSV, JSON or a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import storage
from pipeline.formatting import plain
from pipeline.output.loading.dataset import frame_starts
from pipeline.output.records import Record
from pipeline.training.saved_model import Description

if TYPE_CHECKING:
    import keras

FRAMES_OF_A_CALL = 8192
"""Frames of a clip that are scored in one call; longer clips are scored in parts, weighed by their lengths."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's predictions for a clip.

    Attributes:
      id: of the record.
      uri: of the audio; "" where records were given.
      start_s, end_s: of the record, None in YouTube-8M's layout.
      times_s: float64 [t], start of each frame.
      scores: float32 [c], probability of each class in the clip.
      over_time: float32 [t, c], in each frame.
    """

    id: str
    uri: str
    start_s: float | None
    end_s: float | None
    times_s: np.ndarray
    scores: np.ndarray
    over_time: np.ndarray

    def top(self, count: int) -> np.ndarray:
        """Classes with the highest scores in the clip, the highest first: int [count]."""
        return np.argsort(-self.scores, kind="stable")[:count]


def predict(model: keras.Model, record: Record, hop_s: float, uri: str = "") -> Prediction:
    """A model of `classifiers.build` and a record with at least one frame -> what the model hears."""
    from pipeline.output.loading.dataset import dequantize

    values = dequantize(record.values) if record.values.dtype == np.uint8 else record.values
    parts = np.array_split(values, -(-len(values) // FRAMES_OF_A_CALL))
    called = [model.predict_on_batch([part[np.newaxis], np.ones((1, len(part)), bool)]) for part in parts]
    clip = np.average([found["clip"][0] for found in called], axis=0, weights=[len(part) for part in parts])
    over_time = np.concatenate([found["frames"][0] for found in called])
    times = frame_starts(len(values), record.start_s or 0.0, hop_s)
    return Prediction(record.id, uri, record.start_s, record.end_s, times, clip.astype(np.float32), over_time)


def to_csv(predictions: Sequence[Prediction], description: Description, top: int) -> str:
    """Predictions -> CSV: a row for each clip and class, the highest score first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "start_seconds", "end_seconds", "rank", "display_name", "mid", "score"))
    classes = description.classes
    for each in predictions:
        for rank, c in enumerate(each.top(top), 1):
            row = (each.id, each.start_s, each.end_s, rank, classes.names[c], classes.mids[c], f"{each.scores[c]:.6f}")
            writer.writerow(row)
    return text.getvalue()


def to_json(predictions: Sequence[Prediction], description: Description, top: int) -> str:
    """Predictions -> JSON: the classes of each clip, and their scores in every frame."""
    return json.dumps([_content(each, description, top) for each in predictions], indent=1, ensure_ascii=False) + "\n"


def plot(prediction: Prediction, description: Description, top: int, hop_s: float) -> bytes:
    """A prediction -> a PNG: scores over time of the clip's classes, below the log-mel where the audio is there."""
    from matplotlib.figure import Figure

    log_mel = _log_mel(prediction)
    chosen = prediction.top(top)
    figure = Figure(figsize=(10, 2.2 + 0.3 * len(chosen) + (2.6 if log_mel is not None else 0)), layout="constrained")
    rows = figure.subplots(2 if log_mel is not None else 1, 1, sharex=True, squeeze=False)[:, 0]
    begin, end = prediction.times_s[0], prediction.times_s[-1] + hop_s
    if log_mel is not None:
        # Frames of 10 ms from the clip's start; the band numbers grow with the pitch.
        extent = (begin, begin + len(log_mel) * 0.01, -0.5, log_mel.shape[1] - 0.5)
        rows[0].imshow(log_mel.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
        rows[0].set(ylabel="mel band", title=plain(prediction.id))
    scores = rows[-1].imshow(
        prediction.over_time[:, chosen].T,
        aspect="auto",
        extent=(begin, end, len(chosen) - 0.5, -0.5),
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    names = [plain(f"{description.classes.names[c]} ({prediction.scores[c]:.2f})") for c in chosen]
    rows[-1].set_yticks(range(len(chosen)), names)
    rows[-1].set(xlabel="seconds", xlim=(begin, end))
    figure.colorbar(scores, ax=rows[-1], label="score")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _content(each: Prediction, description: Description, top: int) -> dict[str, Any]:
    classes = description.classes
    return {
        "id": each.id,
        "start_seconds": each.start_s,
        "end_seconds": each.end_s,
        "frame_times": [round(float(time), 6) for time in each.times_s],
        "classes": [
            {
                "display_name": classes.names[c],
                "mid": classes.mids[c],
                "index": classes.indices[c],
                "score": round(float(each.scores[c]), 6),
                "over_time": [round(float(score), 6) for score in each.over_time[:, c]],
            }
            for c in each.top(top)
        ],
    }


def _log_mel(prediction: Prediction) -> np.ndarray | None:
    """The clip's log-mel frames [t, 64], if its audio is at hand and the clip is all of it."""
    if not prediction.uri or prediction.start_s:
        return None
    from vggish_core import wavfile_to_examples

    with storage.open_unwrapped(prediction.uri) as file:
        examples = wavfile_to_examples(file)
    return examples.reshape(-1, examples.shape[-1]) if len(examples) else None
