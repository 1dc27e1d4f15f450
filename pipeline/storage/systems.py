"""A URI -> Beam's file system for it."""

from __future__ import annotations

from typing import Any

from pipeline.storage import stores
from pipeline.storage.errors import StorageError


def system(uri: str) -> Any:
    """Beam's file system for a URI.

    Raises:
      StorageError: there is none, or there are no credentials for it.
    """
    from apache_beam.io.filesystems import FileSystems

    here = stores.options()
    if uri.startswith("s3://"):
        from pipeline.storage.s3 import S3Files

        return S3Files(here)
    try:
        found = FileSystems.get_filesystem(uri)
    except ValueError as error:
        kind = f"{uri.partition('://')[0]}://"
        raise StorageError(uri, f"there is no storage for {kind}", "Give a local path, gs:// or s3://") from error
    if uri.startswith("gs://"):
        found._gcsIO = lambda: stores.gcs(uri)
    return found
