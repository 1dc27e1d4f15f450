"""JSON lines: this project's own, those of NeMo and its kin, Lhotse's cuts and recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipeline.corpus.lists import own
from pipeline.corpus.lists.found import Found, Numbered, Values
from pipeline.corpus.rows import seconds_of, shown
from pipeline.corpus.tables import RowError, json_object

_SETS_OF_NAMES = 1000
_WHOLE_S = 0.001
"""Seconds by which a cut may be shorter than its recording and be all of it: durations are rounded."""


class _Kind(NamedTuple):
    """A kind of row.

    Attributes:
      key: that tells it from the others.
      name: what a list of such rows is called; "" for this project's own.
      known: keys that need no mention; (): those of `own.columns_of`.
      translate: its values -> ours.
    """

    key: str
    name: str
    known: tuple[str, ...]
    translate: Callable[[Values, Found], Values]


def rows(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    """JSON lines -> their values. The first row that names audio says of which kind the list is."""
    kind: _Kind | None = None
    checked: set[tuple[str, ...]] = set()
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            values = json_object(text)
            if kind is None and (kind := next((each for each in _KINDS if each.key in values), None)):
                found.dialect = kind.name
            names = tuple(values)
            if names not in checked:
                if not found.dialect:
                    own.check_columns(names)
                if kind:
                    found.leave(names, kind.known or own.columns_of(found))
                if len(checked) < _SETS_OF_NAMES:
                    checked.add(names)
            if found.dialect and kind and kind.key not in values:
                raise RowError(f"there is no {kind.key}, by which {kind.name} names its audio", "Name the audio file")
            translated = kind.translate(values, found) if kind else values
        except RowError as fault:
            yield line, fault
            continue
        yield line, translated


def _own(values: Values, found: Found) -> Values:
    return values


def _nemo(values: Values, found: Found) -> Values:
    """`offset` seconds into the file, `duration` seconds long; a duration alone is that of the whole file."""
    result: Values = {"uri": values["audio_filepath"], "id": values.get("id"), "labels": _labels(values, found)}
    start_s = seconds_of("offset", values.get("offset"))
    if start_s is not None:
        duration_s = seconds_of("duration", values.get("duration"))
        result |= {"start_seconds": start_s, "end_seconds": _end(start_s, duration_s)}
    return result


def _labels(values: Values, found: Found) -> Any:
    """Labels are names as they stand: commas do not separate them. A text is one if the table of classes has it."""
    label = next((values[key] for key in ("label", "labels", "command") if values.get(key) is not None), None)
    text = values.get("text")
    if label is None and isinstance(text, str) and found.classes and found.classes.index(text) is not None:
        label = text
    elif text is not None:
        found.leave(["text"])
    return label if label is None or isinstance(label, list) else [label]


def _end(start_s: float, duration_s: float | None) -> float | None:
    return None if duration_s is None else round(start_s + duration_s, 6)


def _cut(values: Values, found: Found) -> Values:
    """A MonoCut of a recording that is one file; its labels are its supervisions' `custom.label`, if they have any."""
    kind = values.get("type", "MonoCut")
    if kind != "MonoCut":
        raise RowError(f"it is a {shown(kind)}, not a MonoCut", "Write the audio with Lhotse, and list the files")
    recording = _object("recording", values["recording"])
    result = _file(recording)
    if len(_channels(recording)) > 1:
        raise RowError(f"it is one of the {len(_channels(recording))} channels of {shown(result['uri'])}", "Split them")
    start_s, duration_s = seconds_of("start", values.get("start")), seconds_of("duration", values.get("duration"))
    whole_s = seconds_of("duration", recording.get("duration"))
    if start_s is None or duration_s is None:
        raise RowError("start or duration is missing", "Give both in seconds", "bad_times")
    if not (start_s == 0 and whole_s is not None and duration_s >= whole_s - _WHOLE_S):
        result |= {"start_seconds": start_s, "end_seconds": _end(start_s, duration_s)}
    labels: list[Any] = []
    supervisions = values.get("supervisions") or []
    for supervision in supervisions if isinstance(supervisions, list) else [supervisions]:
        label = _object("custom", _object("a supervision", supervision).get("custom") or {}).get("label")
        labels += label if isinstance(label, list) else [] if label is None else [label]
    return {**result, "id": values.get("id"), "labels": labels or None}


def _recording(values: Values, found: Found) -> Values:
    return {**_file(values), "id": values.get("id")}


def _file(recording: Values) -> Values:
    """A recording of one file, as it is -> its uri."""
    sources = recording.get("sources")
    if not isinstance(sources, list) or len(sources) != 1:
        count = len(sources) if isinstance(sources, list) else 0
        raise RowError(f"the recording has {count} sources", "Make recordings of one file each")
    source = _object("a source", sources[0])
    if source.get("type") != "file":
        what = f"the recording is a {shown(source.get('type'))}: {shown(source.get('source'))}"
        raise RowError(f"{what}, not a file (commands are not run)", "Write the audio to files")
    if recording.get("transforms"):
        raise RowError("the recording has transforms, which are not applied", "Write the audio with Lhotse")
    return {"uri": source.get("source")}


def _channels(recording: Values) -> list[Any]:
    channels = recording["sources"][0].get("channels")
    return channels if isinstance(channels, list) else []


def _object(name: str, value: object) -> Values:
    if not isinstance(value, dict):
        raise RowError(f"{name} is {shown(value)}", "Give an object, as Lhotse writes it")
    return value


_KINDS = (
    _Kind("uri", "", (), _own),
    _Kind(
        "audio_filepath",
        "a list of NeMo's kind",
        ("audio_filepath", "id", "offset", "duration", "label", "labels", "command", "text"),
        _nemo,
    ),
    _Kind(
        "recording",
        "Lhotse's cuts",
        ("id", "type", "start", "duration", "channel", "supervisions", "recording"),
        _cut,
    ),
    _Kind(
        "sources",
        "Lhotse's recordings",
        ("id", "sources", "sampling_rate", "num_samples", "duration", "channel_ids", "transforms"),
        _recording,
    ),
)
