"""Audio or records -> the classes that a trained model hears, a clip and over time.

    python -m pipeline.predict --model my_model --input 'recordings/**' --output classes.csv --plots plots
    python -m pipeline.predict --model my_model --input 'embeddings/*.tfrecord' --output classes.json

Audio goes through the pipeline with the settings of the embeddings that the model was trained on.
"""

from __future__ import annotations

import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import storage
from pipeline.analysis import audio
from pipeline.analysis.sources import are_records
from pipeline.cli import streams
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.flags import positive_int
from pipeline.errors import FlagError
from pipeline.extras import needs
from pipeline.output import ledger, provenance
from pipeline.output.dataset import matching_files
from pipeline.output.records import read_records
from pipeline.training.predictions import Prediction, plot, predict, to_csv, to_json
from pipeline.training.saved_model import Description, ModelError, load, read_description


def embed(patterns: Sequence[str], output: str, description: Description, flags: Namespace) -> None:
    """Audio -> records in `output`, by the pipeline, with the settings that the model's embeddings were made with.

    Clips that could not be embedded are named on standard error.

    Raises:
      UserError: the audio, or the weights, cannot be used.
    """
    from pipeline.cli.progress import ProgressLine

    made_by = description.made_by
    model = audio.model_of(made_by, flags.checkpoint, flags.pca_params)
    with ProgressLine(flags.progress) as line:
        tell = None if line.off else line.show
        failures = audio.embed(patterns, output, model, made_by.hop_s, flags.short_clips, tell)
    for failure in failures:
        print(f"{failure['uri']}: {failure['reason']}: {failure['message']}", file=sys.stderr)


def _predictions(flags: Namespace, directory: str) -> Iterator[Prediction]:
    """The command's flags and a scratch directory -> predictions, clip by clip."""
    description = read_description(Path(storage.absolute(flags.model)))
    kinds = {pattern: are_records(matching_files(pattern, flags.incomplete)[0]) for pattern in flags.input}
    if len(set(kinds.values())) > 1:
        raise FlagError(f"--input: {' and '.join(kinds)} are audio and records", "Use one command for each")
    patterns, uris = flags.input, {}
    if not kinds[flags.input[0]]:
        embed(flags.input, directory, description, flags)
        patterns = [f"{directory}/*.tfrecord"]
        shard = matching_files(f"{directory}/_state/ledger-*")
        uris = {entry.id: entry.uri for uri in shard for entry in ledger.read(uri)}
    for pattern in patterns:
        some = any(read_records(pattern, incomplete=flags.incomplete))
        made = provenance.of(pattern, flags.incomplete) if some else None
        if made is None:
            raise ModelError(f"{pattern}: no clip could be embedded; see the failures above")
        description.refuse_others(made, f"--input {pattern}")
    model, _ = load(Path(storage.absolute(flags.model)))
    for record in read_records(*patterns, incomplete=flags.incomplete):
        if not len(record.values):
            print(f"{record.id} has no frames: left out", file=sys.stderr)
            continue
        yield predict(model, record, description.made_by.hop_s, uris.get(record.id, ""))


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.predict", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="folder that pipeline.train wrote")
    parser.add_argument("--input", required=True, nargs="+", metavar="PATTERN", help="audio, or TFRecord files")
    parser.add_argument("--output", metavar="FILE", help=".csv, or .json with scores over time (default: a table)")
    parser.add_argument("--plots", metavar="DIR", help="a PNG of every clip: log-mel above the scores over time")
    parser.add_argument("--top", type=positive_int, default=5, help="classes per clip (default: %(default)s)")
    parser.add_argument("--checkpoint", metavar="NAME|FILE", help="for audio; default: the one the model knows by name")
    parser.add_argument("--pca_params", metavar="NAME|FILE", help="the same")
    parser.add_argument("--short_clips", choices=("skip", "pad", "fail"), default="pad", help="default: %(default)s")
    parser.add_argument("--progress", choices=("auto", "on", "off"), default="auto", help="default: %(default)s")
    add_incomplete(parser)
    return parser


def _main(argv: Sequence[str]) -> None:
    flags = _parser().parse_args(argv)
    needs("train", "keras", for_="pipeline.predict")
    if flags.plots:
        needs("train", "matplotlib", for_="--plots")
    if flags.output and not flags.output.endswith((".csv", ".json")):
        raise FlagError(f"--output {flags.output} does not end in .csv or .json", "The name decides the format")
    description = read_description(Path(storage.absolute(flags.model)))
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
        streams.expect_printed()
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
