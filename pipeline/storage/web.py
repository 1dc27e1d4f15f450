"""Files of http:// and https:// servers, asked for as a well-behaved crawler does.

It says who asks, keeps to a number of connections a host, takes no more than it should of a file, waits as long as a
server asks it to (`pipeline.storage.errors`), and looks at every address that it connects to, of redirections too. The
servers of a proxy are not used, and nothing is asked about `robots.txt`: a list names files, and nothing is followed.
"""

from __future__ import annotations

import errno
import http.client
import importlib.metadata
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from pipeline.extras import DISTRIBUTION
from pipeline.settings import Crawl
from pipeline.storage import errors, hosts, slots
from pipeline.storage.answers import RefusedError, expect_range, expect_success, size_of, version_of
from pipeline.storage.errors import StorageError, TooLargeError, UnansweredError, retried
from pipeline.storage.info import FileInfo

TIMEOUT_S = 30.0
"""A server that says nothing for so long is asked again."""
LOOK_UP_S = 10.0
"""The same, while a list's files are looked up."""
MOST_MOVES = 10
_CHUNK = 1 << 18
_MOVED = (301, 302, 303, 307, 308)
_NO_HEAD = (403, 405, 501)
"""Statuses by which servers refuse to speak of a file without giving it: some sign the addresses of GET alone."""
_WORKERS = 16
_SAFE = "/%:@!$&'()*+,;=~"
"""What stays as it is in a path; much of it may be quoted already."""


class WebStore:
    """A `pipeline.storage.remote.Store`, for reading. Arguments as of `Crawl`; by default without its limits.

    Args:
      connections: 0 for any number.
      most_bytes: None for files of any size.
      private: whether private addresses are asked.
      timeout_s: of each wait.
    """

    def __init__(
        self, connections: int = 0, most_bytes: int | None = None, private: bool = True, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._connections = connections
        self._most_bytes = most_bytes
        self._private = private
        self._timeout_s = timeout_s
        self._read: tuple[str, str] = ("", "")

    def info(self, uri: str) -> FileInfo:
        try:
            with self._answered(uri, "HEAD", {}) as answer:
                return FileInfo(uri, size_of(answer) or 0, version_of(answer))
        except RefusedError as error:
            if error.status not in _NO_HEAD:
                raise
        with self._answered(uri, "GET", {"Range": "bytes=0-0"}) as answer:
            return FileInfo(uri, size_of(answer) or 0, version_of(answer))

    def read(self, uri: str, start: int, end: int) -> tuple[bytes, int]:
        """A server that gives no ranges gives all of a file."""
        with self._answered(uri, "GET", {"Range": f"bytes={start}-{end - 1}"}) as answer:
            if answer.status == 416:  # nothing is there
                return b"", size_of(answer) or 0
            self._expect_same(uri, version_of(answer), start)
            size = size_of(answer)
            self._expect_small(uri, size)
            if answer.status == 206:
                expect_range(uri, answer, start)
                data = self._body(uri, answer, end - start)
                return data, start + len(data) if size is None else size
            data = self._body(uri, answer, None)
            return (data if len(data) > end - start else data[start:end]), len(data)

    def read_whole(self, uri: str) -> tuple[bytes, str]:
        with self._answered(uri, "GET", {}) as answer:
            self._expect_small(uri, size_of(answer))
            return self._body(uri, answer, None), version_of(answer)

    def page(self, prefix: str, after: str | None, most: int) -> tuple[list[FileInfo], str | None]:
        """The links of a page: what fsspec makes of it."""
        from pipeline.storage.others import OtherStore

        return OtherStore(prefix).page(prefix, after, most)

    def write(self, uri: str, file: BinaryIO) -> None:
        _refuse(uri)

    def copy(self, source: str, target: str) -> None:
        _refuse(target)

    def delete(self, uri: str) -> None:
        _refuse(uri)

    def mkdirs(self, uri: str) -> None:
        _refuse(uri)

    def write_if(self, uri: str, file: BinaryIO, version: str | None) -> None:
        _refuse(uri)

    @contextmanager
    def _answered(self, uri: str, method: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request, of the server to which redirections lead."""
        target = uri
        for _ in range(MOST_MOVES + 1):
            with self._asked(uri, target, method, headers) as answer:
                moved = answer.headers.get("Location") if answer.status in _MOVED else None
                if moved is None:
                    expect_success(uri, answer)
                    yield answer
                    return
            target = urljoin(target, moved)
        raise StorageError(uri, f"more than {MOST_MOVES} redirections, the last to {target}", "Give another address")

    @contextmanager
    def _asked(
        self, uri: str, target: str, method: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, on a connection of its own."""
        parts, host, port = _parts(uri, target)
        with slots.taken(f"{host}:{port}", self._connections):
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            connection.sock = hosts.connect(uri, host, port, self._private, self._timeout_s)
            try:
                if parts.scheme == "https":
                    connection.sock = _encrypted(uri, connection.sock, host)
                path = quote(parts.path or "/", safe=_SAFE, errors="surrogateescape") + _query(parts)
                connection.request(method, path, headers={**_headers(parts), **headers})
                yield connection.getresponse()
            except (http.client.HTTPException, ssl.SSLError) as error:
                raise UnansweredError(f"{type(error).__name__}: {error}") from error
            finally:
                connection.close()

    def _body(self, uri: str, answer: http.client.HTTPResponse, wanted: int | None) -> bytes:
        """What follows an answer's head, whole; of a range no more than was asked for."""
        data = bytearray()
        while chunk := answer.read(_CHUNK):
            data += chunk
            if wanted is not None and len(data) > wanted:
                what = f"the server gave more than the {wanted} bytes of the range"
                raise StorageError(uri, what, "Report it to whoever runs the server")
            self._expect_small(uri, len(data))
            errors.going_on()
        said = answer.headers.get("Content-Length")
        if said and said.isdigit() and len(data) < int(said):
            raise UnansweredError(f"the answer ended after {len(data)} of {said} bytes")
        return bytes(data)

    def _expect_small(self, uri: str, size: int | None) -> None:
        if self._most_bytes is not None and size is not None and size > self._most_bytes:
            most_mb = self._most_bytes / 2**20
            what = f"the server has {size / 2**20:,.1f} MB or more, the limit is {most_mb:,.1f} MB"
            raise TooLargeError(uri, what, "Raise --max_download_mb")

    def _expect_same(self, uri: str, version: str, start: int) -> None:
        """A file that changes between two ranges is not put together."""
        last, before = self._read
        if start and last == uri and before and version and before != version:
            raise StorageError(uri, "the file changed while it was read", "Run the same command with --retry_failed")
        self._read = uri, version


def look_up(uris: Sequence[str], crawl: Crawl) -> dict[str, FileInfo]:
    """Sizes and versions of files, where servers give them; a server that does not answer is not asked again."""
    store = WebStore(crawl.connections, crawl.most_bytes, crawl.private, LOOK_UP_S)
    silent: set[str] = set()

    def asked(uri: str) -> FileInfo | None:
        host = uri.split("/")[2]  # of an address that is none, too
        if host in silent:
            return None
        try:
            return retried(uri, "looking it up", lambda: store.info(uri), tries=3)
        except (RefusedError, TooLargeError):
            return None
        except StorageError:
            silent.add(host)
            return None

    with ThreadPoolExecutor(min(_WORKERS, len(uris) or 1)) as pool:
        return {info.uri: info for info in pool.map(asked, uris) if info}


def _parts(uri: str, target: str) -> tuple[SplitResult, str, int]:
    """An address -> its parts, host and port. StorageError if it is none of http:// or https://."""
    try:
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https"):
            raise StorageError(uri, f"the server leads to {target}, which is not http:// or https://", "Correct it")
        host, port = parts.hostname or "", parts.port
        if not host or any(char.isspace() or ord(char) < 32 for char in host):
            raise ValueError("there is no host in it")
    except ValueError as error:
        raise StorageError(uri, f"{target!r} is no address: {error}", "Correct it") from error
    try:
        host = host.encode("ascii" if host.isascii() else "idna").decode()
    except UnicodeError as error:
        raise StorageError(uri, f"{host!r} is no host's name: {error}", "Correct it") from error
    return parts, host, port or (443 if parts.scheme == "https" else 80)


def _query(parts: SplitResult) -> str:
    return "?" + quote(parts.query, safe=f"{_SAFE}?", errors="surrogateescape") if parts.query else ""


def _headers(parts: SplitResult) -> dict[str, str]:
    result = {"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
    port = f":{parts.port}" if parts.port else ""
    host = parts.hostname or ""
    host = host if host.isascii() else host.encode("idna").decode()
    result["Host"] = (f"[{host}]" if ":" in host else host) + port
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        result["Authorization"] = "Basic " + b64encode(pair.encode(errors="surrogateescape")).decode()
    return result


@cache
def user_agent() -> str:
    """Who asks: this project's name and version."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "source"
    return f"{DISTRIBUTION}/{version}"


def _encrypted(uri: str, plain: socket.socket, host: str) -> socket.socket:
    try:
        return _context().wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {host} does not hold: {error.verify_message}"
        raise StorageError(uri, what, "Check the address, and this machine's clock and certificates") from error


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _refuse(uri: str) -> None:
    raise StorageError(uri, "nothing can be written to http:// and https://", "Name another place", errno.EROFS)
