"""What the commands around finished data sets have in common: flags, and errors of one line. No Beam, no TensorFlow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipeline.layout import OutputError
from pipeline.options import FlagError
from pipeline.tfrecord import RecordError

UNUSABLE = 2
"""Exit status for flags, records or models that cannot be used."""


class Parser(argparse.ArgumentParser):
    """A parser whose description is a module's docstring, and whose errors are `FlagError`s.

    Args:
      module: its name, for `python -m`.
      docstring: the first line becomes the description, what follows is shown below the flags.
    """

    def __init__(self, module: str, docstring: str | None) -> None:
        first, _, rest = (docstring or "").partition("\n")
        super().__init__(
            prog=f"python -m {module}",
            description=first,
            epilog=rest.strip("\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise FlagError(message)


def run_command(program: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a program on its arguments -> exit status; what a user can mend is one line on standard error."""
    try:
        program(sys.argv[1:] if argv is None else argv)
    except (FlagError, RecordError, OutputError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return 0
