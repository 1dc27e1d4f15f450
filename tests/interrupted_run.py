"""The command with a network that costs nothing, for tests that run it many times, and kill it. Not a test itself.

`python -m tests.interrupted_run LOG FLAGS` is `python -m pipeline.run FLAGS` where examples become their own values
instead of going through VGGish, and pieces keep their first size however busy the machine is; everything else is the
pipeline as it is. LOG gets a line for what happens: `start`, `piece N` when a piece of N clips begins, `clip ID` when a
clip has been decoded, `commit` when a piece was committed; with TEST_NOTE_BATCHES set also `rows N` when N examples
were embedded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline import run
from pipeline.embedding import embed, models
from pipeline.output import commit, partial_rows, task_state
from pipeline.running import job
from pipeline.types import Clip, Extracted, SegmentEnd

FLAGS = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", "--report", "off"]
"""Of every such run; where the weights would be is not looked at."""


def values_of(examples: np.ndarray) -> np.ndarray:
    """Examples [k, 96, 64] -> uint8 [k, 128] that follow from each alone; TEST_EXAMPLE_SECONDS is what one takes."""
    time.sleep(float(os.environ.get("TEST_EXAMPLE_SECONDS", "0")) * len(examples))
    halves = examples.reshape(len(examples), 128, 48).sum(axis=2)
    return np.asarray(np.clip(np.round(halves * 4 + 128), 0, 255).astype(np.uint8))


def replacements(note: Callable[[str], None]) -> list[tuple[object, str, Any]]:
    """Replacements in the pipeline: (owner, name, value)."""
    push, run_piece, commit_shards = embed.EmbeddingStream.push, job.run_piece, commit.commit
    hold = task_state.hold

    def noted_push(self: embed.EmbeddingStream, item: Extracted) -> Any:
        if isinstance(item, SegmentEnd):
            note(f"clip {item.clip.id}")
        return push(self, item)

    def noted_values(examples: np.ndarray) -> np.ndarray:
        values = values_of(examples)
        note(f"rows {len(examples)}")
        return values

    def noted_piece(task: Any, items: Any, *arguments: Any) -> Any:
        note(f"piece {sum(isinstance(item, Clip) for item in items)}")
        return run_piece(task, items, *arguments)

    def noted_commit(*arguments: Any, **named: Any) -> Any:
        result = commit_shards(*arguments, **named)
        note("commit")
        return result

    def noted_hold(directory: str, results: Any, finished: Any, made_with: Any) -> None:
        hold(directory, results, finished, made_with)
        if results:
            note("commit")

    network = noted_values if "TEST_NOTE_BATCHES" in os.environ else values_of
    return [
        (task_state, "hold", noted_hold),
        (models, "load", lambda model, check=False: models.finished(network)),
        (models, "resolve_checkpoint", lambda model: model),
        (models, "resolve_pca", lambda model: model),
        (embed.EmbeddingStream, "push", noted_push),
        (job, "run_piece", noted_piece),
        (commit, "commit", noted_commit),
        (partial_rows, "ROWS_OF_A_PART", int(os.environ.get("TEST_ROWS_OF_A_PART", partial_rows.ROWS_OF_A_PART))),
        (job.Pace, "learn", lambda self, cost_bytes, seconds: None),
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
