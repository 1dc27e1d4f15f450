"""What `EmbedAudio` is given -> what it asks of its workers; and which PCollections it takes at all."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints import schemas, typehints
from apache_beam.typehints.decorators import TypeCheckError

from pipeline.formatting import printable
from pipeline.running.clips.elements import AskedClip
from pipeline.types import Clip

Audio = str | tuple[str, str] | tuple[str, bytes] | Clip | FileMetadata
"""A URI, (id, URI), (id, the bytes of a file), a `Clip`, or what `MatchFiles` gives; rows beside these."""
TAKES = "a URI, (id, URI), (id, bytes), a Clip, what MatchFiles gives, or a row with uri or content"

_BYTES = (bytes, bytearray, memoryview)
_ACCEPTED = typehints.Union[
    str, typehints.Tuple[str, typehints.Union[str, bytes, bytearray, memoryview]], Clip, FileMetadata
]
_SHOWN = 200


def expect_audio(element_type: Any) -> None:
    """Looks at the declared, or inferred, type of a PCollection; anything passes where that says nothing.

    Raises:
      TypeCheckError: no element of that type is audio.
    """
    for kind in members(element_type):
        if not (is_any(kind) or fields_of(kind) & {"uri", "content"} or typehints.is_consistent_with(kind, _ACCEPTED)):
            raise TypeCheckError(
                f"EmbedAudio takes {TAKES}; this PCollection is declared, or inferred, to be of {kind}"
            )


def members(element_type: Any) -> list[Any]:
    """The alternatives of a type."""
    return list(element_type.union_types) if isinstance(element_type, typehints.UnionConstraint) else [element_type]


def is_any(kind: Any) -> bool:
    """Whether a type says nothing; `TimestampedValue` is what `Create` of such values is declared to be of."""
    return kind is None or kind == Any or kind == typehints.Any or kind in (object, TimestampedValue)


def fields_of(kind: Any) -> set[str]:
    """The names of the fields of a type of rows; none for other types."""
    try:
        return {name for name, _ in schemas.named_fields_from_element_type(kind)}
    except TypeError:
        return set()


def asked(element: Any) -> AskedClip:
    """An element -> the question; of one that is no audio, `wrong` says so. Never raises."""
    try:
        found = _asked(element)
        if not (found.id.isascii() and found.uri.isascii()):
            f"{found.id}{found.uri}".encode()
    except UnicodeEncodeError:
        return _wrong(element, "has a name that is not UTF-8, which rows cannot hold: give an id and the bytes")
    except (TypeError, ValueError) as error:
        return _wrong(element, f"cannot be used: {error}")
    return found


def shown(element: Any) -> str:
    """An element for a message, cut if it is long."""
    text = printable(repr(element))
    return text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")


def _wrong(element: Any, why: str) -> AskedClip:
    return AskedClip(shown(element), "", wrong=f"EmbedAudio takes {TAKES}; {shown(element)} {why}")


def _asked(element: Any) -> AskedClip:
    if isinstance(element, Clip):
        labels = list(map(int, element.labels))
        times = element.start_s, element.end_s
        return AskedClip(_text(element.id), _text(element.uri), *times, labels, element.cut, element.listed)
    if isinstance(element, FileMetadata):
        return AskedClip(element.path, element.path)
    if isinstance(element, str):
        return AskedClip(element, element)
    if isinstance(element, beam.Row) or hasattr(element, "_fields"):
        return _of_row(element)
    if isinstance(element, tuple) and len(element) == 2:
        name, audio = element
        if isinstance(audio, _BYTES):
            return AskedClip(_text(name), "", content=bytes(audio))
        return AskedClip(_text(name), _text(audio))
    raise TypeError(f"it is of {type(element).__name__}")


def _of_row(row: Any) -> AskedClip:
    """A row -> the question; one with a time is a stretch of its file."""
    names = ("content", "uri", "id", "start_seconds", "end_seconds", "labels")
    content, uri, name, start_s, end_s, labels = (getattr(row, name, None) for name in names)
    if content is None and not uri:
        raise ValueError("it has neither uri nor content")
    if content is not None and not isinstance(content, _BYTES):
        raise TypeError(f"content is of {type(content).__name__}, not bytes")
    return AskedClip(
        id=_text(name or uri),
        uri=_text(uri or ""),
        start_s=0.0 if start_s is None else float(start_s),
        end_s=None if end_s is None else float(end_s),
        labels=list(map(int, labels or ())),
        cut=start_s is not None or end_s is not None,
        content=None if content is None else bytes(content),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is no text")
    return value
