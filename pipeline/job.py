"""Work on a corpus -> a finished output, as a sequence of committed pieces.

The in-process runner writes nothing before it has embedded everything, so a job on this machine is cut into pieces that
take about two minutes each; an engine that recovers by itself gets the whole job as one piece. Every piece is one graph
and one commit, so that at any moment all but the current piece is safe.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline import commit, engine, plan, plan_file, shards, storage
from pipeline.corpus import Work
from pipeline.layout import STATE, join
from pipeline.manifest import Manifest
from pipeline.plan_file import Item
from pipeline.settings import Job
from pipeline.types import Clip, Drop, Failure

PIECE_S = 120.0
"""How long a piece is meant to take."""
FIRST_PIECE_BYTES = 64 << 20
"""Audio in a first piece, before the speed is known: an hour of MP3, six minutes of WAV."""
GROWTH = 4.0
"""A piece is at most so many times larger than the one before."""


class JobError(Exception):
    """The job stopped before its end; what was committed before is kept."""


@dataclass
class Pace:
    """How many bytes of audio a piece holds: adapted to how fast the last one was."""

    budget_bytes: float = FIRST_PIECE_BYTES

    def learn(self, size_bytes: int, seconds: float) -> None:
        """A piece of so many bytes took so long."""
        wanted = size_bytes * PIECE_S / max(seconds, 1e-3)
        self.budget_bytes = max(1.0, min(wanted, self.budget_bytes * GROWTH))


def execute(job: Job, work: Work, on: engine.Engine, manifest: Manifest, progress_dir: str | None = None) -> None:
    """Do the work piece by piece.

    Args:
      job, work: what to do, and with which settings.
      on: where.
      manifest: of the output, which was started.
      progress_dir: where local workers leave their tallies.

    Raises:
      JobError, OutputError: if it cannot go on. Committed pieces stay.
    """
    pace = Pace()
    for piece in pieces(work, job.output.num_shards, pace, whole=not on.local):
        start = time.monotonic()
        attempt = commit.attempt_name(manifest)
        commit.commit(job.output.directory, run_piece(job, piece, on, attempt, progress_dir))
        pace.learn(sum(_clip_of(item).size_bytes for item in piece), time.monotonic() - start)


def run_piece(
    job: Job, items: Sequence[Clip | Failure | Drop], on: engine.Engine, attempt: str, progress_dir: str | None
) -> list[shards.ShardResult]:
    """Items -> the staged shards that they fall into.

    Raises:
      JobError: if the engine failed, or ended without one of the shards.
    """
    from pipeline import transforms

    clips = [item for item in items if isinstance(item, Clip)]
    elements: list[Item] = [*plan.readings(clips), *(item for item in items if not isinstance(item, Clip))]
    parts = plan_file.write(join(job.output.directory, f"{STATE}/plan/{attempt}"), elements)
    try:
        engine.run(on, lambda root: transforms.build(root, parts, job, attempt, progress_dir))
    finally:
        for part in parts:
            storage.delete(part)
    results = shards.collect(job.output.directory, attempt)
    wanted = {plan.shard_of(_clip_of(item).id, job.output.num_shards) for item in items}
    if missing := sorted(wanted - {result.entry.index for result in results}):
        raise JobError(f"the engine ended without {len(missing)} shards, {missing[0]} say. Run the same command again.")
    return results


def pieces(work: Work, num_shards: int, pace: Pace, whole: bool) -> Iterator[Sequence[Clip | Failure | Drop]]:
    """Work -> what each piece does, in the order of the output; the pace may change between pieces."""
    items: list[Clip | Failure | Drop] = [*work.clips, *work.failures, *map(Drop, work.drops)]
    items.sort(key=lambda item: plan.place_of(_clip_of(item), num_shards))
    start = 0
    while start < len(items):
        sizes = (_clip_of(items[index]).size_bytes for index in range(start, len(items)))
        count = len(items) if whole else plan.piece_length(sizes, pace.budget_bytes)
        yield items[start : start + count]
        start += count


def _clip_of(item: Clip | Failure | Drop) -> Clip:
    return item if isinstance(item, Clip) else item.clip
