"""Flags of all commands: the parser, types of values, errors, and a check of the flags that are left to Beam.

Imports nothing heavy, Beam not before its flags are looked at.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

from pipeline.errors import FlagError
from pipeline.output.tasks import Task
from pipeline.settings import checked_hop

FINISH = "finish"
"""Value of `--task` that commits what all tasks hold."""


class _Version(argparse.Action):
    """Prints what takes part, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from pipeline.cli.console.version import described

        print(described())
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `FlagError`s that show what the flag takes.

    Flags may be written with hyphens in place of underscores.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if self.add_help:
            self.add_argument("--version", action=_Version, nargs=0, help="show versions and exit")

    def _spelled(self, argument: str) -> str:
        """An argument as flags are spelled here, and as Beam spells its own."""
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or "-" not in name[2:] or name in self._option_string_actions:
            return argument
        return f"--{name[2:].replace('-', '_')}{equals}{value}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but "--flag False" is a mistake by itself where the flag takes no value."""
        words = [self._spelled(argument) for argument in (sys.argv[1:] if args is None else args)]
        for flag, value in pairwise(words):
            action = self._option_string_actions.get(flag)
            if action is not None and action.nargs == 0 and value.lower() in ("true", "false", "yes", "no"):
                raise _without_value(flag, value)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        name, _, rest = message.removeprefix("argument ").partition(": ")
        for action in self._actions:
            if value := re.fullmatch(r"ignored explicit argument '(.*)'", rest):
                raise _without_value(name.split("/")[-1], value[1])
            if message.startswith("argument ") and name in ("/".join(action.option_strings), action.metavar):
                raise FlagError(f"{name}: {_plain(rest, action)}", _taken(action))
        if unknown := re.match("unrecognized arguments: (\\S+)", message):
            raise unknown_flag(unknown[1], list(self._option_string_actions))
        wanted = re.sub("^the following arguments are required: ", "missing: ", message)
        raise FlagError(wanted, f"{self.prog} --help lists all flags")


def _plain(message: str, action: argparse.Action) -> str:
    """argparse's message about an action -> ours."""
    if action.choices and (value := re.match(r"invalid choice: ('.*?'|\S+) ", message)):
        near = difflib.get_close_matches(value[1].strip("'"), map(str, action.choices), n=1)
        return f"{value[1]} is not one of its values" + (f"; did you mean {near[0]}?" if near else "")
    if value := re.fullmatch(r"invalid (\w+) value: ('.*')", message):
        return f"{value[2]} is not a {'whole number' if value[1] == 'int' else value[1]}"
    if message.startswith("expected "):
        return "the value is missing"
    return message


_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""Values that people give to flags that take none."""


def _without_value(flag: str, value: str) -> FlagError:
    """A flag that takes no value, and the one that it was given -> the error that says how to mean that."""
    remedy = f"Give {flag} alone" if _TRUTHS.get(value.lower(), True) else f"Leave {flag} out"
    return FlagError(f"{flag}: it takes no value, not {value!r}", remedy)


def _taken(action: argparse.Action) -> str:
    """The values that an action takes, as --help shows them."""
    name = action.option_strings[-1] if action.option_strings else ""
    values = f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.metavar or "VALUE"
    about = (action.help or "") % {**vars(action), "prog": ""}
    return f"It is {name} {values}" + (f": {about}" if about else "")


def unknown_flag(argument: str, known: Sequence[str]) -> FlagError:
    """An unknown argument -> the error that names the nearest flag."""
    name = argument.split("=")[0]
    near = difflib.get_close_matches(name, known, n=1)
    if not name.startswith("-"):
        return FlagError(f"{argument!r} belongs to no flag", "Every value follows a flag; quote patterns: 'audio/**'")
    if near:
        return FlagError(f"unknown flag {name}; did you mean {near[0]}?", f"Write {near[0]}")
    return FlagError(f"unknown flag {name}", "--help lists all flags")


def check_beam_flags(rest: Sequence[str], ours: Sequence[str] = ()) -> None:
    """Raise `FlagError` for an argument that neither this command nor Beam knows, or a value that Beam does not take.

    Args:
      rest: what the command's own parser left over.
      ours: the command's flags, to suggest the nearest one.
    """
    if not rest:
        return  # and Beam, a second and a half of a processor, is not loaded yet
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = Parser(prog="pipeline.run", add_help=False, allow_abbrev=False)
    for cls in PipelineOptions.__subclasses__():
        cls._add_argparse_args(parser)  # the same call that Beam makes to build its own parser
    try:
        _, unknown = parser.parse_known_args(list(rest))
    except FlagError as error:
        raise FlagError(f"{error.found} (Beam's flag)", error.remedy) from error
    if unknown:
        raise unknown_flag(unknown[0], [*ours, *parser._option_string_actions])


def positive_int(text: str) -> int:
    """Text -> an integer of 1 or more."""
    if not re.fullmatch(r"\d+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def positive_float(text: str) -> float:
    """Text -> a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def hop_seconds(text: str) -> float:
    """Text -> a hop in seconds: a multiple of 0.01, the log-mel frames' own hop, in its shortest decimal form."""
    value = positive_float(text)
    try:
        return checked_hop(value)
    except ValueError as error:
        message = str(error).removeprefix("hop_seconds: ").replace(str(value), repr(text), 1)
        raise argparse.ArgumentTypeError(message) from None


def share_or_count(text: str) -> str:
    """Text -> itself, if it is a count ("20") or a share ("5%")."""
    if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a count (20) nor a share (5%)")
    return text


def failures_allowed(limit: str, clips: int) -> int:
    """A checked limit and the number of clips -> how many may fail.

    >>> failures_allowed("5%", 150), failures_allowed("20", 150)
    (7, 20)
    """
    return int(float(limit[:-1]) / 100 * clips) if limit.endswith("%") else int(limit)


def task(text: str) -> Task | str:
    """Text -> the task "I/N" with 0 <= I < N, or "finish".

    >>> task("1/3"), task("finish")
    (Task(index=1, count=3), 'finish')
    """
    if text == FINISH:
        return FINISH
    found = re.fullmatch(r"(\d+)/(\d*[1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither I/N (such as 0/3) nor finish")
    index, count = int(found[1]), int(found[2])
    if index >= count:
        raise argparse.ArgumentTypeError(
            f"{text!r}: tasks are numbered from 0, the last of {count} is {count - 1}/{count}"
        )
    return Task(index, count)
