"""What the commands around finished data sets have in common: flags, and errors of one line. No Beam, no TensorFlow."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from pipeline.cli import flags, messages
from pipeline.cli.flags import FlagError
from pipeline.files import scratch
from pipeline.output.layout import OutputError
from pipeline.output.tfrecord import RecordError

UNUSABLE = 2
"""Exit status for flags, records or models that cannot be used."""


class Parser(flags.Parser):
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


def run_command(
    program: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None, stopped: str = "Nothing was written."
) -> int:
    """Runs a program on its arguments -> exit status; what a user can mend is told on standard error.

    Args:
      program: called with the arguments; None that it returns is status 0.
      argv: the arguments; None: the process's.
      stopped: what Ctrl-C leaves, and how to go on.
    """
    try:
        with scratch.temporary_files():
            return program(sys.argv[1:] if argv is None else argv) or 0
    except (FlagError, RecordError, OutputError, ValueError, OSError) as error:
        messages.show(error)
        return UNUSABLE
    except KeyboardInterrupt:
        print(f"\nStopped. {stopped}", file=sys.stderr)
        return 128 + signal.SIGINT
