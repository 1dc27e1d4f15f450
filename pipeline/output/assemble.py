"""Pieces of a shard's clips, in any order -> one result per clip. Pure: no Beam, no storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from pipeline.output import ledger
from pipeline.reasons import REASONS
from pipeline.types import Clip, ClipKey, Embedding, Failure, Outcome, Removal, SegmentEnd

_REASON_ORDER = {reason: order for order, reason in enumerate(REASONS)}


class AssemblyError(Exception):
    """The pieces of a clip do not make a whole: a bug, never the audio's fault."""


@dataclass(frozen=True, eq=False)
class ClipResult:
    """A clip's ledger entry and, if it is written, its embeddings uint8 or float32 [k, 128]."""

    entry: ledger.LedgerEntry
    values: np.ndarray | None


@dataclass
class _Pieces:
    clip: Clip
    failures: list[Failure] = field(default_factory=list)
    endings: dict[int, SegmentEnd] = field(default_factory=dict)
    embeddings: list[Embedding] = field(default_factory=list)


def assemble(outcomes: Iterable[Outcome]) -> list[ClipResult]:
    """Embeddings, endings and failures of some clips -> their results, sorted by key; `Removal`s are passed over.

    A failure wins: whatever else arrived of the clip is left out. What arrives twice, from a bundle that an engine
    tried again, must be the same both times.

    Raises:
      AssemblyError: embeddings that do not tile the clip, a missing segment, contradictory pieces; names the clip.
    """
    clips: dict[ClipKey, _Pieces] = {}
    for outcome in outcomes:
        if isinstance(outcome, Removal):
            continue
        pieces = clips.setdefault(outcome.clip.key, _Pieces(outcome.clip))
        if pieces.clip != outcome.clip:
            raise AssemblyError(f"one key for two clips: {pieces.clip} and {outcome.clip}")
        if isinstance(outcome, Failure):
            pieces.failures.append(outcome)
        elif isinstance(outcome, SegmentEnd):
            if pieces.endings.setdefault(outcome.segment, outcome) != outcome:
                raise AssemblyError(f"two endings of one segment: {pieces.endings[outcome.segment]} and {outcome}")
        else:
            pieces.embeddings.append(outcome)
    return [_result(clips[key]) for key in sorted(clips)]


def _result(pieces: _Pieces) -> ClipResult:
    if pieces.failures:
        return ClipResult(ledger.not_written(min(pieces.failures, key=_precedence)), None)
    endings = _endings(pieces)
    damaged = next((ending.segment for ending in endings if ending.damaged), None)
    if damaged is not None:  # what comes behind the damage would leave a hole
        endings = endings[: damaged + 1]
        pieces.embeddings = [piece for piece in pieces.embeddings if piece.segment <= damaged]
    return ClipResult(ledger.written(pieces.clip, endings), _tile(pieces, endings))


def _precedence(failure: Failure) -> tuple[bool, int, str, str]:
    """The failure of a clip to report: any order will do, as long as it is fixed."""
    order = _REASON_ORDER.get(failure.reason, len(_REASON_ORDER))
    return (failure.skipped, order, failure.stage, failure.message)


def _endings(pieces: _Pieces) -> list[SegmentEnd]:
    name, found = pieces.clip.key, pieces.endings
    if not found:
        raise AssemblyError(f"{name}: {len(pieces.embeddings)} pieces of embeddings and no ending")
    count = next(iter(found.values())).segments
    if any(ending.segments != count for ending in found.values()):
        raise AssemblyError(f"{name}: endings disagree on the number of segments: {sorted(found.items())}")
    if sorted(found) != list(range(count)):
        raise AssemblyError(f"{name}: endings of segments {sorted(found)} of {count}")
    return [found[index] for index in range(count)]


def _tile(pieces: _Pieces, endings: list[SegmentEnd]) -> np.ndarray:
    """Pieces in any order, perhaps repeated -> the clip's embeddings [k, 128]."""
    name = pieces.clip.key
    starts = [0, *accumulate(ending.examples for ending in endings)]
    total = starts[-1]
    if not total:
        raise AssemblyError(f"{name}: no examples, and no failure that says why")
    if not pieces.embeddings:
        raise AssemblyError(f"{name}: no embeddings of {total} examples")
    values = np.empty((total, *pieces.embeddings[0].values.shape[1:]), pieces.embeddings[0].values.dtype)
    filled = bytearray(total)  # 1 where a row has arrived
    for piece in pieces.embeddings:
        begin, end = piece.first_example, piece.first_example + len(piece.values)
        if not 0 <= piece.segment < len(endings) or begin < starts[piece.segment] or end > starts[piece.segment + 1]:
            raise AssemblyError(f"{name}: embeddings {begin} to {end} are not in segment {piece.segment}")
        if piece.values.dtype != values.dtype or piece.values.shape[1:] != values.shape[1:]:
            raise AssemblyError(f"{name}: {values.dtype} {values.shape[1:]} beside {piece.values.dtype}")
        if any(filled[begin:end]):
            seen = np.frombuffer(filled[begin:end], bool)
            if not np.array_equal(values[begin:end][seen], piece.values[seen]):
                raise AssemblyError(f"{name}: embeddings {begin} to {end} arrived twice and differ")
        values[begin:end] = piece.values
        filled[begin:end] = b"\1" * (end - begin)
    if not all(filled):
        raise AssemblyError(f"{name}: {filled.count(0)} of {total} embeddings are missing")
    return values
