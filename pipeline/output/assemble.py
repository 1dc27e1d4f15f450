"""Pieces of a shard's clips, in any order -> one result per clip. Pure: no Beam, no storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pipeline.output import ledger
from pipeline.reasons import REASONS
from pipeline.types import Clip, ClipKey, Embedding, Failure, Outcome, SegmentEnd

_REASON_ORDER = {reason: order for order, reason in enumerate(REASONS)}


class AssemblyError(Exception):
    """The pieces of a clip do not make a whole: a bug, never the audio's fault."""


@dataclass(frozen=True, eq=False)
class ClipResult:
    """A clip's ledger entry and, if it is written, its embeddings.

    Attributes:
      entry: of the ledger.
      values: uint8 or float32 [k, 128]; None where there is no record.
      unequal_rows: rows that arrived twice and differ within the tolerance; the first are taken.
    """

    entry: ledger.LedgerEntry
    values: np.ndarray | None
    unequal_rows: int = 0


@dataclass
class _Pieces:
    clip: Clip
    failures: list[Failure] = field(default_factory=list)
    endings: dict[tuple[int, int], SegmentEnd] = field(default_factory=dict)
    embeddings: list[Embedding] = field(default_factory=list)


def assemble(outcomes: Iterable[Outcome], tolerance: float = 0) -> list[ClipResult]:
    """Embeddings, endings and failures of some clips -> their results, sorted by key.

    A failure wins: whatever else arrived of the clip is left out. What arrives twice, from a bundle that an engine
    tried again or from a run that was continued with other segments, must be the same both times.

    Args:
      outcomes: in any order; of rows that arrive twice the first are taken.
      tolerance: by which they may differ nevertheless.

    Raises:
      AssemblyError: embeddings that do not tile the clip, a missing segment, contradictory pieces; names the clip.
    """
    clips: dict[ClipKey, _Pieces] = {}
    for outcome in outcomes:
        pieces = clips.setdefault(outcome.clip.key, _Pieces(outcome.clip))
        if pieces.clip != outcome.clip:
            raise AssemblyError(f"one key for two clips: {pieces.clip} and {outcome.clip}")
        if isinstance(outcome, Failure):
            pieces.failures.append(outcome)
        elif isinstance(outcome, SegmentEnd):
            if pieces.endings.setdefault((outcome.segments, outcome.segment), outcome) != outcome:
                known = pieces.endings[outcome.segments, outcome.segment]
                raise AssemblyError(f"two endings of one segment: {known} and {outcome}")
        else:
            pieces.embeddings.append(outcome)
    return [_result(clips[key], tolerance) for key in sorted(clips)]


def _result(pieces: _Pieces, tolerance: float) -> ClipResult:
    if pieces.failures:
        return ClipResult(ledger.not_written(min(pieces.failures, key=_precedence)), None)
    endings = _endings(pieces)
    damaged = next((ending.segment for ending in endings if ending.damaged), None)
    if damaged is not None:  # what comes behind the damage would leave a hole
        endings = endings[: damaged + 1]
    values, unequal = _tile(pieces, sum(ending.examples for ending in endings), damaged is not None, tolerance)
    return ClipResult(ledger.written(pieces.clip, endings), values, unequal)


def _precedence(failure: Failure) -> tuple[bool, int, str, str]:
    """The failure of a clip to report: any order will do, as long as it is fixed."""
    order = _REASON_ORDER.get(failure.reason, len(_REASON_ORDER))
    return (failure.skipped, order, failure.stage, failure.message)


def _endings(pieces: _Pieces) -> list[SegmentEnd]:
    """The endings of all segments into which the clip was cut; of several such cuts, the one of fewest segments."""
    name = pieces.clip.key
    cuts: dict[int, list[int]] = defaultdict(list)
    for count, index in sorted(pieces.endings):
        cuts[count].append(index)
    for count, found in cuts.items():
        if found == list(range(count)):
            return [pieces.endings[count, index] for index in found]
    if not cuts:
        raise AssemblyError(f"{name}: {len(pieces.embeddings)} pieces of embeddings and no ending")
    some = "; or ".join(f"of segments {found} of {count}" for count, found in cuts.items())
    raise AssemblyError(f"{name}: endings {some}")


def _tile(pieces: _Pieces, total: int, cut_off: bool, tolerance: float) -> tuple[np.ndarray, int]:
    """Pieces in any order, perhaps repeated -> the clip's embeddings [total, 128], and how many came twice unequal.

    Where the clip is `cut_off`, embeddings behind its end are left out.
    """
    name = pieces.clip.key
    if not total:
        raise AssemblyError(f"{name}: no examples, and no failure that says why")
    if not pieces.embeddings:
        raise AssemblyError(f"{name}: no embeddings of {total} examples")
    values = np.empty((total, *pieces.embeddings[0].values.shape[1:]), pieces.embeddings[0].values.dtype)
    filled = bytearray(total)  # 1 where a row has arrived
    unequal = 0
    for piece in pieces.embeddings:
        begin, end = piece.first_example, piece.first_example + len(piece.values)
        rows = piece.values
        if cut_off:
            end = min(end, total)
            rows = rows[: max(0, end - begin)]
            if not len(rows):
                continue
        if begin < 0 or end > total:
            raise AssemblyError(f"{name}: embeddings {begin} to {end} are not among its {total}")
        if rows.dtype != values.dtype or rows.shape[1:] != values.shape[1:]:
            raise AssemblyError(f"{name}: {values.dtype} {values.shape[1:]} beside {rows.dtype}")
        if any(filled[begin:end]):
            seen = np.frombuffer(filled[begin:end], bool)
            apart = np.abs(values[begin:end][seen].astype(float) - rows[seen]).max(axis=1)
            if (apart > tolerance).any():
                raise AssemblyError(f"{name}: embeddings {begin} to {end} arrived twice and differ by {apart.max():g}")
            unequal += int((apart > 0).sum())
            rows = np.where(seen[:, np.newaxis], values[begin:end], rows) if unequal else rows
        values[begin:end] = rows
        filled[begin:end] = b"\1" * (end - begin)
    if not all(filled):
        raise AssemblyError(f"{name}: {filled.count(0)} of {total} embeddings are missing")
    return values, unequal
