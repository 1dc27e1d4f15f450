"""Lists as files: CSV and JSON lines -> values with their line numbers, and what is wrong with such a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pipeline import storage
from pipeline.told import ToldError


class SourceError(ToldError, ValueError):
    """The inputs cannot be used as given."""


def at(uri: str, line: int, found: str, remedy: str) -> SourceError:
    """What was found in a line of a file -> the error."""
    return SourceError(f"{uri}, line {line}: {found}", remedy)


def csv_lines(uri: str) -> Iterator[tuple[int, list[str]]]:
    """A CSV -> number and cells of each line that is not empty, without the space around them."""
    with _text(uri) as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise at(uri, reader.line_num, f"no CSV: {error}", "Check which file it is") from None


def json_lines(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A file with a JSON object a line -> number and object of each that is not empty."""
    with _text(uri) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                values = json.loads(text)
            except ValueError as error:
                raise at(uri, line, f"no JSON ({error}): {text.strip()[:80]}", "Put one object in a line") from None
            if not isinstance(values, dict):
                raise at(uri, line, f"no JSON object: {text.strip()[:80]}", 'Put {"uri": …} in each line')
            yield line, values


def is_json(uri: str) -> bool:
    """Whether a file begins like JSON."""
    with _text(uri) as file:
        return next((line.lstrip().startswith(("{", "[")) for line in file if line.strip()), False)


def expect_header(uri: str, line: int, found: list[str], wanted: list[str]) -> None:
    """Raises SourceError unless a header is the one that is wanted."""
    if found != wanted:
        said = ", ".join(found) or "empty"
        raise at(uri, line, f"the header is {said}, not {', '.join(wanted)}", "Check which file it is")


@contextmanager
def _text(uri: str) -> Iterator[TextIO]:
    """A text file, unpacked if its name says that it is compressed."""
    try:
        with storage.open_unwrapped(uri) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            yield text
    except UnicodeDecodeError as error:
        raise SourceError(f"{uri} is no text in UTF-8: {error}", "Check which file it is, or convert it") from None


def _at(uri: str, line: int, found: str, remedy: str) -> SourceError:
    return SourceError(f"{uri}, line {line}: {found}", remedy)
