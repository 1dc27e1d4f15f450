"""The names of an output's files, and the one error about them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipeline import storage
from pipeline.errors import UserError
from pipeline.storage import join

__all__ = [
    "FAILURES",
    "MANIFEST",
    "PLAN",
    "REPORT",
    "STAGED",
    "STATE",
    "OutputError",
    "basename",
    "contents",
    "each",
    "explained",
    "files_in",
    "is_draft",
    "is_history",
    "is_ledger",
    "is_shard",
    "is_staged",
    "join",
    "ledger_name",
    "of_number",
    "shard_index",
    "shard_name",
]

MANIFEST = "manifest.json"
FAILURES = "failures.jsonl"
REPORT = "report.html"
STATE = "_state"
STAGED = f"{STATE}/staged"
PLAN = f"{STATE}/plan"
REMOTE_THREADS = 16

_CONTINUES = (
    "What was finished is kept. Check that there is space and that it may be written to, then run the "
    "same command again; it continues."
)

Item = TypeVar("Item")
Result = TypeVar("Result")

_SHARD = re.compile(r"embeddings-(\d{5,})-of-(\d{5,})\.tfrecord")
_DRAFT = re.compile(
    r"(manifest\.json|failures\.jsonl|report\.html|lock\.json|task-.*|embeddings-.*|ledger-.*|run-.*)\.[0-9a-f]{8}\.tmp"
)
_HISTORY = re.compile(r"run-\d{8}T\d{6}Z-[0-9a-f]{8}\.json")
_STAGED_NAME = re.compile(rf"{STAGED}/[A-Za-z0-9][A-Za-z0-9_.-]*")
_LEDGER = re.compile(r"ledger-(\d{5,})-of-(\d{5,})\.jsonl")


class OutputError(UserError):
    """An output cannot be used as asked."""


def shard_name(index: int, num_shards: int) -> str:
    """Position and number of shards -> name of the record file."""
    return f"embeddings-{index:05d}-of-{num_shards:05d}.tfrecord"


def ledger_name(index: int, num_shards: int) -> str:
    """Position and number of shards -> name of the ledger, below the output's directory."""
    return f"{STATE}/ledger-{index:05d}-of-{num_shards:05d}.jsonl"


def is_shard(name: str) -> bool:
    """Whether a file's name (without its directory) is that of a record file of any number of shards."""
    return _SHARD.fullmatch(name) is not None


def shard_index(name: str) -> int:
    """The name of a record file -> its position; ValueError if it is not one."""
    found = _SHARD.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is not the name of a shard")
    return int(found[1])


def is_ledger(name: str) -> bool:
    """Whether a file's name (without its directory) is that of a ledger of any number of shards."""
    return _LEDGER.fullmatch(name) is not None


def of_number(name: str, num_shards: int) -> bool:
    """Whether a file's name, with its directory or without, is that of a shard or ledger of so many shards."""
    found = _SHARD.fullmatch(basename(name)) or _LEDGER.fullmatch(basename(name))
    return found is not None and int(found[2]) == num_shards


def is_staged(name: str) -> bool:
    """Whether a name, below the output's directory, is that of what workers staged: a file in the folder for that."""
    return _STAGED_NAME.fullmatch(name) is not None


def is_history(name: str) -> bool:
    """Whether a file's name (without its directory) is that of what a run took (`pipeline.output.history`)."""
    return _HISTORY.fullmatch(name) is not None


def basename(uri: str) -> str:
    """The last component of a path or URI."""
    return uri.rstrip("/").rpartition("/")[2]


def contents(directory: str) -> list[str]:
    """A directory's content besides an output's state, report and drafts: files and, locally, folders; no hidden ones.

    A draft alone is an output that is just being begun, or was killed in its first moment.
    """
    names = set(files_in(directory))
    if storage.is_local(directory):
        with suppress(FileNotFoundError, NotADirectoryError):
            names.update(item.name for item in Path(storage.absolute(directory)).iterdir())
    ours = {name for name in names if name in (STATE, REPORT) or is_draft(name)}
    return sorted(name for name in names - ours if not name.startswith("."))


def each(directory: str, action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The action's results in the items' order; several at a time where each waits for remote storage."""
    if storage.is_local(directory):
        return [action(item) for item in items]
    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        return list(pool.map(action, items))


def is_draft(name: str) -> bool:
    """Whether a file's name is one that `storage.open_write` gives to a file of an output while it is not yet whole."""
    return _DRAFT.fullmatch(name) is not None


@contextmanager
def explained(directory: str, doing: str, remedy: str = _CONTINUES) -> Iterator[None]:
    """Turns a failing storage operation into an `OutputError` that says what was being done, and where."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise OutputError(f"{directory}: {doing} failed: {reason}", remedy) from error


def files_in(directory: str, prefix: str = "") -> dict[str, int]:
    """A directory and what names begin with -> name and size in bytes of each file in it; nothing if there is none.

    Names, not patterns: an output's own path may hold brackets and stars.
    """
    found: dict[str, int] = {}
    if storage.is_local(directory):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(storage.absolute(directory)) as items:
            for item in items:
                with suppress(FileNotFoundError):  # another command's draft that has its name now; the others are there
                    if item.name.startswith(prefix) and item.is_file():
                        found[item.name] = item.stat().st_size
    else:
        for file in storage.match(join(directory, f"{prefix}*")):
            found[basename(file.uri)] = file.size_bytes
    return dict(sorted(found.items()))
