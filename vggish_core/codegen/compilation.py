"""Numba compilation that is kept on disk, in the user's cache directory, for the next start.

Numba keys what it keeps by the processor and the compiled function's own file. The folder's name adds Numba's version
and the text of the modules that generate code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba

from vggish_core.cache import CACHE_VARIABLE, cache_directory

_GENERATORS = tuple(
    f"vggish_core.{module}"
    for module in (
        "codegen.vector_code",
        "codegen.tile_products",
        "codegen.intrinsics",
        "network.winograd_transforms",
        "network.winograd_kernels",
    )
)
_log = logging.getLogger(__name__)
_lock = threading.Lock()


def compiled(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """Compiles a function for one signature, or loads it as compiled before; it runs without holding the GIL."""
    directory = cache_directory() / "kernels" / code_version()
    with _lock, _numba_cache(directory):
        kept = _writable(directory)
        return numba.njit(signature, nogil=True, cache=kept)(function)


@lru_cache
def _writable(directory: Path) -> bool:
    """Whether a directory can be made and written; says so, once, if not. Numba would silently choose another one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError as error:
        _log.warning(
            "compiled kernels cannot be kept for the next start (%s); set %s to a folder that can be written",
            error,
            CACHE_VARIABLE,
        )
        return False


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
def code_version() -> str:
    """Stands for Numba's version and the text of the modules that generate code."""
    digest = hashlib.sha256(numba.__version__.encode())
    for name in _GENERATORS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]
