"""A shard's parts of many row files -> its clips' results, in order, one at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

import numpy as np

from pipeline.output import ledger
from pipeline.output.assemble import AssemblyError, ClipResult, assemble
from pipeline.output.journal import rows, spilled
from pipeline.output.journal.rows import ClipRows
from pipeline.output.layout import OutputError
from pipeline.types import ClipKey, Failure, RowsRef

ONE_STEP = {np.dtype(np.uint8): 1.0, np.dtype(np.float32): 1e-3}
"""By which rows may differ that two kinds of processors made; see docs/records.md."""

Named = tuple[str, ClipRows]
"""The name of a row file, and what it holds of a clip."""


def results(directory: str, refs: Sequence[RowsRef], failures: Iterable[Failure] = ()) -> Iterator[ClipResult]:
    """Parts of row files, and failures that were known before -> results by key.

    Args:
      directory: the output.
      refs: the parts; where clips are in several, rows of the first are taken.
      failures: any order.

    Raises:
      OutputError: a file is damaged, or two contradict each other; names them.
      AssemblyError: pieces of a clip are missing.
    """
    known = [("", ClipRows(failure.clip, failures=[failure])) for failure in failures]
    with tempfile.TemporaryDirectory(prefix="vggish-rows-") as folder:
        streams = [_read(directory, ref) for ref in refs]
        ordered = spilled.merged(folder, [*streams, sorted(known, key=_key)], _key)
        for _, found in groupby(ordered, key=_key):
            yield _result(directory, list(found))


def _key(item: Named) -> ClipKey:
    return item[1].clip.key


def _read(directory: str, ref: RowsRef) -> Iterator[Named]:
    for found in rows.read(directory, ref):
        yield ref.name, found


def expect_undamaged(directory: str, refs: Iterable[RowsRef]) -> None:
    """Raises OutputError for a part that is not what was written: while it is read it may look like anything."""
    for ref in refs:
        for _ in rows.read(directory, ref):
            pass


def _result(directory: str, found: Sequence[Named]) -> ClipResult:
    """What files hold of one clip -> its result."""
    if len(found) == 1 and (result := _in_one_piece(found[0][1])):
        return result
    pieces = list(chain.from_iterable(item.outcomes() for _, item in found))
    names = sorted({name for name, _ in found if name})
    try:
        (result,) = assemble(pieces)
    except AssemblyError as error:
        if len(names) < 2:
            raise
        kinds = {rows.read_head(directory, name).made_with.get("arithmetic") for name in names}
        try:
            step = max((ONE_STEP[piece.values.dtype] for _, item in found for piece in item.embeddings), default=0.0)
            (result,) = assemble(pieces, step if len(kinds) > 1 else 0)
        except AssemblyError:
            raise OutputError(
                f"{directory}: row files contradict each other: {error} ({', '.join(names)})",
                "Remove one of them and run the same command again. If this persists, report it.",
            ) from None
    return result


def _in_one_piece(found: ClipRows) -> ClipResult | None:
    """The result of a clip of one segment, whose embeddings are together: of nearly all; None for others."""
    if len(found.embeddings) != 1 or len(found.endings) != 1 or found.failures:
        return None
    (piece,), (end,) = found.embeddings, found.endings
    if end.segments != 1 or piece.first_example or len(piece.values) != end.examples:
        return None
    return ClipResult(ledger.written(found.clip, [end]), piece.values)
