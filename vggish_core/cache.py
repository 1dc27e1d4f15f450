"""The cache directory, for files that are made or downloaded once."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import lru_cache
from pathlib import Path

_log = logging.getLogger(__name__)

CACHE_VARIABLE = "VGGISH_CACHE"
"""Environment variable that names the cache directory; else it is the user's."""


def cache_directory() -> Path:
    """$VGGISH_CACHE, or the user's cache directory for this software; it need not exist yet.

    A user without a home (a container's, who has neither an entry in passwd nor $HOME) has one of temporary files.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    from platformdirs import user_cache_dir

    try:
        return Path(user_cache_dir("vggish-pipeline"))
    except (RuntimeError, KeyError) as error:
        return _without_home(tempfile.gettempdir(), str(error))


def keep(place: Path, data: bytes) -> None:
    """Writes a file of the cache, whole or not at all; raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    number, draft = tempfile.mkstemp(prefix=f"{place.name}.", dir=place.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(draft).replace(place)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def has_home() -> bool:
    """Whether this user has a home directory."""
    try:
        return Path.home().is_absolute()
    except (RuntimeError, KeyError):
        return False


@lru_cache
def _without_home(temporary: str, why: str) -> Path:
    folder = Path(temporary) / "vggish-cache"
    _log.warning("what is made once is kept in %s (%s); set %s to a folder that lasts", folder, why, CACHE_VARIABLE)
    return folder
