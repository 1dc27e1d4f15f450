"""Objects of Google Cloud Storage: calls of its JSON API through gcsfs, whose own names fold "a//b"."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

import aiohttp
from gcsfs.core import GCSFileSystem
from yarl import URL

from pipeline.storage.errors import CredentialsError, StatusError, UnansweredError
from pipeline.storage.info import FileInfo, split

_OBJECT, _OBJECTS = "b/{}/o/{}", "b/{}/o"
_FIELDS = "name,size,generation"


async def _whole_answers(request: Any, handler: Any) -> Any:
    """Reads an answer to its end, and raises errors that gcsfs does not try again: `errors.retried` does.

    What Google wants quoted in names, ";" say, aiohttp has unquoted where a URL need not have it so.
    """
    url = request.url
    query = f"?{url.raw_query_string}" if url.raw_query_string else ""
    request.url = URL(f"{url.origin()}{quote(url.raw_path, safe='/%')}{query}", encoded=True)
    try:
        answer = await handler(request)
        content = await answer.read()
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise UnansweredError(str(error) or type(error).__name__) from error
    if answer.status < 400:
        return answer
    try:
        message = str(json.loads(content)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = content[:200].decode(errors="replace")
    raise StatusError(answer.status, message)


class GoogleStore:
    """A `pipeline.storage.remote.Store`. Raises CredentialsError.

    Args:
      anonymous: without credentials.
      scopes: that credentials are asked for.
      impersonate: a service account, or a chain of them with commas between.
    """

    def __init__(
        self, uri: str, anonymous: bool = False, scopes: Sequence[str] = (), impersonate: str | None = None
    ) -> None:
        self._files = GCSFileSystem(
            token="anon" if anonymous else _credentials(uri, list(scopes), impersonate),
            skip_instance_cache=True,
            use_listings_cache=False,
            session_kwargs={
                "middlewares": (_whole_answers,),
                "auto_decompress": False,  # objects are what is stored
                "timeout": aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60),
            },
        )

    def _call(self, method: str, path: str, *names: str, **options: Any) -> Any:
        headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
        _, content = self._files.call(method, path, *names, headers=headers, **options)
        return json.loads(content) if content else {}

    def info(self, uri: str) -> FileInfo:
        return _info(uri, self._call("GET", _OBJECT, *split(uri), fields=_FIELDS))

    def page(self, prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]:
        bucket, start = split(prefix)
        fields = f"items({_FIELDS}),nextPageToken"
        found = self._call("GET", _OBJECTS, bucket, prefix=start, pageToken=after, maxResults=most, fields=fields)
        top = prefix[: len(prefix) - len(start)]
        return [_info(top + item["name"], item) for item in found.get("items", ())], found.get("nextPageToken")

    def read(self, uri: str, start: int, end: int, **options: Any) -> tuple[bytes, int]:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "gzip"}  # which keeps it as it is stored
        try:
            found, content = self._files.call("GET", _OBJECT, *split(uri), headers=headers, alt="media", **options)
        except StatusError as error:
            if error.code == 416:
                return b"", start
            raise
        return content, int(found.get("Content-Range", f"/{len(content)}").rpartition("/")[2])

    def write(self, uri: str, file: BinaryIO, **conditions: Any) -> None:
        """In one request: of an upload in parts, the answer to the last may be lost, and the session with it."""
        bucket, name = split(uri)
        size = file.seek(0, os.SEEK_END)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        where = self._files.base.replace("/storage/v1/", "/upload/storage/v1/") + _OBJECTS
        options = {"name": name, "uploadType": "media", **conditions}
        self._call("POST", where, bucket, headers=headers, data=_pieces(file), **options)

    def copy(self, source: str, target: str) -> None:
        path, names = f"{_OBJECT}/rewriteTo/{_OBJECT}", (*split(source), *split(target))
        token = self._call("POST", path, *names).get("rewriteToken")
        while token:  # of a large object
            token = self._call("POST", path, *names, rewriteToken=token).get("rewriteToken")

    def delete(self, uri: str) -> None:
        self._call("DELETE", _OBJECT, *split(uri))

    def mkdirs(self, uri: str) -> None: ...

    def read_whole(self, uri: str) -> tuple[bytes, str]:
        _, size, version = self.info(uri)
        return self.read(uri, 0, max(1, size), generation=version)[0], version

    def write_if(self, uri: str, file: BinaryIO, version: str | None) -> None:
        self.write(uri, file, ifGenerationMatch=version or "0")


def _info(uri: str, found: dict[str, Any]) -> FileInfo:
    return FileInfo(uri, int(found["size"]), str(found["generation"]))


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    file.seek(0)
    while piece := file.read(1 << 20):
        yield piece


def _credentials(uri: str, scopes: list[str], impersonate: str | None) -> Any:
    """The credentials that Google's library finds on this machine; gcsfs itself would go on without any."""
    import google.auth
    from google.auth import exceptions, impersonated_credentials

    scopes = scopes or ["https://www.googleapis.com/auth/devstorage.full_control"]
    try:
        found, _ = google.auth.default(scopes=scopes)
    except exceptions.DefaultCredentialsError as error:
        raise CredentialsError(
            uri,
            "there are no Google credentials",
            "Sign in with `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or read what is"
            " public with --gcs_anonymous",
            errno.EACCES,
        ) from error
    if impersonate:
        *chain, account = impersonate.split(",")
        found = impersonated_credentials.Credentials(found, account, target_scopes=scopes, delegates=chain)
    return found
