"""Multi-label classifiers of clips, on sequences of VGGish embeddings. Keras 3: imported only to build one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

WIDTH = 128
RARE = -4.5
"""Logit that the scores start from: of 527 classes, a clip carries about one in 200."""


def logistic(num_classes: int) -> keras.Model:
    """Logistic regression on the mean of a clip's embeddings: the baseline. Inputs and outputs as `build`."""
    embeddings, mask, present = _inputs()
    score = layers.Dense(num_classes, activation="sigmoid", bias_initializer=keras.initializers.Constant(RARE))
    clip = score(ops.sum(embeddings * present, axis=1) / ops.sum(present, axis=1))
    return _model("logistic", [embeddings, mask], [clip], score(embeddings))


def attention(num_classes: int, hidden: int = 1024, dropout: float = 0.5) -> keras.Model:
    """Two networks whose probabilities are averaged; they err differently. Inputs and outputs as `build`.

    One attends: every frame is scored, and a clip's probability is the mean of its frames' under weights that are a
    softmax over time, class by class (Kong et al., "Audio Set classification with attention model: a probabilistic
    perspective", ICASSP 2018). The other looks at each embedding value's mean, deviation, largest and smallest over
    the clip, and so at its course as a whole.

    Args:
      num_classes: c.
      hidden: units of the two layers on every frame; the two layers on the statistics have twice as many.
      dropout: share of units left out in training.
    """
    embeddings, mask, present = _inputs()
    hearing = _dense(_dense(_normalized(embeddings), hidden, dropout), hidden, dropout)
    frames = _scores(hearing, num_classes)
    absent = (present - 1) * 1e9
    weights = ops.softmax(layers.Dense(num_classes)(hearing) + absent, axis=1)
    attended = ops.sum(weights * frames, axis=1)

    mean = ops.sum(embeddings * present, axis=1) / ops.sum(present, axis=1)
    squares = ops.square(embeddings - mean[:, None]) * present
    deviation = ops.sqrt(ops.sum(squares, axis=1) / ops.sum(present, axis=1) + 1e-3)
    extremes = [ops.max(embeddings + absent, axis=1), ops.min(embeddings - absent, axis=1)]
    statistics = _normalized(ops.concatenate([mean, deviation, *extremes], axis=-1))
    summarised = _scores(_dense(_dense(statistics, 2 * hidden, dropout), 2 * hidden, dropout), num_classes)
    return _model("attention", [embeddings, mask], [attended, summarised], frames)


CLASSIFIERS: dict[str, Callable[..., keras.Model]] = {"attention": attention, "logistic": logistic}


def build(name: str, num_classes: int, **sizes: int) -> keras.Model:
    """A name and a number of classes c -> a model that is not yet trained.

    Its inputs are embeddings float32 [b, t, 128] and a mask bool [b, t], True where there is a frame (one a clip at
    least). Its outputs are probabilities of the classes: "clip" float32 [b, c], the mean of "members" [b, m, c], each
    of which is trained for itself, and "frames" [b, t, c].

    Args:
      name: one of `CLASSIFIERS`.
      num_classes: c.
      sizes: `hidden`, of "attention".
    """
    return CLASSIFIERS[name](num_classes, **sizes)


def multi_label_loss(labels: Any, members: Any) -> Any:
    """Labels in [0, 1] [b, c] and probabilities [b, m, c] -> the binary cross-entropies, summed over m and c [b]."""
    scores = ops.clip(members, 1e-6, 1 - 1e-6)
    labels = ops.expand_dims(labels, 1)
    return -ops.sum(labels * ops.log(scores) + (1 - labels) * ops.log(1 - scores), axis=(1, 2))


def _inputs() -> tuple[Any, Any, Any]:
    """-> (embeddings, mask, the mask as float32 [b, t, 1])."""
    embeddings = keras.Input((None, WIDTH), name="embeddings")
    mask = keras.Input((None,), dtype="bool", name="mask")
    return embeddings, mask, ops.expand_dims(ops.cast(mask, "float32"), -1)


def _normalized(values: Any) -> Any:
    return layers.BatchNormalization(momentum=0.98)(values)


def _dense(values: Any, units: int, dropout: float) -> Any:
    hidden = _normalized(layers.Dense(units, use_bias=False)(values))
    return layers.Dropout(dropout)(layers.Activation("relu")(hidden))


def _scores(values: Any, num_classes: int) -> Any:
    rare = keras.initializers.Constant(RARE)
    return layers.Dense(num_classes, activation="sigmoid", bias_initializer=rare)(values)


def _model(name: str, inputs: list[Any], members: list[Any], frames: Any) -> keras.Model:
    stacked = ops.stack(members, axis=1)
    return keras.Model(inputs, {"clip": ops.mean(stacked, axis=1), "members": stacked, "frames": frames}, name=name)
