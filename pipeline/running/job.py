"""Work on a corpus -> a finished output, as a sequence of committed pieces.

The in-process runner writes nothing before it has embedded everything, so a job on this machine is cut into pieces that
take about two minutes each (`--piece_seconds`); an engine that recovers by itself gets the whole job as one piece.
Every piece is one graph and one commit, so that at any moment all but the current piece is safe.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pipeline import storage
from pipeline.corpus import plan, plan_file
from pipeline.decoding import decoders
from pipeline.errors import JobError
from pipeline.output import commit, history, partial_rows, staged
from pipeline.output.layout import PLAN, explained, join, staging
from pipeline.output.manifest import Manifest
from pipeline.output.staged import ShardResult
from pipeline.output.work import Work
from pipeline.running.engines import runners, worker_processes
from pipeline.settings import PIECE_S, Job
from pipeline.types import Clip, DecodeRequest, Failure, Removal

FIRST_BYTES_PER_S = 500_000.0
"""Audio in a first piece, before the speed is known, for each second that a piece is to take: two minutes' worth are an
hour of MP3 or six minutes of WAV, which no processor needs two minutes for."""
GROWTH = 4.0
"""A piece is at most so many times larger than the one before."""

Totals = Mapping[str, float]
Keep = Callable[[Sequence[Clip | Failure | Removal], list[ShardResult]], tuple[Totals, Totals]]
"""Takes a piece, and what was staged of it -> the totals (`manifest.totals`) of what is kept, before and after."""


@dataclass
class Pace:
    """The size of a piece, in `plan.cost_bytes`, adapted to the speed of the last one.

    Args:
      piece_s: how long a piece is to take.
    """

    piece_s: float = PIECE_S

    def __post_init__(self) -> None:
        self.budget_bytes = FIRST_BYTES_PER_S * self.piece_s

    def learn(self, cost_bytes: int, seconds: float) -> None:
        """Adapts to a piece of this cost that took this long."""
        wanted = cost_bytes * self.piece_s / max(seconds, 1e-3)
        self.budget_bytes = max(1.0, min(wanted, self.budget_bytes * GROWTH))


@decoders.kept()
@worker_processes.kept()
def execute(
    job: Job,
    work: Work,
    engine: runners.Engine,
    manifest: Manifest,
    progress_dir: str | None = None,
    piece_s: float = PIECE_S,
    confirm: Callable[[], None] = lambda: None,
    log: history.Log | None = None,
    keep: Keep | None = None,
) -> None:
    """Do the work piece by piece.

    Args:
      job, work: what to do, and with which settings.
      engine: where.
      manifest: of the output, which was started.
      progress_dir: where local workers leave their tallies.
      piece_s: how long a piece is to take, where work is cut into pieces.
      confirm: called before each commit; raises if the output is no longer this run's.
      log: called with what each piece took.
      keep: takes what was staged of a piece, where that is not to be committed at once.

    Raises:
      JobError, OutputError: if it cannot go on. Committed pieces stay.
    """
    pace = Pace(piece_s)
    place = partial_rows.Place(job.output.directory, job.fingerprint())
    if not keep:  # tasks leave each other's
        partial_rows.keep_only(place, work.clips)
    for piece in pieces(work, job.output.num_shards, pace, whole=not engine.in_pieces):
        start = time.monotonic()
        attempt = commit.attempt_name(manifest)
        results = run_piece(job, piece, engine, attempt, progress_dir, log)
        confirm()
        computed = time.monotonic()
        if keep:
            before, after = keep(piece, results)
        else:
            before = manifest.totals
            manifest = commit.commit(job.output.directory, results)
            after = manifest.totals
        if log:
            log.committed(before, after, start, computed)
        partial_rows.remove(place, [item for item in piece if isinstance(item, Clip)])
        pace.learn(sum(map(_cost, piece)), time.monotonic() - start)


def run_piece(
    job: Job,
    items: Sequence[Clip | Failure | Removal],
    engine: runners.Engine,
    attempt: str,
    progress_dir: str | None,
    log: history.Log | None = None,
) -> list[ShardResult]:
    """Items -> the staged shards that they fall into.

    Raises:
      JobError: if the engine failed, or ended without one of the shards.
    """
    from pipeline.running import transforms

    directory = job.output.directory
    clips = [item for item in items if isinstance(item, Clip)]
    requests = plan.requests(clips, None, job.decoding.segment_seconds, job.front_end.hop_frames)
    elements: list[DecodeRequest | Failure | Removal] = [
        *requests,
        *(item for item in items if not isinstance(item, Clip)),
    ]
    with explained(directory, "writing the plan"):
        parts = plan_file.write(join(directory, PLAN), elements, name=attempt)
    result = runners.run(
        engine,
        lambda root: transforms.build(root, parts, job, attempt, progress_dir, keeps_parts=engine.local),
        transforms.RESOURCE_HINTS,
    )
    if log:
        log.ran(result)
    for part in parts:  # those of a run that failed are removed when the output is next opened
        storage.delete(part)
    results = staged.collect(job.output.directory, attempt, staging(job.output.array))
    wanted = {plan.shard_of(clip_of(item).id, job.output.num_shards) for item in items}
    if missing := sorted(wanted - {result.entry.index for result in results}):
        raise JobError(f"the engine ended without {len(missing)} shards, {missing[0]} say. Run the same command again.")
    return results


def pieces(work: Work, num_shards: int, pace: Pace, whole: bool) -> Iterator[Sequence[Clip | Failure | Removal]]:
    """Work -> its pieces, in the order of the output; the pace may change between pieces."""
    items: list[Clip | Failure | Removal] = [*work.clips, *work.failures, *map(Removal, work.drops)]
    items.sort(key=lambda item: plan.place_of(clip_of(item), num_shards))
    if whole:
        if items:
            yield items
        return
    units = _units(items)
    start = 0
    while start < len(units):
        costs = (sum(map(_cost, units[index])) for index in range(start, len(units)))
        count = plan.piece_length(costs, pace.budget_bytes)
        yield list(chain.from_iterable(units[start : start + count]))
        start += count


def _units(items: Sequence[Clip | Failure | Removal]) -> list[Sequence[Clip | Failure | Removal]]:
    """Items in order -> what is done in one piece: the clips of a recording that has very many of them, or an item.

    A piece that has only some of them would have to decode what lies between.
    """
    counts = Counter(item.uri for item in items if isinstance(item, Clip) and item.cut)
    units: list[Sequence[Clip | Failure | Removal]] = []
    together: dict[str, list[Clip | Failure | Removal]] = {}
    for item in items:
        if not (isinstance(item, Clip) and item.cut and counts[item.uri] > plan.CLIPS_OF_A_READING):
            units.append((item,))
        elif item.uri in together:
            together[item.uri].append(item)
        else:
            units.append(together.setdefault(item.uri, [item]))
    return units


def clip_of(item: Clip | Failure | Removal) -> Clip:
    """An item of work -> the clip that it is about."""
    return item if isinstance(item, Clip) else item.clip


def _cost(item: Clip | Failure | Removal) -> int:
    return plan.cost_bytes(item) if isinstance(item, Clip) else 0
