"""Classifiers fitted to clips in memory: batches with mixup, validation by mAP, early stopping, resuming. Keras 3."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline import storage
from pipeline.training import resume
from pipeline.training.classifiers import multi_label_loss
from pipeline.training.data import Clips
from pipeline.training.metrics import rank

RESUME = "resume"
ROWS_OF_A_PREDICTION = 4096
"""Frames that are scored in one call: bounds memory for long clips."""


@dataclass(frozen=True)
class Fitting:
    """How a classifier is fitted.

    Attributes:
      epochs: passes over the clips, at most; the learning rate falls to zero at their end.
      batch_size: clips a step.
      learning_rate: highest of the schedule: a linear rise during half an epoch, then half a cosine.
      mixup: parameter of the Beta distribution that pairs of clips are mixed by; 0: no mixing.
      frames: frames of a clip that a step sees; of longer clips another stretch in every epoch.
      patience: epochs without a better validation mAP after which it stops.
      seed: of everything random.
    """

    epochs: int = 16
    batch_size: int = 256
    learning_rate: float = 1e-3
    mixup: float = 1.0
    frames: int = 10
    patience: int = 8
    seed: int = 0


class MixedBatches(keras.utils.PyDataset):
    """Clips in batches, in another order and mixed with other partners in every epoch.

    Mixup (Zhang et al., ICLR 2018): with a share l ~ Beta(a, a), l times a clip and its labels plus 1 - l times
    another's. What an epoch holds depends on the seed and the epoch's number alone.
    """

    def __init__(self, clips: Clips, fitting: Fitting) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._clips = clips
        self._fitting = fitting
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Sets which epoch the batches are of."""
        self._epoch = epoch
        self._order = self.generator(-1).permutation(len(self._clips))

    def __len__(self) -> int:
        return max(1, len(self._clips) // self._fitting.batch_size)  # of the rest, others in every epoch

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
        size = self._fitting.batch_size
        generator = self.generator(index)
        positions = self._order[index * size : (index + 1) * size]
        values, mask, labels = self._cut(positions, generator)
        if self._fitting.mixup:
            others, other_mask, other_labels = self._cut(generator.permutation(positions), generator)
            share = generator.beta(self._fitting.mixup, self._fitting.mixup, len(positions)).astype(np.float32)
            values = values * share[:, None, None] + others * (1 - share)[:, None, None]
            labels = labels * share[:, None] + other_labels * (1 - share)[:, None]
            mask |= other_mask
        return (values, mask), {"members": labels}

    def _cut(self, positions: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        spare = np.maximum(self._clips.lengths[positions] - self._fitting.frames, 0)
        values, mask = self._clips.padded(positions, self._fitting.frames, generator.integers(0, spare + 1))
        return values, mask, self._clips.labels[positions].astype(np.float32)

    def generator(self, index: int) -> np.random.Generator:
        """Random numbers for batch `index` of the epoch, -1 for its order, -2 for the network."""
        return np.random.default_rng([self._fitting.seed, self._epoch, index + 2])


class Validation(keras.callbacks.Callback):
    """After every epoch: mAP on held-out clips, a line of history, a state to resume from, the end if none improves.

    Args:
      batches: called with the epoch that begins.
      held_out: clips that decide which epoch was best.
      folder: for the history and the states.
      patience: epochs without gain.
      report: takes a line after every epoch.
      history: of the epochs before.
      best: weights after the best of them.
    """

    def __init__(
        self,
        batches: MixedBatches,
        held_out: Clips,
        folder: Path,
        patience: int,
        report: Callable[[str], None],
        history: list[dict[str, Any]],
        best: Sequence[np.ndarray],
    ) -> None:
        super().__init__()
        self._batches = batches
        self._held_out = held_out
        self._folder = folder
        self._patience = patience
        self._report = report
        self.history = history
        self.best = best

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._batches.begin(epoch)
        _seed_dropout(self.model, self._batches.generator(-2))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = scores(self.model, self._held_out)
        line = {
            "epoch": epoch + 1,
            "loss": float((logs or {})["loss"]),
            "validation_mAP": rank(found, self._held_out.labels).mean_ap,
            "validation_loss": _cross_entropy(found, self._held_out.labels),
        }
        self.history = [*self.history, line]
        weights = self.model.get_weights()
        if _since_best(self.history) == 0:
            self.best = weights
        optimizer = [np.asarray(variable) for variable in self.model.optimizer.variables]
        resume.save(self._folder / RESUME, resume.State(self.history, weights, optimizer, self.best))
        _write_history(self._folder, self.history)
        self._report(f"epoch {epoch + 1}: loss {line['loss']:.3f}, validation mAP {line['validation_mAP']:.4f}")
        if _since_best(self.history) >= self._patience:
            self._report(f"no better for {_since_best(self.history)} epochs: stopping")
            self.model.stop_training = True


def _since_best(history: Sequence[dict[str, Any]]) -> int:
    """Epochs after the best one."""
    return len(history) - 1 - max(range(len(history)), key=lambda epoch: _merit(history[epoch]))


def _seed_dropout(model: keras.Model, generator: np.random.Generator) -> None:
    """Restarts dropout's random numbers: checkpoints do not hold them, and an epoch must depend on its number."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(generator.integers(0, 2**31, 2).astype(np.uint32))


def _merit(line: dict[str, Any]) -> tuple[float, float]:
    """The rank of an epoch: its mAP; among equal ones, which few held-out clips often give, the smaller loss."""
    score = line["validation_mAP"]
    return (-math.inf if math.isnan(score) else round(score, 4), -line["validation_loss"])


def _cross_entropy(found: np.ndarray, labels: np.ndarray) -> float:
    right = np.where(labels, found, 1 - found)
    return float(-np.log(np.maximum(right, 1e-6)).sum(axis=1).mean())


def fit(
    model: keras.Model,
    train: Clips,
    held_out: Clips,
    fitting: Fitting,
    folder: Path,
    report: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Fits a model in place, ending with its best weights; returns the history, one entry an epoch.

    Interrupted, the same call on the same folder continues after the last whole epoch.

    Args:
      model: of `classifiers.build`, with freshly initialised weights.
      train: clips to learn from, with at least one frame each.
      held_out: clips that decide which epoch was best.
      fitting: how.
      folder: local; `history.jsonl` and `resume/` are written there.
      report: takes a line after every epoch, and where a state to resume from is damaged.

    Raises:
      StorageError: what a training is resumed from cannot be written.
    """
    batches = MixedBatches(train, fitting)
    steps = len(batches) * fitting.epochs
    rise = min(steps - 1, len(batches) // 2 + 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - rise, alpha=0.0, warmup_target=fitting.learning_rate, warmup_steps=rise
    )
    model.compile(keras.optimizers.Adam(schedule), loss={"members": multi_label_loss}, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    history, best = _resumed(model, folder / RESUME, report)
    validation = Validation(batches, held_out, folder, fitting.patience, report, history, best)
    if not history or (len(history) < fitting.epochs and _since_best(history) < fitting.patience):
        model.fit(
            batches,
            initial_epoch=len(history),
            epochs=fitting.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[validation],
        )
    model.set_weights(validation.best)
    _write_history(folder, validation.history)
    return validation.history


def _resumed(
    model: keras.Model, folder: Path, report: Callable[[str], None]
) -> tuple[list[dict[str, Any]], Sequence[np.ndarray]]:
    """Puts a model back to where it was after the last whole epoch -> the history, and the best weights."""
    state = resume.newest(folder, report)
    if state is None:
        return [], model.get_weights()
    if not state.fits(model.weights, model.optimizer.variables):
        report(f"{folder} is of another network: starting over")
        return [], model.get_weights()
    model.set_weights(state.weights)
    for variable, value in zip(model.optimizer.variables, state.optimizer, strict=True):
        variable.assign(value)
    report(f"continuing after epoch {len(state.history)}")
    return state.history, state.best


def scores(model: keras.Model, clips: Clips) -> np.ndarray:
    """Clips -> their class probabilities float32 [n, c], from all their frames."""
    found = np.zeros((len(clips), model.output["clip"].shape[-1]), np.float32)
    order = np.argsort(clips.lengths, kind="stable")
    begin = 0
    while begin < len(order):
        # Clips of like lengths go together: little padding, and memory that a long clip does not multiply.
        end = begin + max(1, ROWS_OF_A_PREDICTION // max(1, int(clips.lengths[order[begin]])))
        positions = order[begin:end]
        while len(positions) > 1 and clips.lengths[positions[-1]] * len(positions) > 2 * ROWS_OF_A_PREDICTION:
            positions = positions[: len(positions) // 2]
        inputs = clips.padded(positions, int(clips.lengths[positions].max()))
        found[positions] = np.asarray(model.predict_on_batch(inputs)["clip"])
        begin += len(positions)
    return found


def _write_history(folder: Path, lines: list[dict[str, Any]]) -> None:
    storage.write_atomic(str(folder / resume.HISTORY), "".join(json.dumps(line) + "\n" for line in lines).encode())
