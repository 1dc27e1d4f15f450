"""Trains a small classifier on top of VGGish, and VGGish with it if asked; saves a checkpoint that the pipeline takes.

Without --files it learns the original demo's three classes: a random sine, a random ramp ("constant") and noise. With
--files it learns the labels of a CSV with the columns path and label; paths are relative to the CSV's folder.

    python -m vggish_core.train_demo --num_batches 50 --no-train_vggish
    python -m vggish_core.train_demo --files labels.csv --output tuned
    python -m pipeline.run --checkpoint tuned/vggish_model.ckpt ...

The classifier is the original's: 100 units and one sigmoid a class over the embeddings of single examples of 0.96 s.
PCA parameters belong to a checkpoint: after --train_vggish, fit them again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vggish_core import command, params
from vggish_core.features import synthetic

NUM_UNITS = 100
SYNTHETIC_CLASSES = ("sine", "constant", "noise")
SYNTHETIC_SECONDS = 5
SYNTHETIC_SAMPLE_RATE = 44100
CHECKPOINT_NAME = "vggish_model.ckpt"
LABELS_NAME = "labels.csv"


@dataclass(frozen=True)
class Batch:
    """Examples float32 [k, 96, 64] and one-hot labels float32 [k, classes], in random order."""

    examples: np.ndarray
    labels: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status."""
    made = command.parser("train_demo", __doc__)
    made.add_argument("--num_batches", type=int, default=30, help="batches to train on (default 30)")
    made.add_argument(
        "--train_vggish",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fine-tune VGGish too (default); --no-train_vggish leaves its variables as they are",
    )
    made.add_argument("--files", help="CSV with the columns path and label; none: the three synthetic classes")
    made.add_argument("--batch_size", type=int, default=32, help="examples of a batch with --files (default 32)")
    made.add_argument("--learning_rate", type=float, default=params.LEARNING_RATE, help="of Adam (default 1e-4)")
    made.add_argument("--seed", type=int, default=0, help="of the synthetic signals and the order (default 0)")
    made.add_argument("--output", help=f"folder to save {CHECKPOINT_NAME} and {LABELS_NAME} in")
    return command.run(train_demo, made, argv)


def train_demo(args: argparse.Namespace) -> None:
    """The demo, printed on standard output.

    Raises:
      ValueError: if a flag, the files or the weights cannot be used.
    """
    if args.num_batches < 1 or args.batch_size < 1:
        raise ValueError(f"--num_batches {args.num_batches}, --batch_size {args.batch_size}: both must be 1 or more")
    random = np.random.RandomState(args.seed)
    if args.files:
        classes, everything = labelled_files(Path(command.from_home(args.files)))
        batches = shuffled_batches(everything, args.batch_size, random)
    else:
        classes = SYNTHETIC_CLASSES
        everything = synthetic_batch(random)
        batches = synthetic_batches(random)
    print(f"{len(classes)} classes: {', '.join(classes)}")
    checkpoint = command.resolve(args.checkpoint, "checkpoint")
    trainer = Trainer(checkpoint.path, len(classes), args.train_vggish, args.learning_rate, args.seed)
    for step in range(1, args.num_batches + 1):
        print(f"Step {step}: loss {trainer.train(next(batches)):.6g}")
    right = np.mean(trainer.predict(everything.examples).argmax(axis=1) == everything.labels.argmax(axis=1))
    print(f"{right:.1%} of {len(everything.examples)} {'training' if args.files else 'new'} examples classified right")
    if args.output:
        path = trainer.save(Path(command.from_home(args.output)), classes)
        print(f"Saved: use it with --checkpoint {path}")


class Trainer:
    """VGGish and a classifier over it in one session.

    Args:
      checkpoint_path: of VGGish.
      num_classes: of the classifier.
      train_vggish: whether VGGish's variables are trained too.
      learning_rate: of Adam.
      seed: of the classifier's first weights.
    """

    def __init__(
        self, checkpoint_path: str, num_classes: int, train_vggish: bool, learning_rate: float, seed: int
    ) -> None:
        from vggish_core.network.slim import define_vggish_slim, load_vggish_slim_checkpoint, tf, tf1
        from vggish_core.quiet import import_slim, without_layer_warnings

        slim = import_slim()
        with tf.Graph().as_default() as graph, without_layer_warnings():
            tf1.set_random_seed(seed)
            embeddings = define_vggish_slim(training=train_vggish)
            self._features = graph.get_tensor_by_name(params.INPUT_TENSOR_NAME)
            with tf1.variable_scope("mymodel"):
                units = slim.fully_connected(tf.nn.relu(embeddings), NUM_UNITS)
                logits = slim.fully_connected(units, num_classes, activation_fn=None, scope="logits")
                self._prediction = tf.sigmoid(logits, name="prediction")
            self._saver = tf1.train.Saver(tf1.global_variables())  # without the optimizer's variables
            with tf1.variable_scope("mymodel/train"):
                self._labels = tf1.placeholder(tf.float32, [None, num_classes], name="labels")
                entropy = tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=self._labels)
                self._loss = tf.reduce_mean(entropy, name="loss")
                optimizer = tf1.train.AdamOptimizer(learning_rate, epsilon=params.ADAM_EPSILON)
                self._step = optimizer.minimize(self._loss)
            self._session = tf1.Session(graph=graph)
            self._session.run(tf1.global_variables_initializer())
            load_vggish_slim_checkpoint(self._session, checkpoint_path)

    def train(self, batch: Batch) -> float:
        """One step on a batch -> its loss before the step."""
        feeds = {self._features: batch.examples, self._labels: batch.labels}
        loss, _ = self._session.run([self._loss, self._step], feeds)
        return float(loss)

    def predict(self, examples: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Examples float32 [k, 96, 64], k >= 1 -> a score in [0, 1] a class, float32 [k, classes]."""
        starts = range(0, len(examples), batch_size)
        parts = (examples[start : start + batch_size] for start in starts)
        return np.concatenate([self._session.run(self._prediction, {self._features: part}) for part in parts])

    def save(self, folder: Path, classes: Sequence[str]) -> Path:
        """Writes VGGish and the classifier as one checkpoint, and the classes; returns the checkpoint's path."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LABELS_NAME).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("index", "label"), *enumerate(classes)])
        path = folder / CHECKPOINT_NAME
        with self._session.graph.as_default():
            self._saver.save(self._session, str(path), write_meta_graph=False, write_state=False)
        return path

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


def synthetic_batch(random: np.random.RandomState) -> Batch:
    """Five examples of each of the original demo's classes."""
    from vggish_core.features.examples import waveform_to_examples

    time = np.arange(0, SYNTHETIC_SECONDS, 1 / SYNTHETIC_SAMPLE_RATE)
    signals = (
        synthetic.sine(SYNTHETIC_SECONDS, SYNTHETIC_SAMPLE_RATE, random.uniform(100, 1000)),
        random.uniform(-1, 1) * time,
        random.normal(-1, 1, time.shape),
    )
    return _shuffled([waveform_to_examples(signal, SYNTHETIC_SAMPLE_RATE) for signal in signals], random)


def synthetic_batches(random: np.random.RandomState) -> Iterator[Batch]:
    """Endless batches of the original demo's classes."""
    while True:
        yield synthetic_batch(random)


def labelled_files(path: Path) -> tuple[tuple[str, ...], Batch]:
    """CSV with the columns path and label -> its labels, sorted, and all examples of its files.

    Raises:
      ValueError: if the CSV lacks columns, rows or a second label, or a file cannot be read or is too short.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "label"} <= set(rows[0]):
        raise ValueError(
            f"{path} must have the columns path and label, and rows; it has {list(rows[0]) if rows else []}"
        )
    classes = tuple(sorted({row["label"] for row in rows}))
    if len(classes) < 2:
        raise ValueError(f"{path} has one label only, {classes[0]}: there is nothing to tell apart")
    examples: list[list[np.ndarray]] = [[] for _ in classes]
    for row in rows:
        examples[classes.index(row["label"])].append(command.examples_of(path.parent / row["path"]))
    return classes, _shuffled([np.concatenate(parts) for parts in examples], np.random.RandomState(0))


def shuffled_batches(everything: Batch, batch_size: int, random: np.random.RandomState) -> Iterator[Batch]:
    """All examples again and again, each time in another order; the last batch of a round may be smaller."""
    while True:
        order = random.permutation(len(everything.examples))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield Batch(everything.examples[chosen], everything.labels[chosen])


def _shuffled(by_class: list[np.ndarray], random: np.random.RandomState) -> Batch:
    labels = np.repeat(np.eye(len(by_class), dtype=np.float32), [len(part) for part in by_class], axis=0)
    order = random.permutation(len(labels))
    return Batch(np.concatenate(by_class)[order], labels[order])


if __name__ == "__main__":
    sys.exit(main())
