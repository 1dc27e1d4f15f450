"""What the programs `smoke_test`, `inference_demo` and `train_demo` have in common. No TensorFlow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from vggish_core import standin, weights
from vggish_core.audio import AudioError

UNUSABLE = 2
"""Exit status for flags, weights or files that cannot be used; 1 is a failed program."""


class FailedError(Exception):
    """A program that ran and found that something is not as it should be."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flag that all programs have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--checkpoint", default="released", help='"released" (default), "standin" or a path')
    return made


def add_pca_params(made: argparse.ArgumentParser) -> None:
    """Adds --pca_params."""
    made.add_argument("--pca_params", default="released", help='"released" (default), "standin" or a path')


def resolve(given: str, kind: weights.Kind) -> weights.Weights:
    """What a user gave -> a local file, named on standard output; random weights are named loudly."""
    found = weights.resolve(given, kind)
    print(f"{kind}: {found.name}")
    if found.name == standin.NAME:
        print(f"  NOTE: {kind} is a stand-in: the numbers below mean nothing.")
    return found


def run(
    program: Callable[[argparse.Namespace], None], made: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parses, runs and returns the exit status; errors that a user can mend are one line, not a traceback."""
    args = made.parse_args(argv)
    try:
        program(args)
    except (AudioError, ValueError, RuntimeError, OSError) as error:  # the base classes of this package's own errors
        print(f"{made.prog}: error: {error}", file=sys.stderr)
        return UNUSABLE
    except FailedError as error:
        print(f"{made.prog}: FAILED: {error}", file=sys.stderr)
        return 1
    return 0
