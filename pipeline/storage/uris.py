"""Paths and URIs as text: which of them is of this machine, how they are put together and taken apart. Pure."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from pipeline.storage.globs import below

SCHEME = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")


def is_local(uri: str) -> bool:
    """Whether a path or URI names a file of this machine."""
    return "://" not in uri or SCHEME.match(uri) is None or uri.startswith("file://")


def local_path(uri: str) -> str:
    """A local path or `file://` URI -> the path; a leading `~` is the home folder, as in a shell (`./~`: that name)."""
    if uri.startswith("file://"):
        return unquote(uri[len("file://") :].removeprefix("localhost"))
    return os.path.expanduser(uri) if uri.startswith("~") else uri


def absolute(uri: str) -> str:
    """A path -> the same from the root; a URI of elsewhere as it is."""
    return os.path.abspath(local_path(uri)) if is_local(uri) else uri


def join(base: str, *parts: str) -> str:
    """A folder and names below it -> path or URI; a part that is absolute or a URI itself replaces what is before it.

    >>> join("gs://bucket/a/", "b/c.wav"), join("a", "b"), join("gs://bucket/a", "s3://other/b.wav")
    ('gs://bucket/a/b/c.wav', 'a/b', 's3://other/b.wav')
    """
    for part in parts:
        if part.startswith("/") or ("://" in part and SCHEME.match(part)):
            base = part
        else:
            base = os.path.join(base, part) if is_local(base) else below(base) + part
    return base


def parent(uri: str) -> str:
    """The folder that a file is in, without a slash at its end, unless that is its name; "" for the current folder.

    >>> parent("gs://bucket/a/b.csv"), parent("gs://bucket/a//b.csv"), parent("/a.csv"), parent("a.csv")
    ('gs://bucket/a', 'gs://bucket/a//', '/', '')
    """
    folder, slash, _ = uri.rpartition("/")
    return folder_of(folder) if not is_local(uri) else folder or slash


def folder_of(start: str) -> str:
    """The start of all names in a folder, without the slash -> the folder: `below` gives that slash again."""
    return f"{start}/" if start.endswith("/") else start


def to_bytes(uri: str) -> bytes:
    """A path or URI -> bytes that may travel through Beam, whose text has to be UTF-8; a path's bytes need not be."""
    return uri.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> str:
    """The inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogatepass")
