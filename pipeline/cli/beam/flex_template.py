"""The command as a Dataflow flex template: its parameters, and what the launcher starts.

The launcher's container runs the entry point with `--NAME=VALUE` for each parameter and for its own settings, among
them `--template_location`: there the job is written, and Dataflow starts it. So the corpus is listed and the plan is
made at each launch, and the launcher waits for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.cli import groups, options
from pipeline.cli.flags import hop_seconds, positive_float, positive_int
from pipeline.errors import FlagError, UserError

IMAGE = "VGGISH_WORKERS_IMAGE"
"""Environment variable: the workers' image, which the launcher's was made from."""
NOT_OF_A_TEMPLATE = frozenset(
    [
        "also", "check", "config", "max_failures", "no_wait", "piece_seconds", "progress", "report", "report_audio",
        "restart", "runner", "shared_filesystem", "task", "verbose",
    ]
)  # fmt: skip
"""Flags for somebody who waits for the job, or that the launcher gives; and --config, over whose file a form that is
filled in with the flags' defaults would win."""
NUMBERS = (positive_int, positive_float, hop_seconds)


def metadata() -> dict[str, Any]:
    """`metadata.json` of the template: Dataflow's `TemplateMetadata`, made from the flags' own definitions."""
    parameters = []
    for title, add in groups.GROUPS.items():
        parser = argparse.ArgumentParser(add_help=False)
        add(parser)
        taken = [action for action in parser._actions if action.dest not in NOT_OF_A_TEMPLATE]
        parameters += [_parameter(action, title) for action in taken]
    return {
        "name": "VGGish embeddings",
        "description": "Audio in, VGGish embeddings out: AudioSet-style TFRecords of every recording.",
        "parameters": parameters,
    }


def _parameter(action: argparse.Action, group: str) -> dict[str, Any]:
    """A flag -> Dataflow's `ParameterMetadata`."""
    about = (action.help or "") % {**vars(action), "prog": ""}
    if action.nargs == "+":
        about += '; several as a JSON list: ["A", "B"]'
    found = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": about,
        "isOptional": action.dest != "output",
        "groupName": group.capitalize(),
        "paramType": _type(action),
    }
    if action.choices and action.default:
        found["enumOptions"] = [{"value": str(each), "label": str(each)} for each in action.choices]
    elif action.choices:
        found["regexes"] = [f"^({'|'.join(map(str, action.choices))})$"]
    if action.default:
        found["defaultValue"] = str(action.default)
    return found


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "BOOLEAN"
    if action.choices and action.default:  # without a default a list of choices would show one of them as chosen
        return "ENUM"
    return "NUMBER" if action.type in NUMBERS else "TEXT"


def arguments(given: Sequence[str]) -> list[str]:
    """The launcher's arguments -> the command's.

    true stands for a flag that takes no value, false or nothing for its absence, a JSON list for several values.

    Raises:
      FlagError: a flag that takes no value has one that is neither true nor false.
    """
    flags = options.parser()._option_string_actions
    result: list[str] = []
    for word in given:
        flag, equals, value = word.partition("=")
        action = flags.get(flag)
        if action is None or not equals:
            result.append(word)
        elif action.nargs == 0:
            result += _switch(flag, value)
        elif value:
            result += [f"{flag}={each}" for each in (_listed(value) if action.nargs == "+" else [value])]
    if "--template_location" not in {word.partition("=")[0] for word in result}:
        result.append("--no_wait")
    image = os.environ.get(IMAGE)
    if image and not any(word.startswith("--sdk_container_image") for word in result):
        result += [f"--sdk_container_image={image}", "--sdk_location=container"]
    return [*result, "--progress=off"]


def _switch(flag: str, value: str) -> list[str]:
    if value.lower() not in ("", "true", "false"):
        raise FlagError(f"{flag[2:]}: {value!r} is neither true nor false", f"Write {flag[2:]}=true, or leave it out")
    return [flag] if value.lower() == "true" else []


def _listed(value: str) -> list[str]:
    """A parameter's value -> the texts of the JSON list that it is, else itself."""
    try:
        found = json.loads(value)
    except ValueError:
        return [value]
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else [value]


def main(argv: Sequence[str] | None = None) -> int:
    """The launcher's arguments -> the exit status, as the command's."""
    from pipeline.cli import run
    from pipeline.cli.console import messages

    try:
        given = arguments(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        return messages.show(error, verbose=False)
    return run.main(given)
