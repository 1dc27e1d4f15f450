"""The command with a network that costs nothing, for tests that start and kill it many times. Not a test itself.

`python -m tests.interrupted_run LOG FLAGS` is `python -m pipeline.run FLAGS` where examples become their own values
instead of going through VGGish, each example taking some time; everything else is the pipeline as it is. What is
computed is noted in LOG, a line each: `piece N` when a piece of N clips begins, `clip ID` when a clip was embedded,
`commit` when a piece was committed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from pipeline import commit, embed, job, models, run, settings
from pipeline.types import Clip, Ending, Extracted

EXAMPLE_S = float(os.environ.get("TEST_EXAMPLE_SECONDS", "0.002"))


def values_of(examples: np.ndarray) -> np.ndarray:
    """Examples [k, 96, 64] -> uint8 [k, 128] that follow from each alone."""
    time.sleep(EXAMPLE_S * len(examples))
    halves = examples.reshape(len(examples), 128, 48).sum(axis=2)
    return np.asarray(np.clip(np.round(halves * 4 + 128), 0, 255).astype(np.uint8))


def main() -> int:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(line: str) -> None:
        os.write(log, line.encode() + b"\n")

    def resolved(model: settings.Model) -> settings.Model:
        return model

    def load(model: settings.Model, check: bool = False) -> Any:
        return values_of

    push, run_piece, commit_shards = embed.Session.push, job.run_piece, commit.commit

    def noted_push(self: embed.Session, item: Extracted) -> Any:
        if isinstance(item, Ending):
            note(f"clip {item.clip.id}")
        return push(self, item)

    def noted_piece(task: Any, items: Any, *arguments: Any) -> Any:
        note(f"piece {sum(isinstance(item, Clip) for item in items)}")
        return run_piece(task, items, *arguments)

    def noted_commit(*arguments: Any, **named: Any) -> Any:
        result = commit_shards(*arguments, **named)
        note("commit")
        return result

    models.load = load
    models.resolve_checkpoint = models.resolve_pca = resolved  # type: ignore[assignment]
    embed.Session.push = noted_push  # type: ignore[method-assign]
    job.run_piece = noted_piece
    commit.commit = noted_commit
    return run.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
