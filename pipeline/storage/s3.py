"""Objects of S3, and of whatever speaks its language: calls of its API through s3fs, whose own names fold "a//b"."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any, BinaryIO

import s3fs
from botocore.exceptions import BotoCoreError
from fsspec.asyn import sync

from pipeline.storage.errors import CredentialsError, status_of
from pipeline.storage.info import FileInfo, split

PART_BYTES = 64 << 20
"""Larger objects are sent in parts of this size: one request takes 5 GB at most."""
_CONFIG = {
    "connect_timeout": 20,
    "read_timeout": 60,
    "retries": {"total_max_attempts": 1},  # `errors.retried` tries again
    "max_pool_connections": 50,
}


class S3Store:
    """A `pipeline.storage.remote.Store`, made with options of `s3fs.S3FileSystem`. Raises CredentialsError."""

    def __init__(self, uri: str, **options: Any) -> None:
        self._files = s3fs.S3FileSystem(
            skip_instance_cache=True, use_listings_cache=False, config_kwargs=_CONFIG, **options
        )
        self._files.retries = 1
        if not self._has_credentials(uri):
            raise CredentialsError(
                uri,
                "there are no S3 credentials",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or whatever else boto3 finds",
                errno.EACCES,
            )

    def _has_credentials(self, uri: str) -> bool:
        try:
            self._files.connect()
            return self._files.key or sync(self._files.loop, self._files.session.get_credentials) is not None
        except BotoCoreError as error:  # a profile that is not there, half a key
            raise CredentialsError(
                uri,
                f"the S3 credentials cannot be used: {error}",
                "Check AWS_PROFILE and the other AWS_ variables, and the files in ~/.aws",
                errno.EACCES,
            ) from error

    def _call(self, method: str, uri: str, **options: Any) -> dict[str, Any]:
        bucket, key = split(uri)
        answer: dict[str, Any] = self._files.call_s3(method, Bucket=bucket, Key=key, **options)
        return answer

    def _content(self, answer: dict[str, Any]) -> bytes:
        async def content() -> bytes:
            async with answer["Body"] as body:
                return await body.read()  # type: ignore[no-any-return]

        data: bytes = sync(self._files.loop, content)
        return data

    def info(self, uri: str) -> FileInfo:
        found = self._call("head_object", uri)
        return FileInfo(uri, found["ContentLength"], _version(found))

    def page(self, prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]:
        bucket, start = split(prefix)
        more = {"ContinuationToken": after} if after else {}
        found = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=start, MaxKeys=most, **more)
        top = prefix[: len(prefix) - len(start)]
        items = [FileInfo(top + item["Key"], item["Size"], _version(item)) for item in found.get("Contents", ())]
        return items, found.get("NextContinuationToken")

    def read(self, uri: str, start: int, end: int) -> tuple[bytes, int]:
        try:
            found = self._call("get_object", uri, Range=f"bytes={start}-{end - 1}")
        except Exception as error:
            if status_of(error) == 416:
                return b"", start
            raise
        data = self._content(found)
        return data, int(found.get("ContentRange", f"/{len(data)}").rpartition("/")[2])

    def write(self, uri: str, file: BinaryIO) -> None:
        if file.seek(0, os.SEEK_END) <= PART_BYTES:
            self._put(uri, file)
            return
        upload = {"UploadId": self._call("create_multipart_upload", uri)["UploadId"]}
        try:
            file.seek(0)
            parts: list[dict[str, Any]] = []
            while part := file.read(PART_BYTES):
                number = len(parts) + 1
                done = self._call("upload_part", uri, Body=part, PartNumber=number, **upload)
                parts.append({"PartNumber": number, "ETag": done["ETag"]})
            self._call("complete_multipart_upload", uri, MultipartUpload={"Parts": parts}, **upload)
        except BaseException:
            with suppress(Exception):
                self._call("abort_multipart_upload", uri, **upload)
            raise

    def _put(self, uri: str, file: BinaryIO, **conditions: str) -> None:
        file.seek(0)
        self._call("put_object", uri, Body=file.read(), **conditions)

    def copy(self, source: str, target: str) -> None:
        bucket, key = split(source)
        self._call("copy_object", target, CopySource={"Bucket": bucket, "Key": key})

    def delete(self, uri: str) -> None:
        self._call("delete_object", uri)

    def mkdirs(self, uri: str) -> None: ...

    def read_whole(self, uri: str) -> tuple[bytes, str]:
        found = self._call("get_object", uri)
        return self._content(found), _version(found)

    def write_if(self, uri: str, file: BinaryIO, version: str | None) -> None:
        self._put(uri, file, **({"IfMatch": version.partition(" ")[0]} if version else {"IfNoneMatch": "*"}))


def _version(found: dict[str, Any]) -> str:
    """The ETag, which is the content's, and the time, which is exact to a second."""
    return f"{found['ETag']} {found['LastModified']:%Y-%m-%dT%H:%M:%SZ}"
