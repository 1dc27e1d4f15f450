"""Flags and error handling shared by the commands for finished data sets. No Beam, no TensorFlow."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from pipeline.cli import flags
from pipeline.cli.console import messages, quiet
from pipeline.errors import OK
from pipeline.storage import scratch


class ProgramParser(flags.Parser):
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
        self.add_argument("--verbose", action="store_true", help="show the traceback of an error")


def add_incomplete(parser: argparse.ArgumentParser) -> None:
    """Adds --incomplete, of each program that reads records."""
    parser.add_argument(
        "--incomplete",
        choices=("refuse", "use"),
        default="refuse",
        help="records that are not what the manifest beside them promises (default: %(default)s)",
    )


def run_command(
    program: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None, stopped: str = "Nothing was written."
) -> int:
    """Runs a program on its arguments -> exit status; user errors are shown on standard error.

    Args:
      program: called with the arguments; None that it returns is status 0.
      argv: the arguments; None: the process's.
      stopped: what Ctrl-C leaves, and how to go on.
    """
    arguments = sys.argv[1:] if argv is None else argv
    quiet.logs("--verbose" in arguments)  # Beam without its clouds has something to say when it is imported
    try:
        with scratch.temporary_files():
            return program(arguments) or OK
    except KeyboardInterrupt:
        print(f"\nStopped. {stopped}", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        return messages.show(error, "--verbose" in arguments)
