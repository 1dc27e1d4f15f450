"""Clips in any order -> by the shards of another number and by key, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.corpus import plan
from pipeline.output.journal import spilled
from pipeline.output.shards import Item
from pipeline.types import ClipKey

MOST_BYTES = 64 << 20
"""Of clips that are sorted in memory; of more, the others are in temporary files meanwhile."""
ENTRY_BYTES = 2000
"""Of a ledger entry as Python holds it, with the texts that it names."""


def in_order(folder: str, items: Iterable[Item], num_shards: int) -> Iterator[Item]:
    """Clips, all of which are read now -> the same by shard and key.

    Args:
      folder: for temporary files, which go as the result is read.
      items: entries and records.
      num_shards: of which `plan.shard_of` tells a clip's.
    """

    def place(item: Item) -> tuple[int, ClipKey]:
        return plan.shard_of(item[0].id, num_shards), item[0].key

    runs: list[Iterable[Item]] = []
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += ENTRY_BYTES + len(item[1] or b"")
        if size >= MOST_BYTES:
            chunk.sort(key=place)
            runs.append(spilled.kept(folder, chunk))
            chunk, size = [], 0
    chunk.sort(key=place)
    return spilled.merged(folder, [*runs, chunk], place)
