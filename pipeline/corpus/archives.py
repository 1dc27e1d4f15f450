"""Archives among listed files: each member is a clip, as if the archive were a folder of its name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.corpus.exclusion import Exclusion
from pipeline.corpus.ids import as_utf8, id_of
from pipeline.corpus.not_audio import says_no_audio
from pipeline.storage import containers
from pipeline.storage.containers.members import Listing, Member, is_hidden
from pipeline.types import Clip, Failure

AT_A_TIME = 16
"""Archives that are listed at a time: of remote ones it is the answers that take long."""


@dataclass
class Found:
    """A clip, or why there is none, of a listed file or of a member of one.

    Attributes:
      item: which.
      path: of the file below the listing's top, in which an archive is a folder of its name: "a/b/c.wav".
      beside: the content of the file beside it that was asked for; None where there is none, or it cannot be read.
    """

    item: Clip | Failure
    path: str
    beside: bytes | None = None


def opened(
    files: Sequence[storage.FileInfo],
    below: int,
    listed: bool,
    exclusion: Exclusion,
    notes: list[str],
    beside: str = "",
) -> Iterator[Found]:
    """Listed files -> a clip for each, and of archives for each of their members; failures for what cannot be read.

    Hidden members are left out, like hidden files in folders; so are files that were asked for beside others.

    Args:
      files: what is left of a listing.
      below: the length of what their paths are below of.
      listed: a pattern found the files, which may not be audio.
      exclusion: of members, by their paths.
      notes: takes lines for the user.
      beside: the extension of files whose content is wanted with those beside them; "" for none.
    """
    stems = _stems((file.uri for file in files), beside)
    read = 0
    for file, inside in _listings(files, beside):
        path = as_utf8(file.uri[below:]) if storage.is_local(file.uri) else file.uri[below:]
        if isinstance(inside, Listing):
            notes += [f"{file.uri}: {note}." for note in inside.notes]
            of_members = _stems((member.name for member in inside.members), beside)
            read += sum(_is_beside(member.name, beside, of_members) for member in inside.members)
            yield from _members(file, path, inside, exclusion, beside, of_members)
        elif isinstance(inside, storage.StorageError):
            reason = "missing" if isinstance(inside, storage.MissingError) else "unreadable"
            yield _failed(file, path, reason, inside.what)
        elif _is_beside(file.uri, beside, stems):
            read += 1
        else:
            clip_id = path if says_no_audio(path) else id_of(path)
            clip = Clip(clip_id, file.uri, size_bytes=file.size_bytes, version=file.version, listed=listed)
            yield Found(clip, path, inside)
    if read:
        notes.append(f"{read:,} {beside} file{'s' if read > 1 else ''} read as labels, not as audio.")


def _stems(names: Iterable[str], beside: str) -> set[str]:
    """Names without extension of those that may have a file beside them."""
    return (
        {stem for name in names if not name.lower().endswith(beside) for stem in _stems_of(name)} if beside else set()
    )


def _stems_of(name: str) -> tuple[str, str]:
    """What a file beside another is called without extension: the other's name without its own, or up to the first
    dot, as WebDataset has it."""
    folder, slash, last = name.rpartition("/")
    return id_of(name), f"{folder}{slash}{last.partition('.')[0]}"


def _is_beside(name: str, beside: str, stems: set[str]) -> bool:
    return bool(beside) and name.lower().endswith(beside) and name[: -len(beside)] in stems


_Inside = Listing | storage.StorageError | bytes | None


def _listings(files: Sequence[storage.FileInfo], beside: str) -> Iterator[tuple[storage.FileInfo, _Inside]]:
    """Files -> of archives what is in them, of others the content of the file beside them; some are read at a time."""
    waiting: deque[tuple[storage.FileInfo, Future[Any] | None]] = deque()
    with ThreadPoolExecutor(AT_A_TIME, "archives") as threads:
        reading = 0
        for file in files:
            future: Future[Any] | None = None
            if containers.kind_of(file.uri) is not None:
                future = threads.submit(containers.list_members, file, _ending(beside))
            elif beside and not file.uri.lower().endswith(beside):
                future = threads.submit(_beside, file.uri, beside)
            waiting.append((file, future))
            reading += future is not None
            while waiting and (waiting[0][1] is None or reading > AT_A_TIME):
                reading -= waiting[0][1] is not None
                yield _taken(*waiting.popleft())
        while waiting:
            yield _taken(*waiting.popleft())


def _ending(beside: str) -> Callable[[str], bool]:
    return lambda name: bool(beside) and name.lower().endswith(beside)


def _beside(uri: str, beside: str) -> bytes | None:
    for stem in dict.fromkeys(_stems_of(uri)):
        with suppress(storage.StorageError):
            return storage.read_whole(f"{stem}{beside}")[0]
    return None


def _taken(file: storage.FileInfo, future: Future[Any] | None) -> tuple[storage.FileInfo, _Inside]:
    try:
        return file, None if future is None else future.result()
    except storage.CredentialsError:
        raise
    except storage.StorageError as error:
        return file, error


def _members(
    file: storage.FileInfo, path: str, listing: Listing, exclusion: Exclusion, beside: str, stems: set[str]
) -> Iterator[Found]:
    """What an archive holds; its path is in UTF-8."""
    if containers.split(containers.uri_of(file.uri, ""))[0] != file.uri:
        yield _failed(file, path, "unreadable", f"its path has {containers.SEPARATOR!r} behind the name of an archive")
        return
    texts = {member.name[: -len(beside)]: member.content for member in listing.members if member.content is not None}
    for member in listing.members:
        within = f"{path}/{member.name}"
        hidden = is_hidden(member.name) or _is_beside(member.name, beside, stems)
        if not hidden and not exclusion.leaves_out(f"{file.uri}/{member.name}", within):
            text = next((texts[stem] for stem in _stems_of(member.name) if stem in texts), None)
            yield Found(_item(file, path, member), f"{id_of(path)}/{member.name}", text)
    if listing.reason:
        behind = f"what lies behind its first {len(listing.members):,} members cannot be read: {listing.what}"
        yield _failed(file, path, listing.reason, behind)


def _failed(file: storage.FileInfo, path: str, reason: str, message: str) -> Found:
    clip = Clip(path, file.uri, size_bytes=file.size_bytes, version=file.version, listed=True)
    return Found(Failure(clip, "find", reason, message), path)


def _item(file: storage.FileInfo, path: str, member: Member) -> Clip | Failure:
    name = member.name if says_no_audio(member.name) else id_of(member.name)
    clip = Clip(
        f"{id_of(path)}/{name}",
        containers.uri_of(file.uri, member.name),
        size_bytes=member.size_bytes,
        version=file.version,
        listed=True,
        place=member.place,
    )
    return Failure(clip, "find", member.reason, member.what) if member.reason else clip
