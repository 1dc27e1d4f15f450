"""What the exports of other libraries say of a data set as a whole: its folders, its title, its classes' names."""

from __future__ import annotations

from pipeline import storage
from pipeline.formatting import text
from pipeline.output import classes
from pipeline.output.layout import basename
from pipeline.output.matching import matching


def directories(pattern: str) -> list[str]:
    """The folders of a pattern's files, whether the files are complete or not; raises RecordError if there are none."""
    return sorted({storage.parent(uri) or "." for uri in matching(pattern, "use").files})


def title(folders: list[str]) -> str:
    """The name of the first folder."""
    return text(basename(storage.absolute(folders[0])))


def class_names(folders: list[str]) -> dict[int, str]:
    """The names of classes, as far as they are the same in all outputs."""
    first, *others = map(classes.numbered, folders)
    return {label: name for label, name in first.items() if all(other.get(label) == name for other in others)}
