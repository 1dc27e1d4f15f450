"""Runs modules of this software as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder that holds `vggish_core` and `pipeline`. A process of `-m` that starts in it finds these, whatever else
is called so where the user is."""


def run_module(name: str, *arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    """`python -m NAME ARGUMENTS` where the user is -> its exit status, and what it printed."""
    path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", name, *(os.fspath(each) for each in arguments)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed process wrote to standard error, or its exit status."""
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
