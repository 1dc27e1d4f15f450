"""Beam's import without the packages of clouds, for the command's work on this machine: half as long.

Beam imports its own readers and file systems of clouds wherever their packages are installed, half of its time. None of
them is used here: storage is `pipeline.storage`'s. Beam then is as it is where nobody has installed them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

PACKAGES = ("google.cloud", "apitools", "boto3", "requests", "pymongo")
"""What Beam does without where it is absent."""


class _Absent:
    """An import finder to which some packages are not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if any(name == package or name.startswith(f"{package}.") for package in PACKAGES):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def beam() -> None:
    """Imports Beam so, if nobody has imported it yet; for processes that do nothing else with it."""
    if "apache_beam" in sys.modules:
        return
    sys.modules.setdefault("IPython", None)  # type: ignore[arg-type]  # Beam asks whether this is a notebook
    try:
        with _absent():
            import apache_beam  # noqa: F401
    except ImportError:  # another version of Beam, that needs one of them
        for name in [name for name in sys.modules if name.partition(".")[0] == "apache_beam"]:
            del sys.modules[name]


@contextmanager
def _absent() -> Iterator[None]:
    finder = _Absent()
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
