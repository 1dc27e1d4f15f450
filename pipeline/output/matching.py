"""Patterns of record files -> the files, compared with the manifest beside them before any of them is read.

What is compared, at the price of the one listing that finds the files and of reading each manifest: that the manifest
says `complete` and no commit or overwrite is under way; that each shard that the manifest names and the pattern stands
for is there; that each has the promised size; and that each file called like a shard is named. Whoever reads a file to
its end compares its sha256 too (`frames`). Shards that a pattern does not stand for are not looked at, nor is anything
where there is no manifest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, cast

from pipeline import storage
from pipeline.errors import UserError
from pipeline.formatting import clips
from pipeline.output import manifest as manifests
from pipeline.output.layout import MANIFEST, STAGED, STATE, OutputError, basename, is_draft, is_shard, join
from pipeline.output.manifest import Manifest
from pipeline.output.tfrecord import RecordError, read_tfrecord
from pipeline.storage.errors import raise_explained
from pipeline.storage.hashed import HashedReader, sha256_of
from pipeline.types import ShardEntry

Incomplete = Literal["refuse", "use"]
"""What becomes of records that are not what the manifest beside them promises: an error, or read as they are."""
_USE = 'to read what is there, --incomplete use (in Python: incomplete="use")'
_FINISH = f"Run the command that makes the data set again, which finishes it; {_USE}"
_RESTORE = f"Copy the data set again, or run the command that makes it again; {_USE}"


class IncompleteError(UserError):
    """Records are not what the manifest beside them promises."""


@dataclass(frozen=True)
class Matched:
    """The files that a pattern stands for.

    Attributes:
      pattern: path, URI or glob.
      files: paths or URIs, by name.
      promised: those of them that a manifest names -> what it says of them; none with `incomplete="use"`.
    """

    pattern: str
    files: tuple[str, ...]
    promised: Mapping[str, ShardEntry] = field(default_factory=dict)

    def frames(self) -> Iterator[tuple[str, bytes]]:
        """Place ("embeddings/a.tfrecord: record 3") and bytes of each record, as `frames` of each file."""
        for uri in self.files:
            yield from frames(uri, self.promised.get(uri))

    def expect_content(self) -> None:
        """Reads the promised files for their sha256 alone: for who hands them to a reader that has none."""
        for uri, entry in self.promised.items():
            _expect_sha256(uri, entry, sha256_of(uri))


def matching(pattern: str, incomplete: Incomplete = "refuse") -> Matched:
    """A path, URI or glob -> the files that it stands for, as promised by the manifests beside them.

    The folder of a data set stands for its record files.

    What workers stage in an output's `_state`, and drafts of its files, are no records: patterns that do not name them
    pass them over.

    Raises:
      RecordError: there is none.
      IncompleteError: they are not as promised, or their manifest cannot be read.
    """
    if incomplete not in ("refuse", "use"):
        raise UserError(f"incomplete={incomplete!r} is neither 'refuse' nor 'use'", "Give one of them")
    pattern = _records_of(pattern)
    found = {file.uri: file.size_bytes for file in storage.match(pattern) if not _passed_over(file.uri, pattern)}
    if not found:
        raise RecordError(f"no file matches {pattern}. Check the path, and quote patterns")
    promised: dict[str, ShardEntry] = {}
    folders: dict[str, dict[str, int]] = defaultdict(dict)
    for uri, size in found.items() if incomplete == "refuse" else ():
        if is_shard(basename(uri)):
            folders[storage.parent(uri)][basename(uri)] = size
    named = storage.named_by(pattern) if folders else None
    for folder, sizes in folders.items():
        manifest = _manifest(folder)
        if manifest is None or named is None:
            continue
        for name in [name for name in sizes if manifest.leaves(name)]:
            del sizes[name], found[join(folder, name)]
        if not found:
            what = f"{pattern}: these shards are left over from a change of their number that has not ended"
            raise IncompleteError(what, f"Name those of {manifest.num_shards} shards; {_USE}")
        expect_whole(folder, manifest, sizes, lambda name, of=folder: named(join(of, name)))  # type: ignore[misc]
        promised.update({join(folder, entry.name): entry for entry in manifest.shards if entry.name in sizes})
    return Matched(pattern, tuple(sorted(found)), promised)


def _records_of(pattern: str) -> str:
    """The folder of a data set -> the pattern of its record files; anything else as it is."""
    if pattern and not set("*?[") & set(pattern) and storage.exists(join(pattern, MANIFEST)):
        return join(pattern, "embeddings-*.tfrecord")
    return pattern


def matching_files(pattern: str, incomplete: Incomplete = "refuse") -> list[str]:
    """As `matching`, the files alone."""
    return list(matching(pattern, incomplete).files)


def expect_whole(
    folder: str, manifest: Manifest, sizes: Mapping[str, int], named: Callable[[str], bool] = lambda name: True
) -> None:
    """Compares the record files of a folder with its manifest.

    Args:
      folder: the output, for messages.
      manifest: its manifest.
      sizes: names of files called like shards -> their bytes.
      named: whether a shard, by its name, is among those to look at.

    Raises:
      IncompleteError: the first difference.
    """
    uri, here = join(folder, MANIFEST), folder or "this folder"
    if manifest.clearing:
        raise IncompleteError(f"{uri}: an overwrite of the data set was begun and has not ended", _FINISH)
    if manifest.pending:
        names = _listed([item.entry.name for item in manifest.pending])
        raise IncompleteError(f"{uri}: a commit was begun and has not ended: {names} pending", _FINISH)
    if not manifest.complete:
        there = f"{len(manifest.shards)} of {manifest.num_shards} shards and {clips(int(manifest.totals['clips_in']))}"
        raise IncompleteError(f"{uri}: the data set is not complete: {there} are there so far", _FINISH)
    promised = {entry.name: entry.bytes for entry in manifest.shards}
    if missing := [name for name in promised if name not in sizes and named(name)]:
        found = f"{here} lacks {len(missing)} of {len(promised)} shards: {_listed(missing)}"
        raise IncompleteError(found, _RESTORE)
    for name, size in sizes.items():
        if name in promised and size != promised[name]:
            found = f"{join(folder, name)} has {size:,} bytes, {promised[name]:,} in {MANIFEST}"
            raise IncompleteError(found, _RESTORE)
    if extra := [name for name in sizes if name not in promised and not manifest.leaves(name)]:
        found = f"{here} holds shards that are not in {MANIFEST}, left over from another data set: {_listed(extra)}"
        raise IncompleteError(found, f"Remove what does not belong there, or name the other files; {_USE}")


def frames(uri: str, promised: ShardEntry | None = None) -> Iterator[tuple[str, bytes]]:
    """A TFRecord file -> place ("embeddings/a.tfrecord: record 3") and bytes of each record.

    Args:
      uri: the file.
      promised: what a manifest says of it; its sha256 is taken while it is read, and compared at its end.

    Raises:
      RecordError: a damaged frame.
      IncompleteError: all frames are sound, and the file is another than was promised.
      OSError: the file cannot be read; names it and the record.
    """
    number = 0
    with storage.open_read(uri) as file:
        reader = HashedReader(file)
        records = read_tfrecord(cast(BinaryIO, reader) if promised else file, uri)
        while True:
            try:
                data = next(records, None)
            except OSError as error:
                raise_explained(error, uri, f"reading record {number}")
            if data is None:
                break
            yield f"{uri}: record {number}", data
            number += 1
    if promised:
        _expect_sha256(uri, promised, reader.sha256.hexdigest())


def _expect_sha256(uri: str, promised: ShardEntry, found: str) -> None:
    if found != promised.sha256:
        was = f"sha256 {found[:12]}…, {promised.sha256[:12]}… in {MANIFEST}"
        raise IncompleteError(f"{uri} was changed: {was}", _RESTORE)


def _manifest(folder: str) -> Manifest | None:
    try:
        return manifests.read(folder)
    except OutputError as error:
        raise IncompleteError(error.found, f"Restore it from a copy; {_USE}") from error


def _passed_over(uri: str, pattern: str) -> bool:
    """Whether a file is one that a run is about to write, which a pattern means only by naming it."""
    staged = STATE not in pattern and f"/{STAGED}/" in f"/{uri}"
    return staged or (is_draft(basename(uri)) and not pattern.endswith(".tmp"))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
