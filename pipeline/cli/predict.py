"""Audio or records -> the classes that a trained model hears, a clip and over time.

    python -m pipeline.predict --model my_model --input 'recordings/**' --output classes.csv --plots plots
    python -m pipeline.predict --model my_model --input 'embeddings/*.tfrecord' --output classes.json

Audio goes through the pipeline with the settings of the embeddings that the model was trained on. With --embeddings_dir
they are kept: interrupted, the same command continues.
"""

from __future__ import annotations

import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import storage
from pipeline.analysis.sources import are_records
from pipeline.cli import predict_audio
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.console import streams
from pipeline.cli.flags import positive_int
from pipeline.corpus.data_sets import DataSets
from pipeline.errors import FlagError
from pipeline.extras import needs
from pipeline.formatting import clips
from pipeline.output import provenance
from pipeline.output.loading.dataset import matching_files
from pipeline.output.records import read_records
from pipeline.training.predictions import Prediction, plot, predict, to_csv, to_json
from pipeline.training.saved_model import expect_trained, load, read_description


def _holds_records(pattern: str, embeddings_dir: str) -> bool:
    """Whether a pattern stands for records, by its first file that is of no data set; records if all are.

    Raises:
      RecordError: no file matches.
    """
    files = storage.match(pattern)
    if not files:
        matching_files(pattern)
    audio = DataSets(embeddings_dir).without(files, whole=False)
    return not audio or are_records(audio[0].uri)


def _predictions(flags: Namespace, directory: str) -> Iterator[Prediction]:
    """The command's flags and a folder for embeddings -> predictions, clip by clip."""
    folder = Path(storage.absolute(flags.model))
    description = read_description(folder)
    kinds = {pattern: _holds_records(pattern, flags.embeddings_dir or "") for pattern in flags.input}
    if len(set(kinds.values())) > 1:
        raise FlagError(f"--input: {' and '.join(kinds)} are audio and records", "Use one command for each")
    patterns, uris = flags.input, None
    if not kinds[flags.input[0]]:
        expect_trained(folder)
        embedded = predict_audio.embed(flags, directory, description)
        patterns, uris = [embedded.pattern], embedded.uris
    elif flags.embeddings_dir:
        raise FlagError(
            f"--embeddings_dir {flags.embeddings_dir}: --input {flags.input[0]} holds embeddings already",
            "Leave --embeddings_dir out",
        )
    else:
        for pattern in patterns:
            description.refuse_others(provenance.of(pattern, flags.incomplete), f"--input {pattern}")
    model, _ = load(folder)
    for record in read_records(*patterns, incomplete=flags.incomplete):
        if uris is not None and record.id not in uris:  # of other inputs, in a folder that is kept
            continue
        if not len(record.values):
            print(f"{record.id} has no frames: left out", file=sys.stderr)
            continue
        yield predict(model, record, description.made_by.hop_s, uris[record.id] if uris else "")


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.predict", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="folder that pipeline.train wrote")
    parser.add_argument("--input", required=True, nargs="+", metavar="PATTERN", help="audio, or TFRecord files")
    parser.add_argument("--output", metavar="FILE", help=".csv, or .json with scores over time (default: a table)")
    parser.add_argument("--plots", metavar="DIR", help="a PNG of every clip: log-mel above the scores over time")
    parser.add_argument(
        "--embeddings_dir", metavar="DIR", help="keep the audio's embeddings, and continue them (default: throw away)"
    )
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
        directory = storage.absolute(flags.embeddings_dir) if flags.embeddings_dir else f"{scratch}/embeddings"
        predictions = list(_predictions(flags, directory))
    if flags.output:
        write = to_csv if flags.output.endswith(".csv") else to_json
        storage.write_atomic(flags.output, write(predictions, description, flags.top).encode("utf-8", "replace"))
        print(f"{clips(len(predictions))}: {flags.output}")
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
    arguments = sys.argv[1:] if argv is None else argv
    keeps = any(argument.partition("=")[0] == "--embeddings_dir" for argument in arguments)
    kept = "What was finished is kept: the same command continues."
    return run_command(_main, argv, kept if keeps else "Nothing was written.")
