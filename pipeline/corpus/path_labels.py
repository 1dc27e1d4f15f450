"""Labels that the audio's own names give, its folder or a part of the file's name; or a small file beside the audio."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.corpus.class_labels import ClassLabels, as_index, numbers_of
from pipeline.corpus.tables import SourceError
from pipeline.errors import FlagError
from pipeline.formatting import clips as of_clips
from pipeline.types import Clip

GROUP = "label"


Labels = tuple[str, ...]
"""Of a clip: display names, MIDs or indices, as they stand there."""


class PathLabels:
    """Where the labels of a file stand: in its path, or in a file beside it, as WebDataset has them.

    Args:
      rule: "folder", the first folder below the pattern's fixed part; "folder:N", the Nth; "filename:REGEX", what the
        group `label` of the expression matches in the file's name without its extension; "cls" and "txt", the text of
        the file of that extension beside it; "json:KEY", the value of KEY ("a.b": of b in that of a) in the JSON beside
        it, a text, a whole number, or a list of these.

    Attributes:
      beside: the extension of the files in which the labels stand, with its dot; "" where they stand in the path.

    Raises:
      FlagError: it is none of these.
    """

    def __init__(self, rule: str) -> None:
        self.rule = rule
        kind, _, rest = rule.partition(":")
        self._depth, self._pattern = 0, None
        self.beside, self._keys = "", rest.split(".")
        if kind == "folder" and re.fullmatch(r"|[1-9]\d{0,3}", rest):
            self._depth = int(rest or 1)
        elif kind == "filename" and rest:
            self._pattern = _compiled(rest)
        elif (kind == "json" and rest) or rule in ("cls", "txt"):
            self.beside = f".{kind}"
        else:
            remedy = 'Give "folder", "folder:2", "filename:REGEX", such as "filename:(?P<label>[^_]+)_", "json:KEY", '
            raise FlagError(f"--labels_from {rule!r} is none of its values", f'{remedy}"cls" or "txt"')

    def found(self, path: str, beside: bytes | None) -> Labels:
        """A path below the pattern's fixed part, and the content of the file beside it, if there is one -> its labels.

        Content that is not as the rule says has none.
        """
        if not self.beside:
            label = self.of(path)
            return (label,) if label else ()
        try:
            text = (beside or b"").decode("utf-8-sig")
            return _listed(json.loads(text), self._keys) if self.beside == ".json" else _listed(text, [])
        except (ValueError, RecursionError):
            return ()

    def of(self, path: str) -> str:
        """A path below the pattern's fixed part -> its label; "" where it has none.

        >>> PathLabels("folder").of("dog/a.wav"), PathLabels("filename:(?P<label>[a-z]+)_").of("x/dog_1.wav")
        ('dog', 'dog')
        """
        *folders, name = path.split("/")
        if self._pattern is not None:
            found = self._pattern.search(name.rpartition(".")[0] or name)
            return (found[GROUP] or "").strip() if found else ""
        return folders[self._depth - 1] if len(folders) >= self._depth else ""


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise FlagError(f"--labels_from filename:{text} is no regular expression: {error}", "Correct it") from None
    if GROUP not in pattern.groupindex:
        remedy = f"Name what is the label: filename:(?P<{GROUP}>[^_]+)_"
        raise FlagError(f"--labels_from filename:{text} has no group called {GROUP}", remedy)
    return pattern


def _listed(value: object, keys: Sequence[str]) -> Labels:
    """The value of a key in that of another, and so on -> labels."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    found = [str(each).strip() for each in values if isinstance(each, str | int) and not isinstance(each, bool)]
    return tuple(dict.fromkeys(filter(None, found)))


def labelled(
    clips: Sequence[Clip],
    labels: Sequence[Labels],
    classes: ClassLabels | None,
    before: Mapping[int, str],
    indices: bool = False,
) -> tuple[list[Clip], dict[int, str]]:
    """Clips and the labels of each -> the clips with class indices, and the classes' names by index.

    Args:
      clips, labels: some or no labels for each clip.
      classes: the table that the labels are of; None: they are numbered here, in their order.
      before: the names that an output has numbered already, which keep their numbers; new ones follow.
      indices: where all labels are whole numbers, they are the class indices.

    Raises:
      SourceError: a label is not in the table.
    """
    every = sorted({label for each in labels for label in each})
    if classes is not None:
        known = {label: _index(label, classes) for label in every}
        names = classes.names
    else:
        known = {name: index for index, name in before.items()}
        fresh = [label for label in every if label not in known]
        if indices and all(
            str(as_index(name)) == name and known.get(name, as_index(name)) == as_index(name)
            for name in {*known, *fresh}
        ):
            known |= {label: int(label) for label in fresh}
        else:
            known = numbers_of(fresh, before)
        names = {index: name for name, index in known.items()}
    given = zip(clips, labels, strict=True)
    return [
        replace(clip, labels=tuple(sorted({known[label] for label in each}))) if each else clip for clip, each in given
    ], names


def _index(label: str, classes: ClassLabels) -> int:
    index = classes.index(label)
    if index is None:
        raise SourceError(
            f"--labels_from finds the label {label!r}, which {classes.uri} does not have",
            "Add it to the table, or leave --class_labels out: labels are then numbered by their names",
        )
    return index


def notes(labels: Iterable[Labels], rule: PathLabels) -> list[str]:
    """Labels of clips -> lines for the user."""
    without = sum(not each for each in labels)
    where = f"in a {rule.beside} beside it" if rule.beside else "in the path"
    return [f"{of_clips(without)} without a label: --labels_from {rule.rule} finds none {where}"] if without else []
