"""Shared code of the programs `smoke_test`, `inference_demo` and `train_demo`. No TensorFlow."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vggish_core import params, weights
from vggish_core.weights import standin

UNUSABLE = 2
"""Exit status for flags, weights or files that cannot be used; 1 is a failed program."""


class FailedError(Exception):
    """A program that ran and found that something is not as it should be."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m vggish_core.NAME` with the flag that all programs have."""
    made = argparse.ArgumentParser(
        prog=f"python -m vggish_core.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--checkpoint", default="released", help='"released" (default), "standin" or a path')
    return made


def add_pca_params(made: argparse.ArgumentParser) -> None:
    """Adds --pca_params."""
    made.add_argument("--pca_params", default="released", help='"released" (default), "standin" or a path')


def resolve(given: str, kind: weights.Kind) -> weights.Weights:
    """A user's choice -> a local file, named on standard output; random weights get a warning."""
    found = weights.resolve(given, kind)
    print(f"{kind}: {found.name}")
    if found.name == standin.NAME:
        print(f"  NOTE: {kind} is a stand-in: the numbers below mean nothing.")
    return found


def from_home(path: str) -> str:
    """A path as given -> the same, a leading `~` replaced by the home folder; `./~`, which `Path` shortens, stays."""
    return os.path.expanduser(path)  # noqa: PTH111


def examples_of(file: str | Path) -> np.ndarray:
    """Audio file -> its examples float32 [k, 96, 64], k >= 1.

    Raises:
      ValueError: if the file cannot be read or holds less than one example, naming it.
    """
    from vggish_core.audio import AudioError
    from vggish_core.features.examples import wavfile_to_examples

    try:
        examples = wavfile_to_examples(from_home(str(file)))
    except AudioError as error:
        raise ValueError(f"{file}: {error}") from error
    if not len(examples):
        seconds = params.EXAMPLE_SAMPLES / params.SAMPLE_RATE
        raise ValueError(f"{file} holds less than one example ({seconds} s): name another")
    return examples


def _expect_no_values(made: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Raises ValueError for "--flag=False", as the original's flags were, where a flag takes no value."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        action = made._option_string_actions.get(flag)
        if action is None or action.nargs != 0:
            continue
        value = value if equals else following
        if equals or value.lower() in ("true", "false"):
            other = next((name for name in action.option_strings if name != flag), "")
            remedy = flag if value.lower() not in ("false", "no", "off", "0") else other
            raise ValueError(f"{flag} takes no value, not {value!r}: {f'give {remedy}' if remedy else 'leave it out'}")


def run(
    program: Callable[[argparse.Namespace], None], made: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parses, runs and returns the exit status; user errors are one line, not a traceback."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        _expect_no_values(made, words)
        program(made.parse_args(words))
    except (ValueError, RuntimeError, OSError) as error:  # the base classes of this package's own errors
        print(f"{made.prog}: error: {error}", file=sys.stderr)
        return UNUSABLE
    except FailedError as error:
        print(f"{made.prog}: FAILED: {error}", file=sys.stderr)
        return 1
    return 0
