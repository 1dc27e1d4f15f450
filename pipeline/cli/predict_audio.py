"""Audio of `pipeline.predict` -> embeddings like those that its model was trained on."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.errors import FlagError
from pipeline.output import ledger, provenance
from pipeline.output.layout import FAILURES, STATE, join
from pipeline.output.loading.dataset import matching_files
from pipeline.training.saved_model import Description

if TYPE_CHECKING:
    from pipeline.running.engines.runners import Engine
    from pipeline.settings import Job


@dataclass(frozen=True)
class Embedded:
    """A data set of embeddings, which may hold more clips than were asked for.

    Attributes:
      pattern: of its record files.
      uris: of the audio, by id, of the clips that were asked for and have a record.
    """

    pattern: str
    uris: dict[str, str]


def embed(flags: Namespace, directory: str, description: Description) -> Embedded:
    """Audio -> embeddings by the pipeline, with the settings that the model's embeddings were made with.

    Clips that could not be embedded are named on standard error.

    Args:
      flags: the command's.
      directory: where the embeddings go; those that are there are kept.
      description: of the model.

    Raises:
      UserError: the audio or the weights cannot be used; weights are refused before any audio is looked at.
    """
    from pipeline.cli.console.progress import ProgressLine
    from pipeline.corpus.sources import find_corpus
    from pipeline.output.resume import SettingsDiffer
    from pipeline.running.embed_corpus import embed_corpus
    from pipeline.running.engines import runners

    job = _job(flags, directory, description, runners.choose("DirectRunner", ()))
    corpus = find_corpus(flags.input, output=directory)
    for note in corpus.notes:
        print(note, file=sys.stderr)
    try:
        with ProgressLine(flags.progress) as line:
            embed_corpus(corpus, job, on_progress=None if line.off else line.show)
    except SettingsDiffer as error:  # its remedies are flags of another command
        different = "; ".join(error.differences)
        raise FlagError(
            f"--embeddings_dir {directory} was made with other settings: {different}", "Name another folder"
        ) from error
    wanted = {clip.id for clip in corpus.clips}
    _show_failures(directory, wanted | {failure.clip.id for failure in corpus.failures})
    ledgers = matching_files(join(directory, STATE, "ledger-*"))
    entries = (entry for uri in ledgers for entry in ledger.read(uri))
    uris = {entry.id: entry.uri for entry in entries if entry.outcome == "written" and entry.id in wanted}
    if not uris:
        raise FlagError(f"--input {' '.join(flags.input)}: no clip could be embedded", "See the failures above")
    return Embedded(join(directory, "*.tfrecord"), uris)


def _job(flags: Namespace, directory: str, description: Description, engine: Engine) -> Job:
    """The job, its weights found and compared with those of the model's training data."""
    from pipeline.analysis import audio
    from pipeline.output import manifest
    from pipeline.running import resolve
    from pipeline.settings import FrontEnd, Job, Output

    made_by = description.made_by
    model = audio.model_of(made_by, flags.checkpoint, flags.pca_params)
    output = Output(directory, num_shards=0 if flags.embeddings_dir else 1)
    job = Job(output, resolve.resolve_model(model, engine), FrontEnd(made_by.hop_s, short_clips=flags.short_clips))
    description.refuse_others(provenance.from_manifest(manifest.new(job)), f"--model {flags.model}")
    return job


def _show_failures(directory: str, wanted: set[str]) -> None:
    with storage.open_read(join(directory, FAILURES)) as file:
        for failure in map(json.loads, file):
            if failure["id"] in wanted:
                print(f"{failure['uri']}: {failure['reason']}: {failure['message']}", file=sys.stderr)
