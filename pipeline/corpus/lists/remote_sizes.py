"""Sizes and versions of the remote files that a list names, where these can be had cheaply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipeline import storage
from pipeline.corpus.packed import Packed
from pipeline.corpus.tables import SourceError
from pipeline.settings import Crawl
from pipeline.types import Clip

LISTED_FOLDERS = 100
"""Files of a manifest in object stores have their sizes and versions from listings, if they are in so few folders."""
ASKED_URLS = 1000
"""Servers are asked about each file, if there are so few."""


def with_sizes(uri: str, clips: Packed[Clip], crawl: Crawl) -> Packed[Clip]:
    """Clips with the sizes and versions of remote files, where these can be had cheaply. Others have size 0: their
    files are not looked for again once they are embedded.

    Servers of http:// and https:// are asked for each file of a list, if it names few; the version is the ETag, or the
    time of the last change.

    Raises:
      SourceError: none of the list's files can be there, since there is no such bucket.
      CredentialsError: there are none for its files.
    """
    known: dict[str, storage.FileInfo] = {}
    urls: set[str] = set()
    all_folders: set[str] = set()
    for clip in clips:
        if not storage.is_url(clip.uri):
            all_folders.add(storage.parent(clip.uri))
        elif len(urls) <= ASKED_URLS:
            urls.add(clip.uri)
    if len(urls) <= ASKED_URLS:
        known.update(storage.look_up(sorted(urls), crawl))
    folders = {folder for folder in all_folders if not storage.is_local(folder)}
    lost = _missing_buckets(folders)
    if lost and len(folders) == len(all_folders) and not urls:
        raise SourceError(f"{uri}: there is no bucket {', '.join(lost)}, in which its audio is to be", "Check its name")
    for folder in sorted(folders) if len(folders) <= LISTED_FOLDERS else ():
        try:
            known.update((file.uri, file) for file in storage.list_folder(folder))
        except storage.CredentialsError:
            raise
        except storage.StorageError:  # a bucket that is not there, say: the clips' reader will tell
            continue
    return Packed(sized(clip, known.get(clip.uri)) for clip in clips)


def _missing_buckets(folders: Iterable[str]) -> list[str]:
    """Folders in stores -> the buckets, if none of them is there; one that is leaves the others to their clips."""
    buckets = sorted({"/".join(folder.split("/")[:3]) + "/" for folder in folders})
    for bucket in buckets[:LISTED_FOLDERS]:
        try:
            storage.expect_bucket(bucket)
        except storage.MissingError:
            continue
        except storage.CredentialsError:
            raise
        except storage.StorageError:  # the clips' reader will tell
            pass
        return []
    return [bucket.split("/")[2] for bucket in buckets]


def sized(clip: Clip, info: storage.FileInfo | None) -> Clip:
    """A clip with its file's size and version; without these, its reader may find it or will say why not."""
    return replace(clip, size_bytes=info.size_bytes, version=info.version) if info else clip
