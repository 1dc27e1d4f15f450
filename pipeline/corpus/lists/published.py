"""Lists that data sets come with: FSD50K, ESC-50, and AudioSet's strong labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping

from pipeline import storage
from pipeline.corpus.class_labels import as_index
from pipeline.corpus.ids import id_of
from pipeline.corpus.lists.found import Found, Numbered, Values
from pipeline.corpus.names import names_of
from pipeline.corpus.rows import Row, seconds_of, shown, text_of
from pipeline.corpus.tables import RowError, csv_rows, expect_once, expect_width

Table = Callable[[Iterator[str], Found], Iterator[Numbered]]

_FSD50K = ("fname", "labels", "mids", "split")
_ESC50 = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
_STRONG = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
_SEGMENT_S = 10
"""Seconds of AudioSet's segments, to which the times of its strong labels refer."""
_SEGMENT_ID = re.compile(r"(.+)_(\d{1,9})")
"""The id of a video, and where in it the segment begins, in milliseconds."""


def table_of(first: str) -> Table | None:
    """A list's first line that holds something -> what reads it, if it is the header of one of these."""
    if set(_STRONG) <= set(_tabbed(first)):
        return _strong
    try:
        columns = {cell.strip() for cell in next(csv.reader([first], skipinitialspace=True))}
    except (csv.Error, StopIteration):
        return None
    if {"fname", "labels"} <= columns and "uri" not in columns:
        return _fsd50k
    if {"filename", "category"} <= columns and "uri" not in columns:
        return _esc50
    return None


def _fsd50k(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    found.dialect = "FSD50K's list"
    name = found.uri.rpartition("/")[2].partition(".")[0]
    found.audio.look_also(*_beside(found, f"FSD50K.{name}_audio"))
    return _table(lines, found, _FSD50K, _of_fsd50k)


def _beside(found: Found, name: str) -> tuple[str, str]:
    """A folder below that of the list, and one beside it."""
    return storage.join(found.folder, name), storage.join(storage.parent(found.folder.rstrip("/")), name)


def _of_fsd50k(cells: Mapping[str, str], found: Found) -> Values:
    """Labels are MIDs where the table of classes has them, else names."""
    labels, mids = (_split(cells.get(column, "")) for column in ("labels", "mids"))
    if found.classes and len(mids) == len(labels):
        pairs = zip(mids, labels, strict=True)
        labels = [label if found.classes.index(mid) is None else mid for mid, label in pairs]
    name = text_of("fname", cells["fname"])
    return {"uri": found.audio.find(name, clip_id=name), "id": name, "labels": labels}


def _esc50(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    found.dialect = "ESC-50's list"
    found.audio.look_also(*_beside(found, "audio"))
    return _table(lines, found, _ESC50, _of_esc50)


def _of_esc50(cells: Mapping[str, str], found: Found) -> Values:
    """Without a table of classes, `target` is the number of `category`."""
    category, name = cells["category"], text_of("filename", cells["filename"])
    clip_id = id_of(name)
    target = as_index(cells.get("target", ""))
    if found.classes is None and target is not None and category:
        found.numbering.give(category, target)
    uri = found.audio.find(name, clip_id, clip_id=clip_id)
    return {"uri": uri, "id": clip_id, "labels": _split(category)}


def _split(text: str) -> list[str]:
    return [label.strip() for label in text.split(",") if label.strip()]


def _table(
    lines: Iterator[str], found: Found, known: tuple[str, ...], translate: Callable[[Mapping[str, str], Found], Values]
) -> Iterator[Numbered]:
    rows = csv_rows(found.uri, lines)
    header = next(rows)
    expect_once(found.uri, header, known)
    found.leave(header.values, known)
    for row in rows:
        try:
            expect_width(found.uri, row, header.values)
            yield row.line, translate(dict(zip(header.values, row.values, strict=True)), found)
        except RowError as fault:
            yield row.line, fault


def _strong(lines: Iterator[str], found: Found) -> Iterator[Numbered]:
    """Events of AudioSet's segments; those of the same times, next to each other, are one clip of several labels."""
    found.dialect, found.stretches = "AudioSet's strong labels", True
    found.audio.look_also(storage.join(found.folder, "audio"))
    columns: list[str] = []
    last: tuple[list[str], int, Values] | None = None
    merged = 0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        cells = _tabbed(text)
        if not columns:
            columns = cells
            found.leave(columns, _STRONG)
            continue
        try:
            if len(cells) != len(columns):
                raise RowError(f"{len(cells)} values for {len(columns)} columns: {shown(text.strip())}", "Use tabs")
            named = dict(zip(columns, cells, strict=True))
            key = [named[column] for column in _STRONG[:3]]
            if last and last[0] == key:
                if named["label"]:
                    last[2]["labels"].append(named["label"])
                merged += 1
                continue
            event = _event(named, found)
        except RowError as fault:
            yield number, fault
            continue
        if last:
            yield last[1], last[2]
        last = key, number, event
    if last:
        yield last[1], last[2]
    if merged:
        found.remarks.append(f"{merged:,} rows have the times of the row before: their labels are one clip's")


def _tabbed(line: str) -> list[str]:
    return [cell.strip() for cell in line.rstrip("\r\n").split("\t")]


def _event(cells: Mapping[str, str], found: Found) -> Values:
    """An event, in the file of its segment or, counted from there, of the whole video."""
    segment = cells["segment_id"]
    start_s, end_s = (seconds_of(column, cells[column]) for column in _STRONG[1:3])
    if start_s is None or end_s is None:
        raise RowError(f"{shown(segment)} has no start or no end", "Give both times in seconds", "bad_times")
    labels = [cells["label"]] if cells["label"] else []
    parts = _SEGMENT_ID.fullmatch(segment)
    if not parts:
        return _stretch(found.audio.find(segment), segment, start_s, end_s, labels)
    video, begin_s = parts[1], int(parts[2]) / 1000
    row = Row(0, video, "", begin_s, begin_s + _SEGMENT_S)
    names = [name for prefix in ("", "Y") for name in names_of(row, True, prefix)]
    whole = {f"{prefix}{video}" for prefix in ("", "Y")}
    uri = found.audio.find(segment, *(name for name in names if name not in whole), *sorted(whole))
    if not {uri.rpartition("/")[2].partition(".")[0], uri.rpartition("/")[2].rpartition(".")[0]} & whole:
        return _stretch(uri, segment, start_s, end_s, labels)
    return _stretch(uri, video, round(begin_s + start_s, 6), round(begin_s + end_s, 6), labels)


def _stretch(uri: str, clip_id: str, start_s: float, end_s: float, labels: list[str]) -> Values:
    return {"uri": uri, "id": clip_id, "start_seconds": start_s, "end_seconds": end_s, "labels": labels}
