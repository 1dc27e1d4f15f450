"""The command with a network that costs nothing, for tests that run it many times, and kill it. Not a test itself.

`python -m tests.interrupted_run LOG FLAGS` is `python -m pipeline.run FLAGS` where examples become their own values
instead of going through VGGish; everything else is the pipeline as it is. LOG gets a line for what happens: `start`,
`clip ID` when a clip has been decoded, `keeping ID` and `kept ID` before and after the last of it is written to a row
file, `commit` when shards were committed;
with TEST_NOTE_BATCHES set also `rows N` when N examples were embedded. TEST_ROWS_SECONDS is the time from one row file
to the next, TEST_BATCH the number of examples in a call of the network.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline import run
from pipeline.embedding import embed, models
from pipeline.output import commit
from pipeline.output.journal import rows, writer
from pipeline.settings import Model
from pipeline.types import Extracted, SegmentEnd

FLAGS = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", "--report", "off"]
"""Of every such run; where the weights would be is not looked at."""


def values_of(examples: np.ndarray) -> np.ndarray:
    """Examples [k, 96, 64] -> uint8 [k, 128] that follow from each alone; TEST_EXAMPLE_SECONDS is what one takes."""
    time.sleep(float(os.environ.get("TEST_EXAMPLE_SECONDS", "0")) * len(examples))
    halves = examples.reshape(len(examples), 128, 48).sum(axis=2)
    return np.asarray(np.clip(np.round(halves * 4 + 128), 0, 255).astype(np.uint8))


def replacements(note: Callable[[str], None]) -> list[tuple[object, str, Any]]:
    """Replacements in the pipeline: (owner, name, value)."""
    push, write, commit_shards = embed.EmbeddingStream.push, rows.write, commit.commit
    shared_worker, missing = embed.shared_worker, Counter[str]()

    def noted_push(self: embed.EmbeddingStream, item: Extracted) -> Any:
        if isinstance(item, SegmentEnd):
            note(f"clip {item.clip.id}")
        return push(self, item)

    def noted_values(examples: np.ndarray) -> np.ndarray:
        values = values_of(examples)
        note(f"rows {len(examples)}")
        return values

    def noted_write(directory: str, fingerprint: str, num_shards: int, clips: Any, made_with: Any) -> Any:
        found = list(clips)
        for item in found:
            ended = [end.examples for end in item.endings]
            missing[item.clip.id] += sum(ended) - sum(len(piece.values) for piece in item.embeddings)
        whole = [item.clip.id for item in found if not missing[item.clip.id]]
        for clip in whole:
            note(f"keeping {clip}")
        result = write(directory, fingerprint, num_shards, found, made_with)
        for clip in whole:
            note(f"kept {clip}")
        return result

    def small_batches(model: Model, check: bool = False) -> embed.Worker:
        size = int(os.environ.get("TEST_BATCH", model.batch_size))
        return shared_worker(replace(model, batch_size=size), check)

    def noted_commit(*arguments: Any, **named: Any) -> Any:
        result = commit_shards(*arguments, **named)
        note("commit")
        return result

    network = noted_values if "TEST_NOTE_BATCHES" in os.environ else values_of
    return [
        (models, "load", lambda model, check=False: models.finished(network)),
        (models, "resolve_checkpoint", lambda model: model),
        (models, "resolve_pca", lambda model: model),
        (embed.EmbeddingStream, "push", noted_push),
        (embed, "shared_worker", small_batches),
        (rows, "write", noted_write),
        (commit, "commit", noted_commit),
        (writer, "FIRST_S", float(os.environ.get("TEST_ROWS_SECONDS", writer.FIRST_S))),
    ]


def main() -> int:
    """The command; its first argument is the log."""
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(line: str) -> None:
        os.write(log, line.encode() + b"\n")

    note("start")
    for owner, name, value in replacements(note):
        setattr(owner, name, value)
    return run.main([*FLAGS, *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
