"""Clips that can be heard in the page: a few seconds of each, as far as the audio is there, from decoder processes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.decoding.decoders import DecoderPool
from pipeline.decoding.pending import PendingExcerpt
from pipeline.output.ledger import LedgerEntry, changed
from pipeline.types import ClipKey

SECONDS = 5.0
MOST_CHARACTERS = 5_000_000
"""Of all excerpts together, as they stand in the page."""


@dataclass
class Heard:
    """What can be heard.

    Attributes:
      audio: clip -> MP3 in base64.
      missing: why other clips cannot be heard -> how many.
    """

    audio: dict[ClipKey, str] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)


def of(entries: Iterable[LedgerEntry], pool: DecoderPool) -> Heard:
    """Ledger entries of clips with records, each as often as the page shows it -> what can be heard of them."""
    times: Counter[ClipKey] = Counter()
    clips: dict[ClipKey, LedgerEntry] = {}
    for entry in entries:
        clips[entry.key] = entry
        times[entry.key] += 1
    heard, left = Heard(), MOST_CHARACTERS
    asked: deque[tuple[ClipKey, PendingExcerpt]] = deque()

    def take() -> None:
        nonlocal left
        key, pending = asked.popleft()
        found = pending.result()
        size = len(found.mp3) * times[key]
        if found.mp3 and size <= left:
            heard.audio[key] = found.mp3
            left -= size
        else:
            heard.missing[found.missing or "the page would be too large"] += 1

    for key, entry in clips.items():
        is_other = changed(entry)
        if is_other is not False:
            heard.missing["the file was changed" if is_other else "the audio is gone"] += 1
            continue
        start_s = entry.start_s if entry.cut else 0.0
        asked.append((key, pool.excerpt(entry.uri, start_s, _seconds(entry), entry.place)))
        if len(asked) >= max(1, pool.started):  # one more at a time would start another decoder, for little work
            take()
    while asked:
        take()
    return heard


def _seconds(entry: LedgerEntry) -> float:
    return min(SECONDS, entry.audio_seconds) if entry.cut else SECONDS
