"""Where files that are made or fetched once are kept."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "VGGISH_CACHE"
"""Environment variable that names the cache directory; else it is the user's."""


def cache_directory() -> Path:
    """$VGGISH_CACHE, or the user's cache directory for this software; it need not exist yet."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("vggish-pipeline"))
