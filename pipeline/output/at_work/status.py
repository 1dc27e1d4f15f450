"""How far an output is, from its files alone: whatever engine works on it, and from any machine that reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.corpus import buckets
from pipeline.output import lock
from pipeline.output import manifest as manifests
from pipeline.output.at_work import submitted
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.journal import held
from pipeline.output.journal.held import HeldClip
from pipeline.output.layout import MANIFEST, PLAN, OutputError, explained, files_in, join


@dataclass(frozen=True)
class Rows:
    """What row files hold: computed, and not yet committed.

    Attributes:
      clips: of which nothing is left to compute.
      failed: of these, failed or skipped.
      examples: embeddings, of clips in part too.
    """

    clips: int = 0
    failed: int = 0
    examples: int = 0

    def and_of(self, clip: HeldClip) -> Rows:
        """The same with a clip more."""
        whole = clip.whole()
        return Rows(self.clips + whole, self.failed + (whole and clip.failed), self.examples + clip.examples)


@dataclass(frozen=True)
class Status:
    """How far an output is.

    Attributes:
      output: the output.
      complete: it is a finished data set, as readers find it; more may be in progress.
      committed: totals of the manifest: clips_in = written + failed + skipped, examples, audio_seconds.
      rows: what is computed beside them.
      rows_audio_seconds: that their examples stand for, by the hop.
      planned: clips that the work in progress, or the last that was stopped, had to compute; None where no plan is
        there, or several tasks have plans of their own.
      done: clips of these that it has.
      at_work: commands that hold the output.
      jobs: of engines, as they were noted.
      since: when the work in progress began, Unix time; None where none does.
      times_real_time: seconds of audio a second since then; None where it is not known.
    """

    output: str
    complete: bool
    committed: dict[str, int | float]
    rows: Rows
    rows_audio_seconds: float
    planned: int | None
    done: int | None
    at_work: tuple[str, ...]
    jobs: tuple[Submitted, ...]
    since: float | None
    times_real_time: float | None


def look(directory: str) -> Status:
    """An output -> how far it is; changes nothing.

    Raises:
      OutputError: there is none, or it cannot be read.
    """
    with explained(directory, "reading the output", "Check the path, and that you may read it."):
        found = manifests.read(directory)
    if found is None:
        raise OutputError(f"{directory} holds no {MANIFEST}", "Name the folder of an output that has been begun")
    holders = [holder for _, holder in lock.holders(directory) if holder.alive()]
    jobs = submitted.noted(directory)
    whole = not any(holder.role.startswith("task") for holder in holders) and set(jobs) <= {submitted.uri_of(directory)}
    plan = _plan(directory) if whole else None
    planned, before = plan or (None, frozenset())
    begun = [job.since for job in jobs.values()] + [holder.since for holder in holders]
    since = min(begun, default=None)
    rows, new = _rows(directory, found, before, planned or int(found.totals["clips_in"]))
    rate, hop_s = None, float(found.settings["hop_seconds"])
    if plan and since is not None:
        rate = round(new.examples * hop_s / max(1.0, time.time() - since), 2)
    return Status(
        directory,
        found.complete,
        found.totals,
        rows,
        round(rows.examples * hop_s, 3),
        planned,
        None if planned is None else new.clips,
        tuple(f"process {holder.pid} on {holder.host.split('/')[0]} ({holder.role})" for holder in holders),
        tuple(jobs.values()),
        since,
        rate,
    )


def _plan(directory: str) -> tuple[int, frozenset[str]] | None:
    """The one plan that is there -> its number of clips, and names of the row files that there were before it."""
    folder = join(directory, PLAN)
    names = list(files_in(folder))
    if not names or len({name.rpartition("-")[0] for name in names}) > 1:
        return None
    clips, before = 0, set[str]()
    for name in names:
        try:
            for item in _items(join(folder, name)):
                if item["kind"] == "Unit":
                    clips += sum(len(segments) for _, segments in item["requests"])
                elif item["kind"] == "RowsRef":
                    before.add(item["name"])
        except FileNotFoundError:  # the job has just ended
            return None
    return clips, frozenset(before)


def _items(uri: str) -> Iterator[dict[str, Any]]:
    with storage.open_read(uri) as file:
        yield from map(json.loads, file)


def _rows(directory: str, found: manifests.Manifest, before: frozenset[str], clips: int) -> tuple[Rows, Rows]:
    """What row files hold, and what of it files hold that there were not before: without those of damaged files."""
    there = held.files_of(directory, found.fingerprint)
    number = buckets.number_of(clips, found.num_shards)
    every, new = Rows(), Rows()
    for bucket in range(number):
        parts = there.parts(buckets.shards_of(bucket, found.num_shards, number))
        for variants in held.look(directory, parts).clips.values():
            every = every.and_of(variants[-1])
            if not before.issuperset(variants[-1].files):
                new = new.and_of(variants[-1])
    return every, new
