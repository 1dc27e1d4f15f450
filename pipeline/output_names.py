"""The names of an output's files, which a listing of inputs leaves out. Pure."""

from __future__ import annotations

import re

MANIFEST = "manifest.json"
FAILURES = "failures.jsonl"
REPORT = "report.html"
CLASSES = "classes.csv"
CONFIG = "config.yaml"
CARD = "README.md"
DATA = "data"
"""The folder of Parquet files."""
STATE = "_state"
STAGED = f"{STATE}/staged"
PLAN = f"{STATE}/plan"

_SHARD = re.compile(r"embeddings-(\d{5,})-of-(\d{5,})\.tfrecord")
_PARQUET = re.compile(r"embeddings-(\d{5,})-of-(\d{5,})\.parquet")
_DRAFT = re.compile(
    r"(manifest\.json|failures\.jsonl|report\.html|classes\.csv|config\.yaml|README\.md|lock\.json|task-.*|job.*"
    r"|embeddings-.*|ledger-.*|run-.*)\.[0-9a-f]{8}\.tmp"
)
_HISTORY = re.compile(r"run-\d{8}T\d{6}Z-[0-9a-f]{8}\.json")
_STAGED_NAME = re.compile(rf"{STAGED}/[A-Za-z0-9][A-Za-z0-9_.-]*")
_LEDGER = re.compile(r"ledger-(\d{5,})-of-(\d{5,})\.jsonl")


def shard_name(index: int, num_shards: int) -> str:
    """Position and number of shards -> name of the record file."""
    return f"embeddings-{index:05d}-of-{num_shards:05d}.tfrecord"


def ledger_name(index: int, num_shards: int) -> str:
    """Position and number of shards -> name of the ledger, below the output's directory."""
    return f"{STATE}/ledger-{index:05d}-of-{num_shards:05d}.jsonl"


def parquet_name(index: int, num_shards: int) -> str:
    """Position and number of shards -> name of the Parquet file, in the folder for them."""
    return f"embeddings-{index:05d}-of-{num_shards:05d}.parquet"


def is_parquet(name: str) -> bool:
    """Whether a file's name (without its directory) is that of a shard's Parquet file."""
    return _PARQUET.fullmatch(name) is not None


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


def is_draft(name: str) -> bool:
    """Whether a file's name is one that `storage.open_write` gives to a file of an output while it is not yet whole."""
    return _DRAFT.fullmatch(name) is not None


def is_of_an_output(name: str) -> bool:
    """Whether a file directly in an output's folder is the output's, by its name: a record file, the manifest, a draft.

    >>> is_of_an_output("embeddings-00000-of-00001.tfrecord"), is_of_an_output("embeddings.wav")
    (True, False)
    """
    return name in (MANIFEST, FAILURES, REPORT, CLASSES, CONFIG, CARD) or is_shard(name) or is_draft(name)
