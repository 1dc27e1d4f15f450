"""Audio or records -> the classes that a trained model hears, a clip and over time.

    python -m pipeline.predict --model my_model --input 'recordings/**' --output classes.csv --plots plots
    python -m pipeline.predict --model my_model --input 'embeddings/*.tfrecord' --output classes.json

Audio goes through the pipeline with the settings of the embeddings that the model was trained on.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import ledger, provenance, storage
from pipeline.command import Parser, run_command
from pipeline.dataset import frame_starts, matching_files
from pipeline.flags import FlagError, positive_int
from pipeline.layout import FAILURES
from pipeline.records import Record, RecordError, read_records
from pipeline.saved_model import Description, ModelError, load, read_description
from pipeline.tfrecord import read_tfrecord
from vggish_core import standin

if TYPE_CHECKING:
    import keras

FRAMES_OF_A_CALL = 8192
"""Frames of a clip that are scored in one call; longer clips are scored in parts, weighed by their lengths."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model hears in a clip.

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
    from pipeline.dataset import dequantize

    values = dequantize(record.values) if record.values.dtype == np.uint8 else record.values
    parts = np.array_split(values, -(-len(values) // FRAMES_OF_A_CALL))
    called = [model.predict_on_batch([part[np.newaxis], np.ones((1, len(part)), bool)]) for part in parts]
    clip = np.average([found["clip"][0] for found in called], axis=0, weights=[len(part) for part in parts])
    over_time = np.concatenate([found["frames"][0] for found in called])
    times = frame_starts(len(values), record.start_s or 0.0, hop_s)
    return Prediction(record.id, uri, record.start_s, record.end_s, times, clip.astype(np.float32), over_time)


def embed(patterns: Sequence[str], output: str, description: Description, flags: Namespace) -> None:
    """Audio -> records in `output`, by the pipeline, with the settings that the model's embeddings were made with.

    Clips that could not be embedded are named on standard error.

    Raises:
      FlagError: the pipeline ended without embeddings; it has said why.
    """
    from pipeline import run

    made_by = description.made_by
    arguments = ["--output", output, "--num_shards", "1", "--progress", flags.progress]
    for pattern in patterns:
        arguments += ["--input", pattern]
    for kind in ("checkpoint", "pca_params"):
        known = made_by.models.get(kind, {}).get("name", "released")
        arguments += [f"--{kind}", getattr(flags, kind) or ("standin" if known == standin.NAME else known)]
    for name in ("hop_seconds", "precision", "embeddings"):
        arguments += [f"--{name}", str(made_by.settings[name])]
    with contextlib.redirect_stdout(io.StringIO()):  # its summary speaks of files that are about to go
        status = run.main([*arguments, "--max_failures", "100%", "--short_clips", flags.short_clips])
    if status:
        raise FlagError("the audio was not embedded", "The lines above say why")
    with storage.open_read(f"{output}/{FAILURES}") as file:
        for failure in map(json.loads, file):
            print(f"{failure['uri']}: {failure['reason']}: {failure['message']}", file=sys.stderr)


def are_records(uri: str) -> bool:
    """Whether a file is a TFRecord file, by its first frame."""
    try:
        with storage.open_read(uri) as file:
            return next(read_tfrecord(file, uri), None) is not None
    except (RecordError, OSError):
        return False


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
        rows[0].set(ylabel="mel band", title=prediction.id)
    scores = rows[-1].imshow(
        prediction.over_time[:, chosen].T,
        aspect="auto",
        extent=(begin, end, len(chosen) - 0.5, -0.5),
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    names = [f"{description.classes.names[c]} ({prediction.scores[c]:.2f})" for c in chosen]
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


def _predictions(flags: Namespace, directory: str) -> Iterator[Prediction]:
    """The command's flags and a scratch directory -> predictions, clip by clip."""
    description = read_description(Path(flags.model))
    kinds = {pattern: are_records(matching_files(pattern)[0]) for pattern in flags.input}
    if len(set(kinds.values())) > 1:
        raise FlagError(f"--input: {' and '.join(kinds)} are audio and records", "Give them to commands of their own")
    patterns, uris = flags.input, {}
    if not kinds[flags.input[0]]:
        embed(flags.input, directory, description, flags)
        patterns = [f"{directory}/*.tfrecord"]
        shard = matching_files(f"{directory}/_state/ledger-*")
        uris = {entry.id: entry.uri for uri in shard for entry in ledger.read(uri)}
    for pattern in patterns:
        made = provenance.of(pattern) if any(read_records(pattern)) else None
        if made is None:
            raise ModelError(f"{pattern}: no clip could be embedded; see the failures above")
        description.refuse_others(made, f"--input {pattern}")
    model, _ = load(Path(flags.model))
    for record in read_records(*patterns):
        if not len(record.values):
            print(f"{record.id} has no frames: left out", file=sys.stderr)
            continue
        yield predict(model, record, description.made_by.hop_s, uris.get(record.id, ""))


def _parser() -> Parser:
    parser = Parser("pipeline.predict", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="folder that pipeline.train wrote")
    parser.add_argument("--input", required=True, nargs="+", metavar="PATTERN", help="audio, or TFRecord files")
    parser.add_argument("--output", metavar="FILE", help=".csv, or .json with scores over time (default: a table)")
    parser.add_argument("--plots", metavar="DIR", help="a PNG of every clip: log-mel above the scores over time")
    parser.add_argument("--top", type=positive_int, default=5, help="classes a clip (default: %(default)s)")
    parser.add_argument("--checkpoint", metavar="NAME|FILE", help="for audio; default: the one the model knows by name")
    parser.add_argument("--pca_params", metavar="NAME|FILE", help="likewise")
    parser.add_argument("--short_clips", choices=("skip", "pad", "fail"), default="pad", help="default: %(default)s")
    parser.add_argument("--progress", choices=("auto", "on", "off"), default="auto", help="default: %(default)s")
    return parser


def _main(argv: Sequence[str]) -> None:
    flags = _parser().parse_args(argv)
    if flags.output and not flags.output.endswith((".csv", ".json")):
        raise FlagError(f"--output {flags.output} does not end in .csv or .json", "The name decides the format")
    description = read_description(Path(flags.model))
    with tempfile.TemporaryDirectory(prefix="vggish-predict-") as scratch:
        predictions = list(_predictions(flags, f"{scratch}/embeddings"))
    if flags.output:
        write = to_csv if flags.output.endswith(".csv") else to_json
        storage.write_atomic(flags.output, write(predictions, description, flags.top).encode("utf-8", "replace"))
        print(f"{len(predictions):,} clips: {flags.output}")
    else:
        for each in predictions:
            print(each.id)
            for c in each.top(flags.top):
                print(f"  {each.scores[c]:.3f}  {description.classes.names[c]}")
    if flags.plots:
        storage.mkdirs(flags.plots)
        for number, each in enumerate(predictions):
            name = f"{number:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', each.id)[-80:]}.png"
            png = plot(each, description, flags.top, description.made_by.hop_s)
            storage.write_atomic(storage.join(flags.plots, name), png)
        print(f"{len(predictions):,} plots: {flags.plots}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
