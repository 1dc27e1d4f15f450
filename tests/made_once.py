"""What is costly to make and not changed is made once a session, whichever of its processes asks first. Not a test."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Once = Callable[[str, Callable[[Path], object]], Path]
"""(name, what fills a folder) -> the folder, filled; not to be changed."""


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes folders that all processes of the session share."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base  # each process has its own in the session's

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file
            if not folder.exists():
                draft = tmp_path_factory.mktemp(name)
                fill(draft)
                draft.rename(folder)
        return folder

    return made
