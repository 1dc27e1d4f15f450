"""The inputs and the output's content -> the work that a run has to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline import storage
from pipeline.corpus.packed import Packed
from pipeline.output.journal.held import Held, HeldClip
from pipeline.output.ledger import LedgerEntry
from pipeline.types import Clip, ClipKey, Corpus, Failure, RowsRef


@dataclass(frozen=True)
class Work:
    """The work of a run, or of some shards.

    Attributes:
      clips: to compute.
      failures: to write down.
      drops: clips whose records are to go.
      kept: clips that the output holds and keeps.
      clips_in: clips that the output will account for.
      gone: clips that the output holds and the inputs do not.
      partly: of clips to compute, by key, what row files hold of them.
      from_rows: how many of the kept clips are in row files, not yet in shards.
      stale: names of row files -> clips in them that are of no use.
      damaged: parts of row files that cannot be used.
    """

    clips: Sequence[Clip]
    failures: Sequence[Failure]
    drops: Sequence[Clip]
    kept: int
    clips_in: int
    gone: int = 0
    partly: Mapping[ClipKey, HeldClip] = field(default_factory=dict)
    from_rows: int = 0
    stale: Mapping[str, Packed[Clip]] = field(default_factory=dict)
    damaged: tuple[RowsRef, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the committed shards hold all of it."""
        return not (self.clips or self.failures or self.drops or self.from_rows)


def together(parts: Iterable[Work]) -> Work:
    """The work of ranges of shards -> that of all."""
    clips, failures, drops = Packed[Clip](), Packed[Failure](), Packed[Clip]()
    numbers = dict.fromkeys(("kept", "clips_in", "gone", "from_rows"), 0)
    partly: dict[ClipKey, HeldClip] = {}
    stale: dict[str, Packed[Clip]] = defaultdict(Packed)
    damaged: list[RowsRef] = []
    for part in parts:
        clips.extend(part.clips)
        failures.extend(part.failures)
        drops.extend(part.drops)
        for name in numbers:
            numbers[name] += getattr(part, name)
        partly.update(part.partly)
        for name, of_file in part.stale.items():
            stale[name].extend(of_file)
        damaged += part.damaged
    return Work(clips, failures, drops, partly=partly, stale=stale, damaged=tuple(damaged), **numbers)


def compare(
    corpus: Corpus,
    ledger: Iterable[LedgerEntry],
    retry_failed: bool = False,
    prune: bool = False,
    succeeded: Container[ClipKey] = frozenset(),
    timed: bool = True,
) -> Work:
    """The corpus and what an output of the same settings says of each clip -> the work: records are a cache.

    Args:
      corpus: the inputs now.
      ledger: the output's entries.
      retry_failed: try clips again that failed.
      prune: drop clips that the inputs no longer name; otherwise they stay.
      succeeded: clips that row files hold: those that failed before have been tried again.
      timed: records have times; else a clip takes the place of whatever the output has under its id.
    """
    entries = {entry.key: entry for entry in ledger}
    if not entries:
        return Work(corpus.clips, corpus.failures, (), 0, len(corpus.clips) + len(corpus.failures))
    failures = [failure for failure in corpus.failures if not _known(failure, entries.get(failure.clip.key))]
    failed = {failure.clip.key for failure in corpus.failures}
    wanted = {clip.key: clip for clip in corpus.clips}
    ids = set() if timed else {clip.id for clip in corpus.clips}
    kept = len(corpus.failures) - len(failures)
    gone: list[Clip] = []
    drops: list[Clip] = []
    for entry in entries.values():
        clip = wanted.get(entry.key)
        if clip is None:
            if entry.key not in failed:
                (drops if entry.id in ids else gone).append(entry.clip)
        elif is_current(entry, clip) and not (entry.outcome == "failed" and (retry_failed or entry.key in succeeded)):
            kept += 1
            del wanted[entry.key]
    kept += 0 if prune else len(gone)
    clips = tuple(wanted.values())
    clips_in = kept + len(clips) + len(failures)
    return Work(clips, failures, [*drops, *gone] if prune else drops, kept, clips_in, len(gone))


def without_held(work: Work, held: Held, retry_failed: bool = False) -> Work:
    """The work, and what row files hold -> what is left to compute, and which rows are used.

    Args:
      work: the corpus compared with the committed shards.
      held: what row files hold.
      retry_failed: clips that failed are tried again, though a row file says so.
    """
    if not held.clips:
        return replace(work, damaged=held.damaged)
    left, partly, used = Packed[Clip](), dict[ClipKey, HeldClip](), list[HeldClip]()
    for clip in work.clips:
        found = next((each for each in held.clips.get(clip.key, ()) if _is_of(each, clip, retry_failed)), None)
        if found is not None:
            used.append(found)
            if found.whole():
                continue
            partly[clip.key] = found
        left.append(clip)
    done = len(work.clips) - len(left)
    keep = {id(found) for found in used}
    stale: dict[str, Packed[Clip]] = defaultdict(Packed)
    for variants in held.clips.values():
        for found in variants:
            if id(found) not in keep:
                for name in found.files:
                    stale[name].append(found.clip)
    return replace(
        work, clips=left, kept=work.kept + done, partly=partly, from_rows=done, stale=stale, damaged=held.damaged
    )


def _is_of(held: HeldClip, clip: Clip, retry_failed: bool) -> bool:
    """Whether rows are of a clip as it is now; where its file lies matters only while some are missing."""
    now = _as_known(clip, held.clip)
    if held.clip != clip and not (replace(held.clip, uri=clip.uri) == now and held.whole()):
        return False
    return not (held.failed and retry_failed)


def _as_known(clip: Clip, before: Clip) -> Clip:
    """A clip; with the size and version of before where its server was not asked for them, or did not answer."""
    if clip.size_bytes or clip.version or clip.uri != before.uri or not storage.is_url(clip.uri):
        return clip
    return replace(clip, size_bytes=before.size_bytes, version=before.version)


def is_current(entry: LedgerEntry, clip: Clip) -> bool:
    """Whether what an output says of a clip holds for it still.

    File size and version, labels and times have to be as they were; where the file lies does not matter. What failed
    before its file was looked at (an unknown label, say) never holds for a clip that can be embedded. That a file
    beside the audio was skipped does not hold for one that is named.
    """
    if not clip.version:
        clip = _as_known(clip, entry.clip)
    before = (entry.key, entry.size_bytes, entry.version, entry.labels, entry.cut, entry.rated)
    now = (clip.key, clip.size_bytes, clip.version, clip.labels, clip.cut, clip.rated)
    looked_at = entry.stage not in ("find", "plan")
    named_now = entry.outcome == "skipped" and entry.reason == "not_audio" and not clip.listed
    return before == now and looked_at and not named_now


def _known(failure: Failure, entry: LedgerEntry | None) -> bool:
    if entry is None:
        return False
    return (entry.stage, entry.reason, entry.message) == (failure.stage, failure.reason, failure.message)
