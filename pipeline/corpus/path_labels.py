"""Labels that the audio's own names give: its folder, or a part of the file's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.corpus.class_labels import ClassLabels, number
from pipeline.corpus.tables import SourceError
from pipeline.errors import FlagError
from pipeline.formatting import clips as of_clips
from pipeline.types import Clip

GROUP = "label"


class PathLabels:
    """Where in a path its label stands.

    Args:
      rule: "folder", the first folder below the pattern's fixed part; "folder:N", the Nth; "filename:REGEX", what the
        group `label` of the expression matches in the file's name without its extension.

    Raises:
      FlagError: it is none of these.
    """

    def __init__(self, rule: str) -> None:
        self.rule = rule
        kind, _, rest = rule.partition(":")
        self._depth, self._pattern = 0, None
        if kind == "folder" and re.fullmatch(r"|[1-9]\d{0,3}", rest):
            self._depth = int(rest or 1)
        elif kind == "filename" and rest:
            self._pattern = _compiled(rest)
        else:
            remedy = 'Give "folder", "folder:2" or "filename:REGEX", such as "filename:(?P<label>[^_]+)_"'
            raise FlagError(f"--labels_from {rule!r} is none of its values", remedy)

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


def labelled(
    clips: Sequence[Clip], labels: Sequence[str], classes: ClassLabels | None, before: Mapping[int, str]
) -> tuple[list[Clip], dict[int, str]]:
    """Clips and the label of each, "" for none -> the clips with class indices, and the classes' names by index.

    Args:
      clips, labels: one label a clip.
      classes: the table that the labels are of; None: they are numbered here, in their order.
      before: the names that an output has numbered already, which keep their numbers; new ones follow.

    Raises:
      SourceError: a label is not in the table.
    """
    if classes is not None:
        known = {label: _index(label, classes) for label in sorted({*labels} - {""})}
        names = classes.names
    else:
        known = number(labels, before)
        names = {index: name for name, index in known.items()}
    given = zip(clips, labels, strict=True)
    return [replace(clip, labels=(known[label],)) if label else clip for clip, label in given], names


def _index(label: str, classes: ClassLabels) -> int:
    index = classes.index(label)
    if index is None:
        raise SourceError(
            f"--labels_from finds the label {label!r}, which {classes.uri} does not have",
            "Add it to the table, or leave --class_labels out: labels are then numbered by their names",
        )
    return index


def notes(labels: Iterable[str], rule: str) -> list[str]:
    """Labels of clips, "" for none -> lines for the user."""
    without = sum(not label for label in labels)
    return [f"{of_clips(without)} without a label: --labels_from {rule} finds none in the path"] if without else []
