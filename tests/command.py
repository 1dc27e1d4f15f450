"""The command, run as a user runs it: a process, its exit status and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
HANG_S = 800.0
"""A command that takes longer hangs: its test fails with all that it printed, before pytest's own limit ends it."""
STANDIN = ["--checkpoint", "standin", "--pca_params", "standin"]


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    out: str
    err: str


def run(
    module: str,
    *arguments: str | Path,
    prefix: Sequence[str] = (),
    cwd: Path = REPOSITORY,
    **environment: str,
) -> Done:
    """`PREFIX python -m MODULE ARGUMENTS` in a folder, the repository's if none is named."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError("\n".join(["the command hangs; it printed", *process.communicate()])) from None
        except BaseException:
            process.kill()
            raise
    return Done(process.returncode, out, err)


def embed(output: Path, *arguments: str | Path, prefix: Sequence[str] = (), **environment: str) -> Done:
    """`python -m pipeline.run` with the stand-in weights, into `output`.

    Unless asked to, it writes no report and does not say how far it is, as it would on a busy machine alone.
    """
    silent = ["--report", "off", "--progress", "off"]
    return run("pipeline.run", "--output", output, *STANDIN, *silent, *arguments, prefix=prefix, **environment)


def manifest(output: Path) -> dict[str, Any]:
    """An output's manifest."""
    return json.loads((output / "manifest.json").read_text())


def failures(output: Path) -> dict[str, dict[str, Any]]:
    """An output's failures by id."""
    lines = (output / "failures.jsonl").read_text().splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}


def shard_bytes(output: Path) -> dict[str, bytes]:
    """An output's record files: name -> bytes."""
    return {path.name: path.read_bytes() for path in sorted(output.glob("embeddings-*"))}


def processes_of(group: int) -> list[str]:
    """Command lines of what still runs in a process group."""
    found = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in found.stdout.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and "Z" not in row[1]]
