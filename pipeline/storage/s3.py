"""Beam's file system of S3, with one client a process; an error where there is no bucket."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from apache_beam.io.aws import s3io
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.filesystem import BeamIOError, FileMetadata

from pipeline.storage import stores
from pipeline.storage.errors import MissingError


class S3Files(S3FileSystem):
    """What `pipeline.storage.remote` calls of Beam's; errors are S3's own, not collected."""

    @classmethod
    def scheme(cls) -> str:
        return "s3-shared"  # Beam would find two file systems for s3

    def _list(self, prefix: str) -> Iterator[FileMetadata]:
        found = False
        for path, (size, updated) in stores.s3(prefix).list_files(prefix, with_metadata=True):
            found = True
            yield FileMetadata(path, size, updated)
        if not found:  # as Beam has it of a bucket that does not exist, too
            self._expect_bucket(prefix)

    def _expect_bucket(self, uri: str) -> None:
        from botocore.exceptions import ClientError

        bucket, _ = s3io.parse_s3_path(uri, object_optional=True)
        try:
            stores.s3(uri).client.client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            raise MissingError(uri, f"there is no bucket {bucket}", "Check its name", errno.ENOENT) from error

    def _path_open(self, path: str, mode: str, mime_type: str = "", compression_type: str = "") -> Any:
        return stores.s3(path).open(path, mode, mime_type=mime_type)

    def exists(self, path: str) -> bool:
        return bool(stores.s3(path).exists(path))

    def metadata(self, path: str) -> FileMetadata:
        status = stores.s3(path)._status(path)
        return FileMetadata(path, status["size"], status["last_updated"])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> Any:
        return stores.s3(source_file_names[0]).copy_paths(
            list(zip(source_file_names, destination_file_names, strict=True))
        )

    def delete(self, paths: list[str]) -> None:
        errors = {path: error for path, error in stores.s3(paths[0]).delete_paths(paths).items() if error is not None}
        if errors:
            raise BeamIOError("Delete operation failed", errors)
