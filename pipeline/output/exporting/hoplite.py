"""Records -> a database of perch-hoplite, made by its own library, for its notebooks: search by example, labelling."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.extras import needs
from pipeline.formatting import text
from pipeline.output import ledger, provenance
from pipeline.output.exporting import sets
from pipeline.output.exporting.clip_rows import ClipRows
from pipeline.output.layout import STATE, files_in, join
from pipeline.output.loading.dataset import WIDTH, Level
from pipeline.output.records import Record
from vggish_core import params

MADE_BY = "vggish-pipeline"
"""Provenance of the labels, in the database."""


def expect_packages() -> None:
    """Raises MissingPackagesError without perch-hoplite."""
    needs("hoplite", "perch_hoplite", for_="--to hoplite")


def write(rows: Iterator[ClipRows], folder: Path, pattern: str, level: Level) -> tuple[int, int]:
    """Clips and their vectors -> a database in a folder; how many clips and vectors it holds.

    A recording is a file where the data set's ledgers name one on this machine, else a clip's id; a window is a frame
    or a clip; an annotation is a clip's label over its length, by its name in `classes.csv`, if that is there. Vectors
    are kept as float16, as this library does.
    """
    directories = sets.directories(pattern)
    database, configs = (importlib.import_module(f"perch_hoplite.{name}") for name in _MODULES)
    config = importlib.import_module("ml_collections.config_dict")
    found = database.SQLiteUSearchDB.create(str(folder), database.get_default_usearch_config(WIDTH))
    with closing(found.db):
        for key, value in _metadata(configs, sets.title(directories)).items():
            found.insert_metadata(key, config.ConfigDict(value))
        written = _insert(found, rows, directories, provenance.of(pattern, "use").hop_s, level)
        found.commit()
    return written


_MODULES = ("db.sqlite_usearch_impl", "zoo.model_configs")


def _metadata(configs: Any, title: str) -> dict[str, dict[str, Any]]:
    """What the notebooks ask for: the model that embeds an example from outside, and where recordings are."""
    preset = configs.get_preset_model_config("vggish")
    model = {
        "model_key": preset.model_key,
        "embedding_dim": WIDTH,
        "model_config": preset.model_config,
        "logits_key": None,
        "logits_idxes": None,
    }
    # File names are absolute: they stay what they are behind any base.
    source = {"dataset_name": title, "base_path": "/", "file_glob": "", "shard_len_s": None}
    return {"model_config": model, "audio_sources": {"audio_globs": (source,)}}


def _insert(
    found: Any, rows: Iterator[ClipRows], directories: list[str], hop_s: float, level: Level
) -> tuple[int, int]:
    label_type = importlib.import_module("perch_hoplite.db.datatypes").LabelType.POSITIVE
    names, files, title = sets.class_names(directories), _files(directories), sets.title(directories)
    deployment = found.insert_deployment(name=title, project=title)
    recordings: dict[str, int] = {}
    clips = vectors = 0
    for each in rows:
        record = each.record
        name = text(files.get(record.id, record.id))
        if name not in recordings:
            recordings[name] = found.insert_recording(filename=name, deployment_id=deployment)
        recording = recordings[name]
        whole = _whole(record, hop_s)
        begins = [whole[0] + frame * hop_s for frame in range(len(each.vectors))]
        offsets = (
            [whole]
            if level == "clip" or record.layout == "youtube8m_video"
            else [[begin, begin + params.EXAMPLE_WINDOW_SECONDS] for begin in begins]
        )
        windows = [{"recording_id": recording, "offsets": offset} for offset in offsets]
        if windows:
            found.insert_windows_batch(windows, each.vectors, handle_duplicates="allow")
        for label in record.labels:
            shown = names.get(label, str(label))
            found.insert_annotation(recording, whole, shown, label_type, MADE_BY, handle_duplicates="allow")
        clips, vectors = clips + 1, vectors + len(windows)
    return clips, vectors


def _whole(record: Record, hop_s: float) -> list[float]:
    """A clip's start and end in its recording, in seconds; where the record has none, those of its frames."""
    start_s = record.start_s or 0.0
    frames_end_s = start_s + max(len(record.values) - 1, 0) * hop_s + params.EXAMPLE_WINDOW_SECONDS
    return [start_s, frames_end_s if record.end_s is None else record.end_s]


def _files(directories: list[str]) -> dict[str, str]:
    """Ids of clips -> the files on this machine that they are of, as the ledgers of outputs say."""
    found = {}
    for state in [join(directory, STATE) for directory in directories]:
        for name in files_in(state, "ledger-"):
            with storage.open_read(join(state, name)) as file:
                for line in file:
                    entry = ledger.from_line(line)
                    if entry.outcome == "written" and not entry.place and storage.is_local(entry.uri):
                        found[entry.id] = storage.local_path(entry.uri)
    return found
