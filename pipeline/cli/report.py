"""An output, or record files of any origin, as a page for people: report.html, one self-contained file.

python -m pipeline.report OUTPUT                                        writes OUTPUT/report.html
python -m pipeline.report OUTPUT --model DIR                            and how well a trained model tells its classes
python -m pipeline.report --manifest none 'released/*.tfrecord'         writes ./report.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import storage
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.errors import FlagError
from pipeline.output.layout import REPORT, OutputError
from pipeline.output.matching import Incomplete
from pipeline.reporting.options import ClassScore, Options, Trained
from pipeline.reporting.report import write, write_files


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.report", __doc__)
    parser.add_argument("output", nargs="+", help="the data set's folder; with --manifest none: record files or globs")
    parser.add_argument(
        "--manifest", default="", metavar="FILE|none", help="a manifest kept elsewhere; none: files by themselves"
    )
    parser.add_argument("--class_labels", metavar="CSV", help="class_labels_indices.csv: names of the labels")
    parser.add_argument("--to", default="", metavar="FILE", help="where the report goes (default: into the output)")
    parser.add_argument(
        "--model", metavar="DIR", help="a model that pipeline.train made of these embeddings: its AP for each class"
    )
    parser.add_argument(
        "--report_audio",
        choices=("on", "off"),
        default="on",
        help="a few seconds of some clips, to be heard in the page (default: %(default)s)",
    )
    add_incomplete(parser)
    flags = parser.parse_args(argv)
    _expect_file(flags.to)
    files = flags.manifest == "none"
    if len(flags.output) > 1 and not files:
        raise OutputError(f"{len(flags.output)} folders were named", "Name one, or files with --manifest none.")
    trained = _trained(flags.model, flags.output[0], flags.incomplete) if flags.model else None
    options = Options(flags.report_audio == "on", umap=True, trained=trained)
    if files:
        print(write_files(flags.output, flags.class_labels, flags.to or REPORT, options))
        return
    print(write(flags.output[0], flags.class_labels, flags.manifest, flags.to, flags.incomplete, options))


def _expect_file(to: str) -> None:
    """Raises FlagError if a report cannot be written to a path of this machine: before anything is read for it."""
    if not to or not storage.is_local(to):
        return
    path = Path(storage.absolute(to))
    if path.is_dir():
        raise FlagError(f"--to {to} is a folder", f"Name a file: --to {path / REPORT}")
    if not path.parent.is_dir():
        raise FlagError(f"--to {to}: there is no folder {path.parent}", "Make it first, or name another file")


def _trained(model: str, embeddings: str, incomplete: Incomplete) -> Trained:
    """A model's folder -> its scores.

    Raises:
      ModelError: it is no trained model, or was trained on embeddings of another kind.
    """
    from pipeline.output import provenance
    from pipeline.training.report import read_metrics
    from pipeline.training.saved_model import expect_trained, read_description

    folder = Path(storage.absolute(model))
    description = read_description(folder)
    expect_trained(folder)
    description.refuse_others(provenance.of(embeddings, incomplete), embeddings)
    metrics = read_metrics(folder)
    patterns = description.training["patterns"]
    classes = {
        row["index"]: ClassScore(row["display_name"], row["positives"], row["AP"]) for row in metrics["per_class"]
    }
    summary = {name: metrics[name] for name in ("mAP", "AUC", "d_prime")}
    return Trained(model, patterns["train"], patterns["eval"], summary, classes)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(_main, argv)
