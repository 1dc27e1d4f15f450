"""Downloads one file over HTTP: whole and verified, or not at all."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from vggish_core.digests import digests
from vggish_core.errors import UserError

_CHUNK_BYTES = 1 << 20
_RETRIED_STATUS = (408, 425, 429)  # and every 5xx


class DownloadError(UserError):
    """A file that could not be downloaded, or was not the right one."""


class NoAnswerError(DownloadError):
    """All attempts were interrupted: there may be no network."""


class _Interrupted(Exception):  # noqa: N818
    """The connection failed; another attempt may do better."""


def download(
    url: str, destination: Path, md5: str, attempts: int = 4, pause_s: float = 1.0, timeout_s: float = 30.0
) -> None:
    """URL -> a file at `destination`, which appears complete and verified by one rename.

    A cut connection is taken up where it was cut. A progress bar shows on a terminal.

    Args:
      url: http or https.
      destination: of the file; its folder is made.
      md5: of the content, in hexadecimal.
      attempts: how often to try.
      pause_s: seconds before the second attempt; doubles for each further one.
      timeout_s: seconds without a byte that count as an interruption.

    Raises:
      DownloadError: if the server refuses, the content is another, or the disk refuses.
      NoAnswerError: if all attempts are interrupted.
    """
    partial = destination.with_name(f"{destination.name}.{os.getpid()}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for attempt in range(1, attempts + 1):
                try:
                    _fetch(url, file, timeout_s)
                    break
                except _Interrupted as error:
                    if attempt == attempts:
                        raise NoAnswerError(f"{url}: {error}, after {attempts} attempts") from error
                    time.sleep(pause_s * 2 ** (attempt - 1))
        found = digests(partial).md5
        if found != md5:
            raise DownloadError(f"{url}: the server sent something else (MD5 {found}, not {md5})")
        partial.replace(destination)
    except OSError as error:
        raise DownloadError(f"{destination} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _fetch(url: str, file: BinaryIO, timeout_s: float) -> None:
    """Appends what is still missing of a URL's content to an open file."""
    from tqdm import tqdm

    have = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with _opened(request, timeout_s) as response:
        if have and response.status != 206:  # the server starts over
            file.seek(0)
            file.truncate()
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=None, leave=False
        ) as bar:
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and file.tell() != total:
            raise _Interrupted(f"the connection ended at byte {file.tell()} of {total}")


def _opened(request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        message = f"the server answers {error.code} {error.reason}"
        if error.code in _RETRIED_STATUS or error.code >= 500:
            raise _Interrupted(message) from error
        raise DownloadError(f"{request.full_url}: {message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"no connection ({getattr(error, 'reason', error)})") from error


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection was cut ({error})") from error
