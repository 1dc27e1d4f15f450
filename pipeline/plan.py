"""Planning, as pure functions: no Beam, no I/O."""

from __future__ import annotations

import hashlib


def shard_of(clip_id: str, num_shards: int) -> int:
    """A clip's id -> the index of its shard: the first 8 bytes of the id's SHA-256, modulo the number of shards.

    Stable across processes, machines and versions.

    >>> shard_of("dog/1-100032-A", 8)
    3
    """
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % num_shards
