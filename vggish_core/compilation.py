"""Numba compilation that is kept on disk, in the user's cache directory, for the next start.

Numba keys what it keeps by its own version and the processor; the folder's name adds the text of the modules that
generate code, because Numba looks at the compiled function's own file only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba

CACHE_VARIABLE = "VGGISH_CACHE"
"""Environment variable that names the cache directory; else it is the user's."""

_GENERATORS = ("vggish_core.vector_code", "vggish_core.winograd_transforms", "vggish_core.winograd_kernels")
_log = logging.getLogger(__name__)
_lock = threading.Lock()


def cache_directory() -> Path:
    """Where compiled code is kept: $VGGISH_CACHE, or the user's cache directory for this software."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("vggish-pipeline"))


def compiled(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """Compiles a function for one signature, or loads it as compiled before; it runs without holding the GIL."""
    with _lock, _numba_cache(cache_directory() / "kernels" / _code_version()):
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError) as error:  # a cache that cannot be written, say
            _log.warning("compiled kernels are not kept for the next start: %s (set %s)", error, CACHE_VARIABLE)
            return numba.njit(signature, nogil=True)(function)


@contextmanager
def _numba_cache(directory: Path) -> Iterator[None]:
    """Numba reads its cache directory when a function is declared; there is no argument for it."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = os.fspath(directory)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@lru_cache(maxsize=1)
def _code_version() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for name in _GENERATORS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]
