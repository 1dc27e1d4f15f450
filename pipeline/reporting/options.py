"""What a report shows beyond its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassScore:
    """How well a model tells a class from the others.

    Attributes:
      name: of the class.
      positives: clips with it that the model was measured on.
      ap: average precision; None without such clips.
    """

    name: str
    positives: int
    ap: float | None


@dataclass(frozen=True)
class Trained:
    """A model that was trained on embeddings like these.

    Attributes:
      name: its folder.
      train, eval: what it was trained on, and measured on, as given.
      summary: mAP, AUC and d_prime of all classes; None where there is none.
      classes: class index -> its score.
    """

    name: str
    train: str
    eval: str
    summary: Mapping[str, float | None]
    classes: Mapping[int, ClassScore]


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
      audio: excerpts of some clips, to be heard.
      umap: a second map, where umap-learn is installed; it takes a minute.
      trained: a model that was trained on these embeddings.
    """

    audio: bool = True
    umap: bool = False
    trained: Trained | None = None


DEFAULTS = Options()
