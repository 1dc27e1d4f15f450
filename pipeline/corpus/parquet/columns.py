"""Which columns of a Parquet file hold audio, ids and labels, by its schema and what Hugging Face wrote beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pipeline.corpus.tables import SourceError
from pipeline.storage.containers.parquet import BYTES

PATH = "path"
"""The field of the audio's struct that names the file that it was."""
_OURS = b"vggish.layout"
"""In the metadata of files that `pipeline.parquet` writes: embeddings, never input."""
_SHOWN = 20


@dataclass(frozen=True)
class ColumnNames:
    """The columns that were asked for, by name; "" for those that are found by themselves, or not wanted."""

    audio: str = ""
    ids: str = ""
    labels: str = ""


FOUND = ColumnNames()
"""None was asked for."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file.

    Attributes:
      audio: holds the audio: binary, or a struct with a field `bytes`.
      leaf: the audio's own name in the file's metadata.
      path: what names the file that the audio was, "audio.path" say; "": nothing does.
      ids, labels: "": none was asked for.
      names: display names of labels that are numbers, by number, as a Hugging Face `ClassLabel` gives them.
    """

    audio: str
    leaf: str
    path: str = ""
    ids: str = ""
    labels: str = ""
    names: dict[int, str] = field(default_factory=dict)

    def described(self) -> str:
        """For the user, in one line."""
        ids = self.ids or self.path or "their rows' numbers"
        named = f" ({len(self.names):,} names)" if self.names else ""
        return f"audio in {self.leaf}, ids from {ids}, labels {f'from {self.labels}{named}' if self.labels else 'none'}"


class NoAudioColumnError(SourceError):
    """A Parquet file without a column of audio: it may be something else that lies beside the audio."""


def find(uri: str, schema: Any, wanted: ColumnNames) -> Columns:
    """A file's `pyarrow.Schema` -> its columns.

    A column of audio is a struct with a binary field `bytes`, or binary. Where Hugging Face's metadata says which are
    audio, it is one of these; otherwise it has to be the only one, unless it is named.

    Raises:
      NoAudioColumnError: there is none, or none of the name that was asked for.
      SourceError: there are several; a column that was asked for is missing, or of another type.
    """
    features = _features(schema)
    audio = wanted.audio or _only_candidate(uri, schema, features)
    if audio not in schema.names:
        raise NoAudioColumnError(f"{uri}: no column {audio!r}, only {_listed(schema)}", "Name one with --audio_column")
    kind = schema.field(audio).type
    if not _holds_audio(kind):
        raise SourceError(
            f"{uri}: column {audio!r} is {kind}, not binary or a struct with binary {BYTES!r}",
            f"Name another with --audio_column: it has {_listed(schema)}",
        )
    struct = not _is_binary(kind)
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)} if struct else {}
    path = f"{audio}.{PATH}" if PATH in fields and _is_text(fields[PATH]) else ""
    _expect(uri, schema, "--id_column", wanted.ids, lists=False)
    _expect(uri, schema, "--labels_column", wanted.labels, lists=True)
    names = _class_names(features.get(wanted.labels)) if wanted.labels else {}
    return Columns(audio, f"{audio}.{BYTES}" if struct else audio, path, wanted.ids, wanted.labels, names)


def _only_candidate(uri: str, schema: Any, features: dict[str, Any]) -> str:
    ours = _OURS in (schema.metadata or {})
    found = [] if ours else [name for name in schema.names if _holds_audio(schema.field(name).type)]
    said = [name for name in found if _kind(features.get(name)) == "Audio"]
    found = said or [name for name in found if _kind(features.get(name)) in ("", "Value")]
    if not found:
        remedy = "Name another file, or the column with --audio_column"
        raise NoAudioColumnError(f"{uri}: no column of audio, only {_listed(schema)}", remedy)
    if len(found) > 1:
        raise SourceError(f"{uri}: audio may be in {' or '.join(found)}", "Name one with --audio_column")
    return found[0]


def _expect(uri: str, schema: Any, flag: str, name: str, lists: bool) -> None:
    """Looks whether a column that was asked for is there, and holds texts or numbers, or lists of them."""
    from pyarrow import types

    if not name:
        return
    if name not in schema.names:
        raise SourceError(f"{uri}: no column {name!r}, only {_listed(schema)}", f"Correct {flag}")
    kind = schema.field(name).type
    if lists and (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (_is_text(kind) or types.is_integer(kind)):
        what = "texts or whole numbers" + (", or lists of them" if lists else "")
        raise SourceError(f"{uri}: column {name!r} is {schema.field(name).type}, not {what}", f"Correct {flag}")


def _holds_audio(kind: Any) -> bool:
    from pyarrow import types

    if not types.is_struct(kind):
        return _is_binary(kind)
    index = kind.get_field_index(BYTES)
    return index >= 0 and _is_binary(kind.field(index).type)


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _listed(schema: Any) -> str:
    names = [f"{name} ({schema.field(at).type})" for at, name in enumerate(schema.names[:_SHOWN])]
    more = f" and {len(schema.names) - _SHOWN} more" if len(schema.names) > _SHOWN else ""
    return (", ".join(names) + more)[:1000] or "none at all"


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face `datasets` wrote about the columns; nothing where it is not as it writes it."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(feature: Any) -> str:
    kind = feature.get("_type", "") if isinstance(feature, dict) else ""
    return kind if isinstance(kind, str) else ""


def _class_names(feature: Any) -> dict[int, str]:
    """A `ClassLabel`, or a list of them -> its names by number."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if _kind(feature) in ("Sequence", "LargeList", "List"):
        feature = feature.get("feature")
    names = feature.get("names") if _kind(feature) == "ClassLabel" else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}
    return dict(enumerate(names))
