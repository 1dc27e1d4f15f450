"""Records -> a multi-label classifier, its metrics and a plot of them.

    python -m pipeline.train --train 'audioset/bal_train/*.tfrecord' --eval 'audioset/eval/*.tfrecord' \\
        --classes class_labels_indices.csv --model my_model

Ten of AudioSet's classes, as the original code's README suggests:
    python -m pipeline.train ... --model ten --only "Dog,Rain,Siren,Piano,Laughter,Thunder,Drill,Clapping,Toot,Purr"

Interrupted, the same command continues after the last whole epoch.
"""

from __future__ import annotations

import csv
import shutil
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import storage
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.flags import positive_float, positive_int
from pipeline.errors import FlagError
from pipeline.extras import needs
from pipeline.formatting import clips as of_clips
from pipeline.formatting import number_of
from pipeline.output import provenance
from pipeline.output.made_with import versions
from pipeline.output.provenance import Provenance
from pipeline.output.records import RecordError
from pipeline.training import advice
from pipeline.training.data import Classes, Clips, joined, load_clips, read_classes, split
from pipeline.training.folder import open_folder
from pipeline.training.metrics import Ranking, rank
from pipeline.training.report import METRICS, PLOT, write_metrics, write_plot
from pipeline.training.saved_model import Description, ModelError, save_network

if TYPE_CHECKING:
    from pipeline.training.fitting import Fitting

MAX_FRAMES = 60
"""Longer clips are trained on in stretches of so many frames, others in every epoch."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "attention": {"epochs": 16, "learning_rate": 1e-3, "mixup": 1.0},
    "logistic": {"epochs": 40, "learning_rate": 1e-2, "mixup": 0.0},
}


def train(flags: Namespace) -> Ranking:
    """The command's flags -> a model's folder; returns how well it ranks the eval records.

    Raises:
      FlagError, RecordError, SourceError, ClassesError, ModelError: what is unusable, and what to do.
    """
    began = time.monotonic()
    folder = Path(storage.absolute(flags.model))
    table = read_classes(flags.classes)
    classes = _chosen(table, flags.only)
    columns = [table.indices.index(index) for index in classes.indices]

    def loaded(patterns: Sequence[str]) -> Clips:
        parts = (load_clips(pattern, table, flags.incomplete) for pattern in patterns)
        pairs = zip(parts, patterns, strict=True)
        return joined([_usable(part.with_columns(columns), pattern) for part, pattern in pairs])

    # All that will be needed is looked at first: an epoch may take an hour.
    made = provenance.of(flags.train[0], flags.incomplete)
    _expect_alike(made, flags)
    made_eval = [provenance.of(pattern, flags.incomplete) for pattern in flags.eval]
    clips, unseen = loaded(flags.train), loaded(flags.eval)
    shared = advice.shared_ids(clips.ids, unseen.ids)
    train_positions, held_out_positions = split(clips.ids, flags.validation)
    training, held_out = clips.take(train_positions), clips.take(held_out_positions)
    del clips
    _check_labels(training, held_out, classes)
    _check_eval(unseen, " ".join(flags.eval))

    fitting = _fitting(flags, training)
    numbers = {"train": len(training), "validation": len(held_out), "eval": len(unseen)}
    sizes = {"hidden": flags.hidden} if flags.hidden else {}
    training_info = {
        "fitting": asdict(fitting),
        "sizes": sizes,
        "clips": numbers,
        "patterns": {"train": " ".join(flags.train), "eval": " ".join(flags.eval)},
    }
    description = Description(flags.classifier, classes, made, fitting.frames, training_info)
    for pattern, of_eval in zip(flags.eval, made_eval, strict=True):
        description.refuse_others(of_eval, f"--eval {pattern}")
    try:
        if open_folder(folder, description, flags.overwrite):
            print(f"continuing the training in {folder}")
    except ModelError as error:
        raise FlagError(f"--model {error.found}", error.remedy) from error
    _say(shared)
    of_classes = number_of(len(classes.indices), "class", "classes")
    print(f"{of_clips(len(training))} to train on, {len(held_out):,} held out of them, {of_classes}")

    model, history = _fit(flags.classifier, sizes, training, held_out, fitting, folder)
    del training, held_out
    from pipeline.training.fitting import scores

    ranking = rank(scores(model, unseen), unseen.labels)
    seconds = round(time.monotonic() - began, 1)
    ran = {"clips": numbers, "epochs": len(history), "seconds": seconds}
    write_metrics(folder, classes, ranking, ran)
    _say(advice.far_apart(history, ranking.mean_ap))
    replace(description, training={**training_info, "versions": versions()}).save(folder)
    save_network(model, folder)  # its presence says that the training has ended
    shutil.rmtree(folder / "resume", ignore_errors=True)
    try:
        write_plot(folder, classes, ranking)
    except Exception as error:  # the model is there: a picture less is no failure
        print(f"{PLOT} was not drawn: {error}", file=sys.stderr)
    return ranking


def _expect_alike(made: Provenance, flags: Namespace) -> None:
    """Raises RecordError unless all records of --train are of the same kind of embeddings."""
    for pattern in flags.train[1:]:
        if different := provenance.differences(made, provenance.of(pattern, flags.incomplete)):
            raise RecordError(
                f"--train: {flags.train[0]} and {pattern} were made differently: {'; '.join(different)}",
                "Give one kind: embed your audio with the weights and settings of the others",
            )


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)


def _chosen(table: Classes, only: str | None) -> Classes:
    """The table's classes, or those of `--only`."""
    if not only:
        return table
    return table.only([name.strip() for name in next(csv.reader([only], skipinitialspace=True))])


def _fit(
    classifier: str, sizes: dict[str, int], training: Clips, held_out: Clips, fitting: Fitting, folder: Path
) -> tuple[Any, list[dict[str, Any]]]:
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    import keras

    from pipeline.training import classifiers
    from pipeline.training.fitting import fit

    keras.utils.set_random_seed(fitting.seed)
    model = classifiers.build(classifier, training.labels.shape[1], **sizes)
    return model, fit(model, training, held_out, fitting, folder)


def _usable(clips: Clips, where: str) -> Clips:
    """The clips that have frames; says how many have none."""
    kept = np.flatnonzero(clips.lengths > 0)
    if len(kept) < len(clips):
        print(f"{where}: left out: {number_of(len(clips) - len(kept), 'record')} without frames", file=sys.stderr)
    return clips.take(kept) if len(kept) < len(clips) else clips


def _check_labels(training: Clips, held_out: Clips, classes: Classes) -> None:
    if not len(training):
        raise FlagError("--train: one record is not enough to train and to validate with", "Give more records")
    missing = [classes.names[c] for c in np.flatnonzero(~training.labels.any(axis=0))]
    if len(missing) == len(classes.names):
        raise FlagError("--train: no record carries a label of --classes", "Labels come from pipeline.run --manifest")
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        print(f"without a clip to learn from: {shown} ({number_of(len(missing), 'class', 'classes')})", file=sys.stderr)
    if not held_out.labels.any():
        print("no held-out clip has a label to choose the best epoch by: raise --validation", file=sys.stderr)


def _check_eval(unseen: Clips, where: str) -> None:
    if not len(unseen):
        raise FlagError(f"--eval {where}: no record has a frame", "Give records to measure with")
    if not unseen.labels.any():
        raise FlagError(f"--eval {where}: no record carries a label of --classes", "Give records that are labelled")


def _fitting(flags: Namespace, training: Clips) -> Fitting:
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    from pipeline.training.fitting import Fitting

    longest = int(training.lengths.max())
    frames = min(flags.frames or MAX_FRAMES, longest)
    if longest > frames:
        longer = int((training.lengths > frames).sum())
        print(f"longer than {frames} frames: {of_clips(longer)}; each epoch sees another segment of each")
    defaults = DEFAULTS[flags.classifier]
    chosen = {name: getattr(flags, name) for name in defaults if getattr(flags, name) is not None}
    return Fitting(
        **{**defaults, **chosen},
        batch_size=min(flags.batch_size, len(training)),
        frames=frames,
        patience=flags.patience,
        seed=flags.seed,
    )


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.train", __doc__)
    several: dict[str, Any] = {"required": True, "nargs": "+", "action": "extend", "metavar": "PATTERN"}
    parser.add_argument("--train", **several, help="data sets or TFRecord files to learn from")
    parser.add_argument("--eval", **several, help="the same, to measure with")
    parser.add_argument(
        "--classes", "--class_labels", required=True, metavar="CSV", help="index,display_name of every class; mid, too"
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="folder to write; one that is not there yet")
    parser.add_argument("--only", metavar="NAMES", help='a subset of the classes: "Dog,Rain"; quote names with commas')
    parser.add_argument("--classifier", choices=sorted(DEFAULTS), default="attention", help="default: %(default)s")
    parser.add_argument("--hidden", type=positive_int, help="units of the attention network (default: 1024)")
    parser.add_argument("--epochs", type=positive_int, help="default: 16, logistic 40")
    parser.add_argument("--batch_size", type=positive_int, default=256, help="default: %(default)s")
    parser.add_argument("--learning_rate", type=positive_float, help="default: 0.001, logistic 0.01")
    parser.add_argument("--mixup", type=_not_negative, help="of clips, Beta(a, a); 0: none (default: 1, logistic 0)")
    parser.add_argument("--frames", type=positive_int, help="of a clip in a step (default: the longest's, up to 60)")
    parser.add_argument("--validation", type=_share, default=0.05, help="share held out (default: %(default)s)")
    parser.add_argument("--patience", type=positive_int, default=8, help="epochs without gain (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in --model")
    add_incomplete(parser)
    return parser


def _not_negative(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else positive_float(text)


def _share(text: str) -> float:
    value = positive_float(text)
    if value >= 1:
        raise ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return value


def _main(argv: Sequence[str]) -> None:
    flags = _parser().parse_args(argv)
    needs("train", "keras", "matplotlib", for_="pipeline.train")
    if flags.hidden and flags.classifier != "attention":
        raise FlagError(f"--hidden {flags.hidden}: --classifier {flags.classifier} has no hidden units", "Leave it out")
    ranking = train(flags)
    summary = ranking.summary()
    print(f"mAP {summary['mAP']:.4f}, AUC {summary['AUC']:.4f}, d' {summary['d_prime']:.3f}")
    if summary["classes_without_positives"]:
        without = number_of(summary["classes_without_positives"], "class", "classes")
        print(f"{without} without an eval record, left out of the means")
    print(f"{flags.model}: {METRICS}, {PLOT}; python -m pipeline.predict --model {flags.model} --input ...")
    print(f"beside the labels of a data set: python -m pipeline.report OUTPUT --model {flags.model}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv, "The same command continues after the last whole epoch.")
