"""What the inputs hold against what the output holds -> what a run has to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline import plan
from pipeline.output.ledger import LedgerEntry
from pipeline.types import Clip, Failure


@dataclass(frozen=True)
class Corpus:
    """The inputs, as they were found.

    Attributes:
      clips: to embed; every key once.
      failures: of rows and files that cannot be embedded, whatever they hold.
      names: display names of classes, by index, as far as the inputs give them.
    """

    clips: Sequence[Clip]
    failures: Sequence[Failure] = ()
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
      clips: to compute.
      failures: to write down.
      drops: clips whose records are to go.
      kept: clips that the output holds and keeps.
      clips_in: clips that the output will account for.
      gone: clips that the output holds and the inputs do not.
    """

    clips: Sequence[Clip]
    failures: Sequence[Failure]
    drops: Sequence[Clip]
    kept: int
    clips_in: int
    gone: int = 0


def compare(corpus: Corpus, ledger: Iterable[LedgerEntry], retry_failed: bool = False, prune: bool = False) -> Work:
    """The corpus and what the output says of each clip -> the work.

    Args:
      corpus: the inputs now.
      ledger: the output's entries.
      retry_failed: try clips again that failed.
      prune: drop clips that the inputs no longer name; otherwise they stay.
    """
    entries = {entry.key: entry for entry in ledger}
    new_failures = [failure for failure in corpus.failures if not _known(failure, entries.get(failure.clip.key))]
    todo = plan.todo(corpus.clips, entries.values(), retry_failed, {failure.clip.key for failure in corpus.failures})
    kept = todo.kept + len(corpus.failures) - len(new_failures) + (0 if prune else len(todo.gone))
    work = len(todo.run) + len(new_failures)
    return Work(todo.run, new_failures, todo.gone if prune else (), kept, kept + work, len(todo.gone))


def _known(failure: Failure, entry: LedgerEntry | None) -> bool:
    if entry is None:
        return False
    return (entry.stage, entry.reason, entry.message) == (failure.stage, failure.reason, failure.message)
