"""Flags in a file: `--config FILE` reads them, and each run leaves its own as `config.yaml` beside its manifest."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import FlagError
from pipeline.output.layout import CONFIG, explained, join, write_if_changed

FLAG = "--config"
OF_A_RUN = frozenset(
    [
        "check", "config", "gcs_anonymous", "help", "no_wait", "overwrite", "progress", "prune", "restart",
        "retry_failed", "task", "verbose", "version",
    ]
)  # fmt: skip
"""Flags of one run, which are not kept for the next; `gcs_anonymous` is kept under Beam's name."""
PATHS = frozenset(["class_labels", "input", "manifest", "output", "segments"])
"""Flags whose local values are paths: kept from the root, so that the file serves from any folder."""
WEIGHTS = frozenset(("checkpoint", "pca_params"))
_SECRET = re.compile("secret|token|password|access_key|connection_string")


def expanded(argv: Sequence[str]) -> list[str]:
    """Arguments -> the same with what --config's file says in place of it; flags that are given themselves win.

    Raises:
      FlagError: the file cannot be read, or is no mapping of flags.
    """
    rest, file = _without_config(argv)
    if file is None:
        return list(argv)
    there = {_name(argument) for argument in rest if argument.startswith("--")}
    return [*_arguments(file, _read(file), there), *rest]


def _without_config(argv: Sequence[str]) -> tuple[list[str], str | None]:
    rest, file, words = [], None, iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        file = value if equals else next(words, "")
        if not file:
            raise FlagError(f"{FLAG}: the value is missing", f"It is {FLAG} FILE: flags as YAML, one a line")
    return rest, file


def _read(file: str) -> Mapping[str, Any]:
    import yaml

    try:
        with storage.open_read(storage.absolute(file)) as stream:
            found = yaml.safe_load(stream.read())
    except storage.StorageError as error:
        raise FlagError(f"{FLAG} {file} cannot be read: {error.what}", error.remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"{FLAG} {file} cannot be read: {error}", "Check the path") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise FlagError(f"{FLAG} {file} is no YAML{line}", "Write a flag a line: num_shards: 8") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise FlagError(f"{FLAG} {file} holds no flags", "Write a flag a line: num_shards: 8")
    return found


def _arguments(file: str, flags: Mapping[str, Any], there: set[str]) -> list[str]:
    """A file's flags -> arguments, less those that are given on the command line."""
    result = []
    for key, value in flags.items():
        name, values = _name(f"--{key}"), value if isinstance(value, list) else [value]
        if wrong := [each for each in values if isinstance(each, dict | list)]:
            remedy = "Give text, a number, true, or a list of them"
            raise FlagError(f"{FLAG} {file}: {key} has the value {wrong[0]}", remedy)
        if name not in there:
            result += _spelled(name, values)
    return result


def arguments(found: Mapping[str, Any]) -> list[str]:
    """Flags by name -> as arguments of a command."""
    named = ((name, value if isinstance(value, list) else [value]) for name, value in found.items())
    return [argument for name, values in named for argument in _spelled(name, values)]


def _spelled(name: str, values: Sequence[Any]) -> list[str]:
    return [f"--{name}" if each is True else f"--{name}={each}" for each in values if _says(each)]


def _says(value: Any) -> bool:
    return value is not None and value is not False


def _name(argument: str) -> str:
    return argument.partition("=")[0].lstrip("-").replace("-", "_")


def kept(parser: argparse.ArgumentParser, flags: argparse.Namespace, beam_flags: Sequence[str]) -> str:
    """A run's flags -> the text of its `config.yaml`: those that are not at their defaults, without secrets."""
    import yaml

    found = given(parser, flags)
    left_out = []
    for name, value in _beam(beam_flags):
        if _SECRET.search(name):
            left_out.append(f"# --{name} is not kept\n")
        elif name in found:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
        else:
            found[name] = value
    text = yaml.safe_dump(found, sort_keys=True, allow_unicode=True, width=10_000)
    return f"# python -m pipeline.run --config {CONFIG}\n{text}{''.join(left_out)}"


def given(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> dict[str, Any]:
    """A run's own flags -> those that are not at their defaults and not of that run alone, by name."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        name, value = action.dest, getattr(flags, action.dest, None)
        if name in OF_A_RUN or value == action.default or (name == "convolutions" and flags.any_kernel):
            continue
        found[name] = [_from_root(name, each) for each in value] if isinstance(value, list) else _from_root(name, value)
    return found


def _from_root(name: str, value: Any) -> Any:
    is_file = name in WEIGHTS and Path(storage.local_path(value)).exists() if isinstance(value, str) else False
    return storage.absolute(value) if isinstance(value, str) and (name in PATHS or is_file) else value


def _beam(flags: Sequence[str]) -> list[tuple[str, Any]]:
    """Beam's flags -> names and values; True for a switch."""
    found: list[tuple[str, Any]] = []
    for word in flags:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found.append((name, value if equals else True))
        elif found and found[-1][1] is True:
            found[-1] = (found[-1][0], word)
        elif found:  # another value of the same flag
            found.append((found[-1][0], word))
    return found


def keep(directory: str, text: str) -> None:
    """Writes an output's `config.yaml`, if it says something else; raises OutputError."""
    with explained(directory, "keeping the flags"):
        write_if_changed(join(directory, CONFIG), text.encode("utf-8", "surrogateescape"))
