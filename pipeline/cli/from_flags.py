"""The command's flags -> the settings of its job; errors carry the flag's name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import FlagError, UserError

if TYPE_CHECKING:
    from pipeline.running.engines.runners import Engine
    from pipeline.settings import Crawl, Job, Model, Update
    from pipeline.types import Corpus


def corpus_of(flags: argparse.Namespace, on_found: Callable[[int], object] | None = None) -> Corpus:
    """Flags -> the corpus; prints what was left out of it. `on_found` as of `find_corpus`."""
    from pipeline.corpus import rated, sources
    from pipeline.corpus.parquet.columns import ColumnNames
    from pipeline.output import classes

    numbers = flags.labels_from or flags.labels_column or (flags.manifest and not flags.class_labels)
    with about("--input", flags.manifest, flags.segments, flags.class_labels):
        found = sources.find_corpus(
            flags.input,
            manifest=flags.manifest,
            segments=flags.segments,
            class_labels=flags.class_labels,
            segment_audio=flags.segment_audio,
            duplicate_ids=flags.duplicate_ids,
            output=flags.output,
            exclude=flags.exclude,
            labels_from=flags.labels_from,
            numbered=classes.numbered(flags.output) if numbers and not flags.overwrite else {},
            on_found=on_found,
            crawl=crawl_of(flags),
            columns=ColumnNames(flags.audio_column, flags.id_column, flags.labels_column),
            record_format=flags.record_format,
        )
    found = rated.joined(found, flags.record_format, flags.hop_seconds)
    for note in found.notes:
        print(note, file=sys.stderr)
    return found


def crawl_of(flags: argparse.Namespace) -> Crawl:
    """Flags -> how servers are asked."""
    from pipeline.settings import Crawl

    return Crawl(flags.connections_per_host, flags.max_download_mb << 20, flags.allow_private_hosts)


def update_of(flags: argparse.Namespace) -> Update:
    """Flags -> how to treat what the output holds already."""
    from pipeline.settings import Update

    return Update(flags.overwrite, flags.retry_failed, flags.prune)


def job_of(flags: argparse.Namespace, found: Corpus, engine: Engine) -> Job:
    """Flags and the corpus -> all settings of the job, its weights found and verified."""
    from pipeline import settings
    from pipeline.running import resolve

    output = settings.Output(flags.output, flags.num_shards or 0, flags.record_format)
    decoding = settings.Decoding(
        processes=flags.decoders or 0,
        timeout_s=flags.decode_timeout_seconds,
        memory_mb=flags.decode_memory_mb,
        segment_seconds=flags.segment_seconds,
        crawl=crawl_of(flags),
    )
    with about("--output"):
        output = resolve.resolve_output(output, found, flags.overwrite)
    model = _model_of(flags, engine)
    return settings.Job(
        output,
        model,
        settings.FrontEnd(flags.hop_seconds, flags.short_clips, flags.max_duration_seconds, flags.damaged),
        resolve.resolve_decoding(decoding, engine),
    )


def _model_of(flags: argparse.Namespace, engine: Engine) -> Model:
    from pipeline import settings
    from pipeline.embedding import accelerator, models
    from pipeline.running.engines import runners
    from vggish_core.network import gpus

    model = settings.Model(
        checkpoint=flags.checkpoint,
        pca_params=flags.pca_params,
        precision=flags.precision,
        convolutions=flags.convolutions,
        embeddings=flags.embeddings,
        threads=flags.threads or runners.cores_a_worker(engine),
    )
    # Workers elsewhere have processors of their own, and several processes would share the GPU's memory.
    if flags.any_kernel and engine.local and engine.workers == 1 and (gpu := gpus.gpu()):
        print(accelerator.announced(gpu), file=sys.stderr)
        model = accelerator.on_gpu(model)
    with about("--checkpoint"):
        model = models.resolve_checkpoint(model)
    with about("--pca_params"):
        return models.resolve_pca(model)


def load(model: Model, engine: Engine | None = None) -> None:
    """As `resolve.load_network`, with errors for the command's user."""
    from pipeline.running import resolve
    from vggish_core.network.gpus import NoGpuError

    with about("--checkpoint"):
        try:
            resolve.load_network(model, engine)
        except NoGpuError as error:
            raise FlagError(f"--precision {model.precision}: {error.found}", error.remedy) from error


@contextmanager
def about(flag: str, *lists: str | None) -> Iterator[None]:
    """Errors in the block are shown with the flag's or list's name, and end with exit status 2."""
    from pipeline import storage
    from pipeline.cli.console import messages

    try:
        yield
    except FlagError:  # names its flag itself
        raise
    except (UserError, OSError) as error:
        found, remedy = messages.parts(error)
        listed = any(file and found.startswith(storage.absolute(file)) for file in lists)  # says itself where
        raise FlagError(found if listed else f"{flag}: {found}", remedy) from error


@contextmanager
def unless_busy() -> Iterator[None]:
    """Treats another command at work as an output that cannot be used, as for a whole run."""
    from pipeline.output.lock import OutputBusy

    try:
        yield
    except OutputBusy as error:
        raise FlagError(f"--output: {error.found}", error.remedy) from error
