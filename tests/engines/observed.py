"""Python, run as it would be, with an eye on two things: models that are loaded, and elements that are encoded.

`python -m tests.engines.observed LOG -m MODULE ARGUMENTS` or `… LOG -c CODE`, for the command and for engines' workers
alike. LOG gets lines: `model PID` for each model that a process loads, `batch PID` for each call of it, `rows N` when a
call has embedded N examples, and `element BYTES TYPE` for each element encoded that is larger than those of its type
before, in that process. While the file LOG.slow exists, each batch but the first of a model takes as many seconds more
as it says. Not a test itself.
"""

from __future__ import annotations

import itertools
import os
import runpy
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


def observe(log: str) -> AbstractContextManager[Any]:
    """Wraps what is watched; a context, within which it is."""
    from pipeline.embedding import models
    from tests import graph

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    load, slow = models.load, Path(f"{log}.slow")

    def note(line: str) -> None:
        os.write(file, line.encode() + b"\n")

    def seconds() -> float:
        try:
            return float(slow.read_text() or 0)
        except FileNotFoundError:
            return 0.0

    def noted_load(*arguments: Any, **named: Any) -> models.EmbedFunction:
        note(f"model {os.getpid()}")
        embed = load(*arguments, **named)
        calls = itertools.count()

        def noted_embed(examples: Any) -> Any:
            note(f"batch {os.getpid()}")
            begun, first = time.monotonic(), not next(calls)
            while not first and time.monotonic() < begun + seconds():
                time.sleep(0.1)
            result = embed(examples)
            note(f"rows {len(examples)}")
            return result

        return noted_embed

    class Largest(list[int]):
        """The largest size of a type so far."""

        def __init__(self, cls: type) -> None:
            super().__init__()
            self._cls = cls

        def append(self, size: int) -> None:
            if not self or size > self[0]:
                self[:] = [size]
                note(f"element {size} {self._cls.__name__}")

    class Sizes(dict[type, list[int]]):
        def __missing__(self, cls: type) -> Largest:
            self[cls] = Largest(cls)
            return self[cls]  # type: ignore[return-value]

    models.load = noted_load
    return graph.encoded_sizes(Sizes())


def main() -> None:
    """Runs a module or code, observed."""
    _, log, kind, what, *rest = sys.argv
    with observe(log):
        if kind == "-m":
            sys.argv = [what, *rest]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *rest]
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
