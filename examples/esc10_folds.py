"""ESC-10 from audio to classifiers: embed five folds, train on four, predict the fifth, five times over.

    python -m examples.esc10_folds ESC-10 esc10 --checkpoint released --pca_params released

ESC-10 (https://github.com/karoldvl/ESC-10) is 400 clips of 5 s in ten folders, one a class; the first character of a
file's name is its fold. Every step is a command of this package, printed before it runs. With the stand-in weights the
accuracy shows that all of it works together, and says nothing about VGGish.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline import predict, run, train
from vggish_core.weights import standin

FOLDS = (1, 2, 3, 4, 5)


def clips_of(corpus: Path) -> dict[Path, str]:
    """The folder of ESC-10 -> its files and their classes: "001 - Dog bark/1-100032-A.ogg" is a dog's."""
    files = sorted(corpus.glob("0* - */*.ogg"))
    if not files:
        raise SystemExit(f"{corpus} holds no folders of the form '001 - Dog bark' with .ogg files: is it ESC-10?")
    return {file: file.parent.name.partition(" - ")[2] for file in files}


def write_lists(folder: Path, classes: dict[Path, str]) -> list[str]:
    """Writes `classes.csv`, and for each fold a manifest of its clips with labels; returns the names of the classes."""
    names = sorted(set(classes.values()))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("index", "display_name"), *enumerate(names)])
    for fold in FOLDS:
        rows = [
            (path.resolve(), path.stem, names.index(name)) for path, name in classes.items() if fold_of(path) == fold
        ]
        with (folder / f"fold-{fold}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("uri", "id", "labels"), *rows])
    return names


def fold_of(path: Path) -> int:
    """A file -> its fold."""
    return int(path.name[0])


def accuracy(predictions: Path, truth: dict[str, str]) -> float:
    """The file that `pipeline.predict` wrote, and the classes by id -> the share of clips whose best class is right."""
    clips = json.loads(predictions.read_text(encoding="utf-8"))
    return sum(clip["classes"][0]["display_name"] == truth[clip["id"]] for clip in clips) / len(clips)


def command(main: Callable[[Sequence[str]], int], module: str, *arguments: str | Path) -> None:
    """Prints a command and runs it in this process; its status other than 0 ends the script."""
    print(f"\n$ python -m {module} {shlex.join(map(str, arguments))}", flush=True)
    if status := main([str(argument) for argument in arguments]):
        sys.exit(status)


def cross_validate(corpus: Path, output: Path, weights: Sequence[str], epochs: int) -> dict[int, float]:
    """ESC-10 -> for each fold, the accuracy of a classifier that was trained on the others.

    Args:
      corpus: the folder of ESC-10.
      output: a folder for lists, records, models and predictions.
      weights: flags of `pipeline.run` that name the weights.
      epochs: of each training.
    """
    classes = clips_of(corpus)
    write_lists(output, classes)
    for fold in FOLDS:
        flags = ["--manifest", output / f"fold-{fold}.csv", "--output", output / f"fold-{fold}", "--progress", "off"]
        command(run.main, "pipeline.run", *flags, "--runner", "DirectRunner", *weights)
    found = {}
    for fold in FOLDS:
        others = "".join(str(other) for other in FOLDS if other != fold)
        records = output / f"fold-{fold}" / "*.tfrecord"
        model, predictions = output / f"model-{fold}", output / f"predictions-{fold}.json"
        data = ["--train", output / f"fold-[{others}]" / "*.tfrecord", "--eval", records]
        fitting = ["--batch_size", "32", "--validation", "0.1", "--epochs", str(epochs), "--overwrite"]
        command(train.main, "pipeline.train", *data, "--classes", output / "classes.csv", "--model", model, *fitting)
        command(predict.main, "pipeline.predict", "--model", model, "--input", records, "--output", predictions)
        found[fold] = accuracy(predictions, {path.stem: name for path, name in classes.items()})
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="the folder of ESC-10")
    parser.add_argument("output", type=Path, help="a folder for records, models and predictions")
    parser.add_argument("--checkpoint", default="released")
    parser.add_argument("--pca_params", default="released")
    parser.add_argument("--epochs", type=int, default=30)
    flags = parser.parse_args()
    weights = ["--checkpoint", flags.checkpoint, "--pca_params", flags.pca_params]
    found = cross_validate(flags.corpus, flags.output, weights, flags.epochs)
    print("\naccuracy on the fold that was held out (chance: 10 %)")
    for fold, share in found.items():
        print(f"  fold {fold}: {share:.1%}")
    print(f"  mean:   {sum(found.values()) / len(found):.1%}")
    if standin.NAME in weights:
        print("with stand-in weights, random numbers: this shows that the steps work together, not what VGGish hears")


if __name__ == "__main__":
    main()
