"""A shard's ledger: one JSON line a clip, sorted by key, with what was planned, found and written.

It holds all that later runs need to decide what is done, changed or gone, and all that totals, `failures.jsonl` and
reports are made of, so that no audio and no record has to be read again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Literal

from pipeline import storage
from pipeline.storage import containers
from pipeline.types import Clip, ClipKey, Failure, Rating, SegmentEnd

Outcome = Literal["written", "failed", "skipped"]


@dataclass(frozen=True)
class LedgerEntry:
    """The outcome of a clip.

    Attributes:
      id, uri, start_s, labels, cut, size_bytes, version: as planned (`Clip`).
      clip_end_s: the end as planned; None: the decoded duration.
      end_s: the record's end; None where there is no record.
      outcome: "written", or "failed", or "skipped" because a policy asked for it.
      stage, reason, message: of a failure or skip.
      examples, audio_seconds, sample_rate_hz, channels, format, silent: of the decoded clip, if it was written.
      damaged: why the file of a written clip is, "" for a sound one: there is more of it, or was.
      place: as planned, of a clip inside a container; "" is not written down.
      rated: as planned; () is not written down.
    """

    id: str
    uri: str
    start_s: float
    clip_end_s: float | None
    end_s: float | None
    labels: tuple[int, ...]
    cut: bool
    size_bytes: int
    version: str
    outcome: Outcome
    stage: str = ""
    reason: str = ""
    message: str = ""
    examples: int = 0
    audio_seconds: float = 0.0
    sample_rate_hz: int = 0
    channels: int = 0
    format: str = ""
    silent: bool = False
    damaged: str = ""
    place: str = ""
    rated: tuple[Rating, ...] = ()

    @property
    def key(self) -> ClipKey:
        return (self.id, self.start_s, -1.0 if self.clip_end_s is None else self.clip_end_s)

    @property
    def clip(self) -> Clip:
        return Clip(
            self.id,
            self.uri,
            self.start_s,
            self.clip_end_s,
            self.labels,
            self.cut,
            self.size_bytes,
            self.version,
            place=self.place,
            rated=self.rated,
        )


AFTER_ID = b',"uri":'
"""Quotes inside values are escaped, so that this occurs in a line once."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def changed(entry: LedgerEntry) -> bool | None:
    """Whether an entry's file is another one now; None where it is gone. A container's version is that of its clips."""
    try:
        now = storage.info(containers.file_of(entry.uri, entry.place))
    except OSError:
        return None
    return now.version != entry.version or not (entry.place or now.size_bytes == entry.size_bytes)


def written(clip: Clip, endings: list[SegmentEnd]) -> LedgerEntry:
    """The endings of a clip's segments, in order -> the entry of its record.

    The end is the clip's own or its start plus the decoded duration. Durations are rounded to a microsecond, so that
    the sum does not depend on how the clip was split.
    """
    first, audio_s = endings[0], round(fsum(ending.audio_s for ending in endings), 6)
    return LedgerEntry(
        **_planned(clip),
        end_s=round(clip.start_s + audio_s, 6) if clip.end_s is None else clip.end_s,
        outcome="written",
        examples=sum(ending.examples for ending in endings),
        audio_seconds=audio_s,
        sample_rate_hz=first.sample_rate_hz,
        channels=first.channels,
        format=first.format,
        silent=all(ending.silent for ending in endings),
        damaged=next((ending.damaged for ending in endings if ending.damaged), ""),
    )


def not_written(failure: Failure) -> LedgerEntry:
    """A failure -> its clip's entry."""
    return LedgerEntry(
        **_planned(failure.clip),
        end_s=None,
        outcome="skipped" if failure.skipped else "failed",
        stage=failure.stage,
        reason=failure.reason,
        message=" ".join(failure.message.split()),
    )


def _planned(clip: Clip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "uri": clip.uri,
        "start_s": clip.start_s,
        "clip_end_s": clip.end_s,
        "labels": tuple(clip.labels),
        "cut": clip.cut,
        "size_bytes": clip.size_bytes,
        "version": clip.version,
        "place": clip.place,
        "rated": clip.rated,
    }


def to_line(entry: LedgerEntry) -> bytes:
    """An entry -> its line, newline included. Bytes of a file name that are not UTF-8 become JSON escapes."""
    unsaid = [name for name in ("place", "rated") if not getattr(entry, name)]
    return _line({name: value for name, value in vars(entry).items() if name not in unsaid})


def beginning(clip_id: str) -> bytes:
    """An id -> what the lines of its clips have before `AFTER_ID`, so that they are found without parsing all."""
    return _line({"id": clip_id})[:-2]


def from_line(line: bytes) -> LedgerEntry:
    """The inverse of `to_line`; ValueError where the line is not one."""
    try:
        content = json.loads(line)
        content["labels"] = tuple(content["labels"])
        if "rated" in content:
            content["rated"] = tuple(map(tuple, content["rated"]))
        return LedgerEntry(**content)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"not a ledger's line ({error}): {line[:80]!r}") from None


def failure_line(entry: LedgerEntry) -> bytes:
    """The entry of a clip without a record -> its line of `failures.jsonl`."""
    return _line(
        {
            "id": entry.id,
            "uri": entry.uri,
            "start_seconds": entry.start_s,
            "end_seconds": entry.clip_end_s,
            "stage": entry.stage,
            "reason": entry.reason,
            "message": entry.message,
            "skipped": entry.outcome == "skipped",
        }
    )


def _line(content: dict[str, Any]) -> bytes:
    return _ENCODER.encode(content).encode("utf-8", "backslashreplace") + b"\n"


def read(uri: str) -> Iterator[LedgerEntry]:
    """A ledger's path or URI -> its entries; OSError where it is missing, ValueError where it is damaged."""
    with storage.open_read(uri) as file:
        for line in file:
            yield from_line(line)


def read_failures(uri: str) -> Iterator[bytes]:
    """A ledger's path or URI -> the lines of `failures.jsonl` that it stands for, in its order."""
    # Nearly all lines are of written clips; quotes inside values are escaped, so this cannot match there.
    marker = b'"outcome":"written"'
    with storage.open_read(uri) as file:
        for line in file:
            if marker not in line:
                yield failure_line(from_line(line))


@dataclass
class LedgerSums:
    """Sums over a ledger's entries, and the hash of their lines."""

    records: int = 0
    damaged: int = 0
    failed: int = 0
    skipped: int = 0
    examples: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    _seconds: list[float] = field(default_factory=list)
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, entry: LedgerEntry) -> bytes:
        """Counts an entry; returns its line."""
        if entry.outcome == "written":
            self.records += 1
            self.damaged += bool(entry.damaged)
            self.examples += entry.examples
            self._seconds.append(entry.audio_seconds)
        elif entry.outcome == "failed":
            self.failed += 1
            self.failures[entry.reason] += 1
        else:
            self.skipped += 1
            self.skips[entry.reason] += 1
        line = to_line(entry)
        self._sha256.update(line)
        return line

    def sums(self) -> dict[str, Any]:
        """The counts, under the names that the manifest gives them."""
        return {
            "records": self.records,
            "damaged": self.damaged,
            "failed": self.failed,
            "skipped": self.skipped,
            "examples": self.examples,
            "audio_seconds": round(fsum(self._seconds), 6),
            "failures": dict(sorted(self.failures.items())),
            "skips": dict(sorted(self.skips.items())),
        }

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()
