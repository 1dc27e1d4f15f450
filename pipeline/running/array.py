"""The state shared by every command of an array: its job, inputs, terms, and the work on the whole output."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.corpus import plan
from pipeline.output import task_state
from pipeline.output.layout import explained
from pipeline.output.manifest import Manifest
from pipeline.output.task_state import Terms
from pipeline.output.work import Work, compare
from pipeline.running.engines.runners import Engine
from pipeline.settings import Job
from pipeline.types import Corpus

POLL_S = 0.5
"""Seconds between two looks at what somebody else holds."""


@dataclass(frozen=True)
class Array:
    """The state shared by every command of an array.

    Attributes:
      job: its settings.
      found: the inputs.
      terms: what the others have to have found alike.
      engine: the engine.
    """

    job: Job
    found: Corpus
    terms: Terms
    engine: Engine

    @property
    def directory(self) -> str:
        return self.job.output.directory

    def work(self, manifest: Manifest, retry_failed: bool) -> Work:
        """The work on the whole output, as it is committed."""
        with explained(self.directory, "reading the ledgers"):
            every = range(manifest.num_shards)
            entries = task_state.ledger_of(self.directory, manifest, {}, every)
            return compare(self.found, entries, retry_failed, self.terms.prune)

    def shards_of(self, work: Work) -> list[int]:
        """Indices of the shards that some of the work falls into."""
        clips = [*work.clips, *(failure.clip for failure in work.failures), *work.drops]
        return sorted({plan.shard_of(clip.id, self.job.output.num_shards) for clip in clips})
