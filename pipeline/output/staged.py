"""Shards as the manifest lists them, and the staged ones that a commit takes up: what is known of each, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import storage
from pipeline.output.layout import ARRAY, STAGED, explained, files_in, join


@dataclass(frozen=True)
class ShardEntry:
    """A complete shard, as the manifest lists it.

    Attributes:
      index, name: position among the output's shards, name of the record file.
      records, failed, skipped: clips by outcome.
      examples, audio_seconds: of the records.
      bytes, sha256: of the record file.
      ledger_sha256: of the ledger.
      failures, skips: clips by reason.
      damaged: records of what decodes of a damaged file.
    """

    index: int
    name: str
    records: int
    failed: int
    skipped: int
    examples: int
    audio_seconds: float
    bytes: int
    sha256: str
    ledger_sha256: str
    failures: dict[str, int]
    skips: dict[str, int]
    damaged: int = 0


@dataclass(frozen=True)
class ShardResult:
    """A staged shard.

    Attributes:
      entry: what the manifest will say of it.
      attempt: which run wrote it.
      staged: its files' common name: `staged` + ".tfrecord", ".jsonl" (ledger) and ".json" (this, written last).
      base_ledger_sha256: of the committed ledger that it was merged with; "" if there was none.
    """

    entry: ShardEntry
    attempt: str
    staged: str
    base_ledger_sha256: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @staticmethod
    def from_json(data: bytes) -> ShardResult:
        return ShardResult.from_content(json.loads(data))

    @staticmethod
    def from_content(content: dict[str, Any]) -> ShardResult:
        return ShardResult(**{**content, "entry": ShardEntry(**content["entry"])})


@dataclass(frozen=True)
class HeldShard:
    """A shard of an array's task: staged, and not committed before all tasks are done.

    Attributes:
      result: what is staged of it.
      committed_ledger_sha256: of the committed ledger that it builds on; "" if there was none.
      finished: all that the task had to do on it is done.
      made_with: the task's versions, processor and engine.
    """

    result: ShardResult
    committed_ledger_sha256: str
    finished: bool
    made_with: dict[str, Any]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()


def held_uri(directory: str, index: int) -> str:
    """Where it says what a task holds of a shard."""
    return join(directory, f"{ARRAY}/shard-{index:05d}.json")


def read_held(directory: str, index: int) -> HeldShard | None:
    """A task's uncommitted work on a shard, or None."""
    uri = held_uri(directory, index)
    if not storage.exists(uri):
        return None
    with storage.open_read(uri) as file:
        content = json.loads(file.read())
    return HeldShard(**{**content, "result": ShardResult.from_content(content["result"])})


def collect(directory: str, attempt: str = "", place: str = STAGED) -> list[ShardResult]:
    """The complete staged shards of an attempt ("": of all) in a staging folder, in the order of their names.

    An engine that tries a bundle again may leave several of one shard; the commit takes the first.
    """
    with explained(directory, "listing staged shards"):
        results = []
        for name in files_in(join(directory, place), attempt):
            if not name.endswith(".json"):
                continue
            with storage.open_read(join(directory, f"{place}/{name}")) as file:
                results.append(ShardResult.from_json(file.read()))
        return results
