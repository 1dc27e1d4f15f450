"""What goes wrong with files, wherever they are: one kind of exception, and another try for what passes."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar, cast

from pipeline.errors import UserError

T = TypeVar("T")

TRIES = 12
"""Where one request in five fails, so many fail in a row for one operation in 240 million."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 4.0
"""Pauses double up to this. All of them together take 18 to 36 s, and the first four outlast an outage of 3 s."""

TRANSIENT_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP: time-out, too many requests, and the server's own troubles."""

_TRANSIENT_NAMES = (
    "ConnectionError",
    "ConnectionClosed",
    "IncompleteRead",
    "ProtocolError",
    "ResponseStreaming",
    "Timeout",
)
"""In the names of errors of requests, urllib3 and botocore that derive from no other; none is imported for this."""

_ERRNO_OF_STATUS = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 412: errno.EEXIST}
_REMEDIES = {
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path: a part of it is a file, not a folder",
    errno.EISDIR: "Name a file, not a folder",
    errno.EACCES: "Check the permissions, or the credentials",
    errno.EPERM: "Check the permissions",
    errno.EROFS: "Choose a place that can be written to",
    errno.ENOSPC: "Make space",
    errno.EDQUOT: "Make space within the quota",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.ELOOP: "Mend the link, which leads back to itself",
}


class StorageError(UserError, OSError):
    """An operation on a file failed.

    Attributes:
      uri: which.
      what: what happened, with the reason.
      remedy: what to do.
      errno: as the operating system numbers such errors; None for content that is not what it should be.
    """

    def __init__(self, uri: str, what: str, remedy: str, number: int | None = None) -> None:
        super().__init__(f"{uri}: {what}", remedy)
        self.args = (uri, what, remedy, number)  # what Beam makes another one of, with the name of the step
        self.uri = uri
        self.what = what
        self.remedy = remedy
        self.errno = number
        self.strerror = what

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self.what, self.remedy, self.errno))


class MissingError(StorageError, FileNotFoundError):
    """There is no such file."""


class CredentialsError(StorageError):
    """There are no credentials for a kind of storage: none of its files can be read."""


class DamagedError(StorageError):
    """A compressed file cannot be unpacked; `truncated` says whether it merely ends too early."""

    truncated = False


class TruncatedError(DamagedError):
    """A compressed file ends too early."""

    truncated = True


def explain(error: BaseException, uri: str, doing: str) -> StorageError:
    """Any library's error -> ours; `doing` completes "... failed"."""
    if ours := next((inner for inner in _inner(error) if isinstance(inner, StorageError)), None):
        return ours
    number = error_number(error) or errno.EIO
    if number == errno.ENOENT:
        return MissingError(uri, f"{doing} failed: it is not there", _REMEDIES[number], number)
    # Beam collects errors in one of its own, whose text is a listing of theirs.
    plain = [inner for inner in _inner(error) if not getattr(inner, "exception_details", None)]
    root = next((inner for inner in (*filter(_passes, _inner(error, handled=True)), *plain)), error)
    detail = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    what = f"{doing} failed: {' '.join(str(detail).split())}"
    return StorageError(uri, what, _REMEDIES.get(number, "Check the storage, then try again"), number)


def raise_explained(error: BaseException, uri: str, doing: str) -> NoReturn:
    """Raises what `explain` makes of an error. If that is among its causes, no chain of causes leads back to itself."""
    ours = explain(error, uri, doing)
    raise ours from (ours.__cause__ if any(ours is inner for inner in _inner(error)) else error)


def error_number(error: BaseException) -> int | None:
    """The operating system's number for an error, whichever library it comes from."""
    for inner in _inner(error):
        status = status_of(inner)
        if status in _ERRNO_OF_STATUS:
            return _ERRNO_OF_STATUS[status]
        if isinstance(inner, OSError) and inner.errno is not None:
            return inner.errno
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may well succeed in a moment."""
    return any(_passes(inner) for inner in _inner(error, handled=True))


def _passes(error: BaseException) -> bool:
    """Whether this very error, whatever led to it, is of the kind that passes."""
    if status_of(error) in TRANSIENT_STATUSES or isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS:
        return True
    return any(name in type(error).__name__ for name in _TRANSIENT_NAMES)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that a storage library's error carries; botocore's carry it in a mapping."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        response = response.get("ResponseMetadata", {})
        return cast("int | None", response.get("HTTPStatusCode"))
    statuses = (getattr(holder, name, None) for holder in (error, response) for name in ("code", "status_code"))
    return next((int(status) for status in statuses if isinstance(status, int)), None)


class _StatusError(Exception):
    """An HTTP status that a batch operation gave in place of an exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP status {code}")
        self.code = code


def _inner(error: BaseException, handled: bool = False) -> Iterator[BaseException]:
    """An error, what Beam collected in it (exceptions or HTTP statuses by file), and what caused it.

    With `handled`, also what was being handled when it was raised: Beam's S3 client fails over errors without an HTTP
    answer, and raises an AttributeError of its own.
    """
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        item = waiting.pop(0)
        if item is None or any(item is other for other in seen):
            continue
        seen.append(item)
        yield item
        details = getattr(item, "exception_details", None)
        for value in (details or {}).values():
            if isinstance(value, BaseException):
                waiting.append(value)
            elif isinstance(value, int):
                waiting.append(_StatusError(value))
        waiting.append(item.__cause__)
        if handled and not item.__suppress_context__:
            waiting.append(item.__context__)


def retried(uri: str, doing: str, call: Callable[[], T], tries: int = TRIES) -> T:
    """The result of `call`, tried again while its errors are of the kind that passes.

    Raises:
      StorageError: the last error's reason, and how often it was tried.
    """
    for attempt in range(1, tries + 1):
        try:
            return call()
        except Exception as error:
            passes = is_transient(error)
            if not passes or attempt == tries:
                times = f" ({tries} times)" if passes and tries > 1 else ""
                raise_explained(error, uri, f"{doing}{times}")
            pause = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
            time.sleep(pause * random.uniform(0.5, 1))  # apart from others that met the same trouble
    raise AssertionError("unreachable")
