"""A trained classifier's folder: the network, its classes, what made the embeddings it was trained on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import UserError
from pipeline.output import provenance
from pipeline.output.provenance import Provenance
from pipeline.training.data import Classes

if TYPE_CHECKING:
    import keras

DESCRIPTION = "model.json"
NETWORK = "model.keras"
NETWORK_DRAFT = f"{NETWORK}.tmp.keras"
"""Keras goes by the end of a file's name."""
FORMAT_VERSION = 1


class ModelError(UserError):
    """A model's folder cannot be used, or not for these embeddings: what was found, and what to do."""


@dataclass(frozen=True)
class Description:
    """The description of a model.

    Attributes:
      classifier: name of the network (`classifiers.CLASSIFIERS`).
      classes: in the order of its outputs.
      made_by: what made the embeddings that it was trained on.
      frames: frames of a clip that it saw in a step of training.
      training: flags, numbers of clips, versions; for people.
    """

    classifier: str
    classes: Classes
    made_by: Provenance
    frames: int
    training: dict[str, Any]

    def refuse_others(self, made: Provenance, where: str) -> None:
        """Raises `ModelError`, naming each difference, if embeddings were made otherwise than those trained on."""
        if different := provenance.differences(self.made_by, made):
            raise ModelError(
                f"{where}: the model was trained on other embeddings: {'; '.join(different)}. "
                "Make embeddings with the model's settings, or train a model on these."
            )

    def text(self) -> str:
        """The content of `model.json`."""
        content = {
            "format_version": FORMAT_VERSION,
            "classifier": self.classifier,
            "classes": [
                {"index": index, "mid": mid, "display_name": name}
                for index, mid, name in zip(self.classes.indices, self.classes.mids, self.classes.names, strict=True)
            ],
            "embeddings_made_by": self.made_by.to_json(),
            "frames": self.frames,
            "training": self.training,
        }
        return json.dumps(content, indent=2) + "\n"

    def save(self, folder: Path) -> None:
        """Writes `model.json`, whole or not at all."""
        storage.write_atomic(str(folder / DESCRIPTION), self.text().encode())


def read_description(folder: Path) -> Description:
    """A model's folder -> what the model is; ModelError where it is none."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"{folder} has no {DESCRIPTION}. Name the folder that pipeline.train wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"{path} has format version {content['format_version']}, not {FORMAT_VERSION}. Train again"
            )
        rows = content["classes"]
        classes = Classes(
            tuple(row["index"] for row in rows),
            tuple(row["display_name"] for row in rows),
            tuple(row["mid"] for row in rows),
        )
        made_by = provenance.from_json(content["embeddings_made_by"])
        return Description(content["classifier"], classes, made_by, content["frames"], content["training"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not the description of a model ({error!r}). Train again") from None


def save_network(model: keras.Model, folder: Path) -> None:
    """Writes `model.keras`, whole or not at all.

    Raises:
      OSError: there is no space, say.
    """
    draft = folder / NETWORK_DRAFT
    try:
        model.save(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        storage.rename(str(draft), str(folder / NETWORK))
    finally:
        draft.unlink(missing_ok=True)


def expect_trained(folder: Path) -> None:
    """Raises ModelError where a model's folder holds no network."""
    if not (folder / NETWORK).is_file():
        raise ModelError(f"{folder} has no {NETWORK}: its training did not end. Run the same pipeline.train again")


def load(folder: Path) -> tuple[keras.Model, Description]:
    """A model's folder -> (the trained network, what it is).

    Raises:
      ModelError: there is no finished model.
    """
    description = read_description(folder)
    expect_trained(folder)
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    import keras

    return keras.models.load_model(folder / NETWORK, compile=False), description
