"""Files of object stores and other file systems that Apache Beam opens, as `pipeline.storage` needs them.

Beam's own calls are not enough by themselves: it takes names for patterns, unpacks what ends in .gz without being
asked, ends an upload as if it were whole when the writer was interrupted, and cannot write an empty object to S3.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Literal, cast

from pipeline.storage import stores
from pipeline.storage.errors import MissingError, StorageError, error_number, is_transient, retried
from pipeline.storage.globs import Glob, below
from pipeline.storage.info import FileInfo
from pipeline.storage.systems import system

IN_MEMORY_BYTES = 32 << 20
"""What is written is held in memory up to this size, beyond it in a temporary file, until it is sent."""
ONE_REQUEST_BYTES = 8 << 20
"""What Google's client sends in one request."""
READ_BUFFER_BYTES = 1 << 18
"""Of our own reader; Beam's readers beneath it fetch ranges of 16 MB."""


def kind(uri: str) -> Literal["file", "folder"] | None:
    """Whether a URI names an object, is what objects' names begin with as if it were a folder, or neither."""
    names_folder = uri.count("/") == 2 or uri.endswith("/")
    if not names_folder and retried(uri, "looking it up", lambda: system(uri).exists(uri)):
        return "file"
    return "folder" if retried(uri, "listing", lambda: next(_listed(below(uri)), None)) else None


def info(uri: str) -> FileInfo:
    """An object's size and version; raises MissingError."""
    return _info(retried(uri, "looking it up", lambda: system(uri).metadata(uri)))


def walk(top: str, glob: Glob, closed: list[StorageError] | None = None) -> Iterator[FileInfo]:
    """The objects below a folder whose relative names match; no store has folders that are closed by themselves."""
    prefix = below(top)
    for metadata in retried(top, "listing", lambda: list(_listed(prefix))):
        relative = metadata.path[len(prefix) :]
        # "name/" without content is what consoles make of a new folder, which may be the one that is listed.
        placeholder = relative == "" or (relative.endswith("/") and not metadata.size_in_bytes)
        if not placeholder and glob.matches(relative):
            yield _info(metadata)


def open_read(uri: str) -> BinaryIO:
    """An object, for reading by ranges."""
    return cast(BinaryIO, io.BufferedReader(_Reader(uri), READ_BUFFER_BYTES))


@contextmanager
def open_write(uri: str) -> Iterator[BinaryIO]:
    """A buffer that becomes an object when the `with` block ends well; otherwise nothing is sent."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
        yield cast(BinaryIO, spool)
        retried(uri, "writing", lambda: _send(cast(BinaryIO, spool), uri))


def delete(uri: str) -> None:
    """Removes an object, if it is there."""
    with suppress(MissingError):
        retried(uri, "deleting", lambda: _delete(uri))


def rename(source: str, target: str) -> None:
    """Copies an object to another name, then removes the first; replaces what was there."""
    files = system(source)
    retried(source, f"copying to {target}", lambda: _checked_copy(files, source, target))
    delete(source)


def mkdirs(uri: str) -> None:
    """Makes a folder where the storage has folders."""
    files = system(uri)
    if files.has_dirs() and not retried(uri, "looking it up", lambda: files.exists(uri)):
        retried(uri, "making the folder", lambda: files.mkdirs(uri))


def _listed(prefix: str) -> Iterator[Any]:
    """Beam's metadata of all objects whose names begin so: its own `match` would read the name as a pattern."""
    try:
        yield from system(prefix)._list(prefix)
    except Exception as error:
        if prefix.startswith("gs://") and error_number(error) == errno.ENOENT:
            bucket = prefix.split("/")[2]
            raise MissingError(prefix, f"there is no bucket {bucket}", "Check its name", errno.ENOENT) from error
        raise


def _delete(uri: str) -> None:
    if uri.startswith("gs://"):  # whose file system reads names as patterns when it deletes
        stores.gcs(uri).delete(uri)
    else:
        system(uri).delete([uri])


def _info(metadata: Any) -> FileInfo:
    """Beam's metadata -> ours; the version is the time of the last change in seconds."""
    return FileInfo(metadata.path, int(metadata.size_in_bytes), f"{metadata.last_updated_in_seconds:.6f}")


def _open(uri: str) -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return system(uri).open(uri, compression_type=CompressionTypes.UNCOMPRESSED)


def _send(spool: BinaryIO, uri: str) -> None:
    """Everything that was written -> the object."""
    from apache_beam.io.filesystem import CompressionTypes

    size = spool.seek(0, os.SEEK_END)
    spool.seek(0)
    if size <= IN_MEMORY_BYTES and uri.startswith("s3://"):
        _put_in_s3(uri, spool.read())
        return
    if size <= ONE_REQUEST_BYTES and uri.startswith("gs://"):
        _put_in_gcs(uri, spool.read())
        return
    file = system(uri).create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    while block := spool.read(1 << 20):
        file.write(block)
    file.close()


def _put_in_gcs(uri: str, data: bytes) -> None:
    """In one request: Beam uploads in a session, which is gone when the answer to its last request is lost."""
    from apache_beam.io.gcp import gcsio

    bucket, name = gcsio.parse_gcs_path(uri)
    stores.gcs(uri).client.bucket(bucket).blob(name).upload_from_string(data, "application/octet-stream", retry=None)


def _put_in_s3(uri: str, data: bytes) -> None:
    """In one request: Beam uploads in parts, which takes three, and of which S3 wants at least one."""
    from apache_beam.io.aws import s3io

    bucket, key = s3io.parse_s3_path(uri)
    stores.s3(uri).client.client.put_object(Bucket=bucket, Key=key, Body=data)


def _checked_copy(files: Any, source: str, target: str) -> None:
    from apache_beam.io.filesystem import BeamIOError

    # S3's returns the errors that others raise.
    errors = {(a, b): error for a, b, error in files.copy([source], [target]) or () if error is not None}
    if errors:
        raise BeamIOError("Copy operation failed", errors)


class _Reader(io.RawIOBase):
    """Reads an object; opens it anew at the same place after an error that passes."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri
        self._file: Any = None
        self._position = 0
        self._file = retried(uri, "opening", lambda: _open(uri))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._position = offset
        elif whence == os.SEEK_CUR:
            self._position += offset
        else:
            self._position = retried(self._uri, "seeking", lambda: int(self._file.seek(offset, whence)))
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = retried(self._uri, "reading", lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, count: int) -> bytes:
        if self._file is None:
            self._file = _open(self._uri)
        try:
            if self._file.tell() != self._position:
                self._file.seek(self._position)
            return cast(bytes, self._file.read(count))
        except Exception as error:
            if is_transient(error):
                self._close_file()
            raise

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        if not self.closed:
            self._close_file()
        super().close()
