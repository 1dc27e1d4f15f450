"""The inputs and the output's content -> the work that a run has to do."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from pipeline.output.ledger import LedgerEntry
from pipeline.types import Clip, ClipKey, Corpus, Failure


@dataclass(frozen=True)
class Work:
    """The work of a run.

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


@dataclass(frozen=True)
class Todo:
    """The clips of a corpus that an output lacks, and those that it has.

    Attributes:
      run: clips to embed: new, changed, or failed and to be tried again.
      kept: how many clips of the corpus the output accounts for as they are.
      gone: clips that the output accounts for and the corpus no longer holds.
    """

    run: tuple[Clip, ...]
    kept: int
    gone: tuple[Clip, ...]


def compare(corpus: Corpus, ledger: Iterable[LedgerEntry], retry_failed: bool = False, prune: bool = False) -> Work:
    """The corpus and what the output says of each clip -> the work.

    Args:
      corpus: the inputs now.
      ledger: the output's entries.
      retry_failed: try clips again that failed.
      prune: drop clips that the inputs no longer name; otherwise they stay.
    """
    entries = {entry.key: entry for entry in ledger}
    if not entries:
        return Work(corpus.clips, corpus.failures, (), 0, len(corpus.clips) + len(corpus.failures))
    new_failures = [failure for failure in corpus.failures if not _known(failure, entries.get(failure.clip.key))]
    found = todo(corpus.clips, entries.values(), retry_failed, {failure.clip.key for failure in corpus.failures})
    kept = found.kept + len(corpus.failures) - len(new_failures) + (0 if prune else len(found.gone))
    work = len(found.run) + len(new_failures)
    return Work(found.run, new_failures, found.gone if prune else (), kept, kept + work, len(found.gone))


def todo(
    clips: Iterable[Clip],
    entries: Iterable[LedgerEntry],
    retry_failed: bool = False,
    others: Container[ClipKey] = frozenset(),
) -> Todo:
    """The corpus and what an output of the same settings says of it -> what is left to do: records are a cache.

    Args:
      clips: of the corpus, each key once.
      entries: of the output's ledgers; read once.
      retry_failed: whether clips that failed are tried again.
      others: keys that the corpus holds too, and that need no embedding.
    """
    wanted = {clip.key: clip for clip in clips}
    kept, gone = 0, []
    for entry in entries:
        clip = wanted.get(entry.key)
        if clip is None:
            if entry.key not in others:
                gone.append(entry.clip)
        elif is_current(entry, clip) and not (retry_failed and entry.outcome == "failed"):
            kept += 1
            del wanted[entry.key]
    return Todo(tuple(wanted.values()), kept, tuple(gone))


def is_current(entry: LedgerEntry, clip: Clip) -> bool:
    """Whether what an output says of a clip holds for it still.

    File size and version, labels and times have to be as they were; where the file lies does not matter. What failed
    before its file was looked at (an unknown label, say) never holds for a clip that can be embedded.
    """
    before = (entry.key, entry.size_bytes, entry.version, entry.labels, entry.cut)
    now = (clip.key, clip.size_bytes, clip.version, clip.labels, clip.cut)
    return before == now and entry.stage not in ("find", "plan")


def _known(failure: Failure, entry: LedgerEntry | None) -> bool:
    if entry is None:
        return False
    return (entry.stage, entry.reason, entry.message) == (failure.stage, failure.reason, failure.message)
