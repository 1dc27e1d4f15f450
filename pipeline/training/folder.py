"""A model's folder as a training finds it: new, or that of the same training, interrupted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from pipeline.training.report import METRICS, PLOT
from pipeline.training.resume import HISTORY
from pipeline.training.saved_model import DESCRIPTION, NETWORK, NETWORK_DRAFT, Description, ModelError, read_description

_WRITTEN = "|".join(map(re.escape, (DESCRIPTION, METRICS, PLOT, HISTORY)))
_DRAFT = re.compile(rf"({_WRITTEN})\.[0-9a-f]{{8}}\.tmp|{re.escape(NETWORK_DRAFT)}")
"""A file of a model's folder that was being written when its training was killed."""


def open_folder(folder: Path, description: Description, overwrite: bool) -> bool:
    """Prepares a model's folder: empty, or that of the same training, interrupted; returns whether it is the latter.

    Args:
      folder: made if it is not there.
      description: of the model to train.
      overwrite: throw away a model that is there.

    Raises:
      ModelError: the folder holds something else.
    """
    if folder.exists() and overwrite and (folder / DESCRIPTION).exists():
        shutil.rmtree(folder)
    continues = False
    if folder.exists() and any(not _DRAFT.fullmatch(path.name) for path in folder.iterdir()):
        if (folder / NETWORK).exists():
            raise ModelError(f"{folder} holds a trained model", "Name another folder, or give --overwrite")
        if not (folder / DESCRIPTION).exists():
            raise ModelError(f"{folder} holds other files", "Name a folder that is empty or not there yet")
        read_description(folder)  # raises what says so if it is none
        before = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        before["training"].pop("versions", None)  # it was stopped when all but the network was written
        if before != json.loads(description.text()):
            raise ModelError(f"{folder} holds a training of other data or flags", "Continue it, or --overwrite")
        continues = True
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if _DRAFT.fullmatch(path.name):
            path.unlink()
    description.save(folder)
    return continues
