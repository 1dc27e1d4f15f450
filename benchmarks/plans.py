"""Millions of clips, compared with a half-finished output and cut into units of work: processor time and memory.

`python -m benchmarks.plans CLIPS [FOLDER]` makes an output in which a fourth of so many clips is committed and another
fourth is in row files (a row each), then plans the whole as a run does. Nothing is decoded or embedded.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus import plan
from pipeline.corpus.packed import Packed
from pipeline.output import commit, resume, shards
from pipeline.output.journal import held, rows
from pipeline.running import garbage
from pipeline.running import job as jobs
from pipeline.settings import Job, Model, Output, Update
from pipeline.types import Clip, Corpus, Embedding, RowsRef, SegmentEnd, ShardEntry

CLIPS_OF_A_FILE = 5000
VALUES = np.zeros((1, 128), np.uint8)


def clip(number: int) -> Clip:
    """A clip of a large corpus."""
    name = f"recordings/site {number // 10_000:04d}/2026-05-{number % 30:02d}/clip {number:08d}"
    return Clip(name, f"/corpus/{name}.flac", size_bytes=400_000 + number % 1000, version=f"1760000000.{number}")


def found(of: Clip) -> rows.ClipRows:
    """What a row file holds of it."""
    end = SegmentEnd(of, 0, 1, 1, 1.5, 44100, 2, "FLAC/PCM_16")
    return rows.ClipRows(of, [Embedding(of, 0, 0, VALUES)], [end])


def leave(job: Job, clips: Iterable[Clip]) -> list[RowsRef]:
    """Clips -> row files, in the order of the output as workers leave them."""
    ordered = iter(sorted(clips, key=lambda each: plan.place_of(each, job.output.num_shards)))
    parts: list[RowsRef] = []
    while some := list(islice(ordered, CLIPS_OF_A_FILE)):
        parts += rows.write(job.output.directory, job.fingerprint(), job.output.num_shards, map(found, some), {})
    return parts


def prepare(job: Job, clips: int) -> None:
    """Makes the output: a fourth committed, a fourth in row files."""
    opened = resume.start(job.output.directory, job)
    by_shard: dict[int, list[RowsRef | ShardEntry]] = {}
    for part in leave(job, map(clip, range(0, clips, 4))):
        by_shard.setdefault(part.shard, []).append(part)
    attempt = commit.attempt_name(opened.manifest)
    staged = (shards.write_shard(job.output, index, parts, attempt) for index, parts in by_shard.items())
    commit.finish(job.output.directory, staged)
    leave(job, map(clip, range(1, clips, 4)))


def planned(job: Job, corpus: Corpus) -> dict[str, Any]:
    """Plans as a run does -> what there is to do."""
    directory = job.output.directory
    opened = resume.start(directory, job)
    there = held.files_of(directory, job.fingerprint())
    work = jobs.work_on(job, corpus, Update(), there, opened.manifest)
    _, plan_parts = jobs.write_plan(job, work, opened.manifest, there)
    return {"left": len(work.clips), "kept": work.kept, "clips_in": work.clips_in, "plan_parts": len(plan_parts)}


def _stages(clips: int, folder: Path) -> Iterator[tuple[str, Any]]:
    job = Job(Output(str(folder), plan.default_num_shards(clips, 0)), Model("standin", "standin"))
    if not (folder / "manifest.json").exists():
        prepare(job, clips)
        yield "output made", {}
    corpus = Corpus(Packed(map(clip, range(clips))))
    yield "corpus", {"clips": len(corpus.clips)}
    with garbage.uncollected():
        yield "planned", planned(job, corpus)


def main() -> None:
    """Prints each stage's processor time, and the most memory that the process has taken until then."""
    clips = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="vggish-plans-") as temporary:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        at, clock = time.process_time(), time.monotonic()
        for name, what in _stages(clips, folder):
            cpu_s, clock_s = time.process_time() - at, time.monotonic() - clock
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{name}: {cpu_s:.1f} s of processor, {clock_s:.1f} s, at most {peak_mb:,.0f} MB so far; {what}")
            at, clock = time.process_time(), time.monotonic()


if __name__ == "__main__":
    main()
