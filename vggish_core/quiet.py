"""Imports TensorFlow without its log messages, and without Keras.

`TF_CPP_MIN_LOG_LEVEL` hides nearly everything, but while TensorFlow's libraries load, before its logging is set up,
some lines ("oneDNN custom operations are on ...") go straight to file descriptor 2. There is no switch for them, so
that descriptor is held back during the import, and what is not chatter is passed on afterwards.

Whoever wants to see everything sets `TF_CPP_MIN_LOG_LEVEL` to 0, 1 or 2 beforehand; then nothing is held back.

TensorFlow imports all of Keras at its own import's end, which takes two seconds of five, and does without if that
fails. We let it fail: `tf.keras` imports itself when it is first used.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from vggish_core.cache import cache_directory, has_home

LOG_LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"

_QUIET = "3"
_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog|[IW]\d{4} )|^To enable the following instr"
)
_lock = threading.Lock()


def import_tensorflow() -> Any:
    """The module `tensorflow`, imported without a line on standard error unless the user asked for its log."""
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        return tf
    if not has_home():  # Keras would make a folder called "~"
        os.environ.setdefault("KERAS_HOME", str(cache_directory() / "keras"))
    level = os.environ.setdefault(LOG_LEVEL_VARIABLE, _QUIET)
    with _lock:
        if level != _QUIET:
            with without_keras():
                import tensorflow as tf

            return tf
        with held_back_stderr(), without_keras():
            import tensorflow as tf
    tf.get_logger().setLevel(logging.ERROR)
    return tf


def import_slim() -> Any:
    """The module `tf_slim`."""
    import_tensorflow()
    import tf_slim

    return tf_slim


class _NotNow(MetaPathFinder, Loader):
    """Finds Keras where it is, which TensorFlow asks for, and does not load it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "keras" else None
        if spec:
            spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError("not while TensorFlow is imported")


@contextmanager
def without_keras() -> Iterator[None]:
    """Keras cannot be imported meanwhile, unless it was before."""
    finder = _NotNow()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def without_layer_warnings() -> Iterator[None]:
    """Hides the warnings, one a layer, that TF-Slim makes by calling deprecated parts of Keras."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"`(layer\.apply|tf\.layers\.\w+)` is deprecated", category=UserWarning
        )
        yield


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2 meanwhile; passes on all but TensorFlow's informational lines."""
    try:
        sys.stderr.flush()
        original = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error: nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            with suppress(OSError, AttributeError, ValueError):
                sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)
