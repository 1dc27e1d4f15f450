"""Errors of files, local and remote: one kind of exception, and retries for errors that pass."""

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
LONGEST_ASKED_S = 60.0
"""A server that asks for a longer pause (Retry-After) is asked again after this."""

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
TRANSIENT_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
"""HTTP: time-out, another's write to the same object, too many requests, and the server's own troubles."""

_TRANSIENT_NAMES = (
    "ClientPayloadError",
    "ConnectionError",
    "ConnectionClosed",
    "HTTPClientError",
    "IncompleteRead",
    "ProtocolError",
    "ResponseParserError",
    "ResponseStreaming",
    "Timeout",
)
"""In the names of errors of aiohttp, requests, urllib3 and botocore, or what they derive from; none is imported for
this."""

_ERRNO_OF_KIND = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    PermissionError: errno.EACCES,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
}
"""Exceptions that fsspec raises without a number."""
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
    errno.ELOOP: "Fix the link, which leads back to itself",
}


class StorageError(UserError, OSError):
    """An operation on a file failed.

    Attributes:
      uri: which.
      what: what happened, with the reason.
      remedy: what to do.
      errno: as the operating system numbers such errors; None for content that is not what it should be.
      not_served: a server answered that it has no such file for us: `what` has the status.
    """

    not_served = False

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


class TooLargeError(StorageError):
    """A file is larger than what is wanted of a server."""


class DamagedError(StorageError):
    """A compressed file cannot be unpacked; `truncated` says whether it merely ends too early."""

    truncated = False


class TruncatedError(DamagedError):
    """A compressed file ends too early."""

    truncated = True


class StatusError(Exception):
    """A store answered with an HTTP status that is an error, and perhaps with a time after which to ask again."""

    def __init__(self, code: int, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"HTTP status {code}" + (f": {message}" if message else ""))
        self.code = code
        self.retry_after_s = retry_after_s


class UnansweredError(Exception):
    """A store did not answer, or not to the end. Not an OSError, which aiohttp would wrap in one of its own."""


def explain(error: BaseException, uri: str, doing: str) -> StorageError:
    """Any library's error -> ours; `doing` completes "... failed"."""
    if ours := next((inner for inner in _inner(error) if isinstance(inner, StorageError)), None):
        return ours
    number = error_number(error) or errno.EIO
    if number == errno.ENOENT:
        if doing == "writing" and "://" not in uri:
            return MissingError(uri, "writing failed: its folder is not there", "Make the folder first", number)
        return MissingError(uri, f"{doing} failed: it is not there", _REMEDIES[number], number)
    root = next(filter(_passes, _inner(error, handled=True)), error)
    detail = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    what = f"{doing} failed: {' '.join(str(detail).split())}"
    return StorageError(uri, what, _REMEDIES.get(number, "Check the storage, then try again"), number)


def raise_explained(error: BaseException, uri: str, doing: str) -> NoReturn:
    """Raises what `explain` makes of an error. If that is among its causes, no chain of causes leads back to itself."""
    ours = explain(error, uri, doing)
    raise ours from (ours.__cause__ if any(ours is inner for inner in _inner(error)) else error)


def error_number(error: BaseException) -> int | None:
    """The operating system's number for an error, whichever library it comes from."""
    if (status := status_of(error)) in _ERRNO_OF_STATUS:
        return _ERRNO_OF_STATUS[status]
    for inner in _inner(error):
        if isinstance(inner, OSError) and inner.errno is not None:
            return inner.errno
        if number := next((number for kind, number in _ERRNO_OF_KIND.items() if isinstance(inner, kind)), None):
            return number
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may well succeed in a moment."""
    return any(_passes(inner) for inner in _inner(error, handled=True))


def _passes(error: BaseException) -> bool:
    """Whether this very error, whatever led to it, is of the kind that passes."""
    if _status(error) in TRANSIENT_STATUSES or isinstance(error, UnansweredError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS:
        return True
    return any(name in kind.__name__ for kind in type(error).__mro__ for name in _TRANSIENT_NAMES)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that a storage library's error, or what caused it, carries."""
    return next((status for inner in _inner(error) if (status := _status(inner)) is not None), None)


def _status(error: BaseException) -> int | None:
    """The status of this very error; botocore's carry it in a mapping."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        response = response.get("ResponseMetadata", {})
        return cast("int | None", response.get("HTTPStatusCode"))
    names = ("code", "status", "status_code")
    statuses = (getattr(holder, name, None) for holder in (error, response) for name in names)
    return next((int(status) for status in statuses if isinstance(status, int)), None)


def _inner(error: BaseException, handled: bool = False) -> Iterator[BaseException]:
    """An error, and what caused it; with `handled`, also what was being handled when it was raised."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        item = waiting.pop(0)
        if item is None or any(item is other for other in seen):
            continue
        seen.append(item)
        yield item
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
        except MemoryError:
            raise
        except Exception as error:
            passes = is_transient(error)
            if not passes or attempt == tries:
                times = f" ({tries} times)" if passes and tries > 1 else ""
                raise_explained(error, uri, f"{doing}{times}")
            pause = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
            pause *= random.uniform(0.5, 1)  # apart from others that met the same trouble
            asked = (inner.retry_after_s for inner in _inner(error) if isinstance(inner, StatusError))
            wait(max(pause, min(max(asked, default=0.0), LONGEST_ASKED_S)))
    raise AssertionError("unreachable")


def watched_by(progress: Callable[[], None]) -> None:
    """Has `progress` called now and then while this process waits for a server: it is not stuck."""
    global _progress
    _progress = progress


def wait(seconds: float) -> None:
    """Sleeps, and says every second that nothing is stuck."""
    while seconds > 0:
        _progress()
        time.sleep(min(seconds, 1.0))
        seconds -= 1.0


def going_on() -> None:
    """Says that nothing is stuck."""
    _progress()


def _nobody() -> None: ...


_progress: Callable[[], None] = _nobody
