"""What the heads of web servers' answers say: whether there is a file, its size and version, when to ask again."""

from __future__ import annotations

import email.utils
import errno
import http.client
import time

from pipeline.storage.errors import MissingError, StatusError, StorageError

_NOT_SERVED = (403, 404, 410)


class RefusedError(StorageError):
    """A server does not serve a file."""

    not_served = True
    status = 0


class RefusedAsMissingError(RefusedError, MissingError):
    """A server has no such file."""


def expect_success(uri: str, answer: http.client.HTTPResponse) -> None:
    """Looks at an answer's status; a range beyond a file's end is no error.

    Raises:
      RefusedError: the server does not give the file.
      StatusError: any other status that is an error, which may pass.
      StorageError: a redirection without a goal.
    """
    status = answer.status
    if 200 <= status < 300 or status == 416:
        return
    said = f"HTTP status {status} ({answer.reason})"
    if status in _NOT_SERVED:
        kind = RefusedError if status == 403 else RefusedAsMissingError
        number = errno.EACCES if status == 403 else errno.ENOENT
        error = kind(uri, said, "Check the address, and whether it asks for a login", number)
        error.status = status
        raise error
    if 300 <= status < 400:
        raise StorageError(uri, f"{said}, without an address to go on to", "Give another address")
    raise StatusError(status, answer.reason, retry_after_s(answer))


def retry_after_s(answer: http.client.HTTPResponse) -> float:
    """Seconds after which a server wants to be asked again, which may be a date; 0 if it does not say."""
    said = (answer.headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


def size_of(answer: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file, if the answer says."""
    if answer.status in (206, 416):
        said = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
    else:
        said = answer.headers.get("Content-Length") or ""
    said = said.strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None


def version_of(answer: http.client.HTTPResponse) -> str:
    """What changes when the file does, "" if the server does not say."""
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def expect_range(uri: str, answer: http.client.HTTPResponse, start: int) -> None:
    """Raises StorageError if a server gives another part of a file than was asked for."""
    said = answer.headers.get("Content-Range") or ""
    first = said.removeprefix("bytes").strip().partition("-")[0]
    if first.isascii() and first.isdigit() and int(first) != start:
        raise StorageError(
            uri, f"the server gave {said} for bytes from {start} on", "Report it to whoever runs the server"
        )
