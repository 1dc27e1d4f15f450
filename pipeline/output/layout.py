"""An output's files, and the one error about them; their names are those of `pipeline.output_names`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipeline import storage
from pipeline.errors import UserError
from pipeline.output_names import (
    CLASSES,
    CONFIG,
    FAILURES,
    MANIFEST,
    PLAN,
    REPORT,
    STAGED,
    STATE,
    basename,
    is_draft,
    is_history,
    is_ledger,
    is_shard,
    is_staged,
    ledger_name,
    of_number,
    shard_index,
    shard_name,
)
from pipeline.storage import join

__all__ = [
    "CLASSES",
    "CONFIG",
    "FAILURES",
    "MANIFEST",
    "PLAN",
    "REMOTE_THREADS",
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

REMOTE_THREADS = 16

_CONTINUES = (
    "What was finished is kept. Check that there is space and that it may be written to, then run the "
    "same command again; it continues."
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class OutputError(UserError):
    """An output cannot be used as asked."""


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


def write_if_changed(uri: str, data: bytes) -> None:
    """Writes a small file, whole, unless it says the same already."""
    if storage.exists(uri):
        with storage.open_read(uri) as file:
            if file.read() == data:
                return
    storage.write_atomic(uri, data)


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
