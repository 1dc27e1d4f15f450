"""The command's flags -> the settings of its job; what is wrong with a flag's value, under the flag's name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.cli.flags import FlagError

if TYPE_CHECKING:
    from pipeline.engines.engine import Engine
    from pipeline.inputs.corpus import Corpus
    from pipeline.settings import Job, Model


def model_of(flags: argparse.Namespace, on: Engine) -> Model:
    """Flags -> the model, its weights found and verified."""
    from pipeline import settings
    from pipeline.embedding import accelerator, models
    from pipeline.engines import engine

    model = settings.Model(
        checkpoint=flags.checkpoint,
        pca_params=flags.pca_params,
        precision=flags.precision,
        convolutions=flags.convolutions,
        embeddings=flags.embeddings,
        threads=flags.threads or engine.cores_a_worker(on),
    )
    # Workers elsewhere have processors of their own, and several processes would share the GPU's memory.
    if flags.any_kernel and on.local and on.workers == 1 and (gpu := accelerator.gpu()):
        print(accelerator.announced(gpu), file=sys.stderr)
        model = accelerator.on_gpu(model)
    with about("--checkpoint"):
        model = models.resolve_checkpoint(model)
    with about("--pca_params"):
        return models.resolve_pca(model)


def job_of(flags: argparse.Namespace, found: Corpus, model: Model, on: Engine) -> Job:
    """Flags, the corpus and the model -> all settings of the job."""
    from pipeline import manifest, plan, settings, storage
    from pipeline.engines import engine

    directory = storage.absolute(flags.output)
    with about("--output"):
        before = None if flags.overwrite else manifest.read(directory)
    size = sum(map(plan.cost_bytes, found.clips))
    # An output that grows keeps its number of shards: a clip's shard depends on it.
    by_default = before.num_shards if before else plan.default_num_shards(len(found.clips) + len(found.failures), size)
    return settings.Job(
        front_end=settings.FrontEnd(flags.hop_seconds, flags.short_clips, flags.max_duration_seconds, flags.damaged),
        model=model,
        output=settings.Output(directory, flags.num_shards or by_default, flags.record_format),
        decoding=settings.Decoding(
            processes=flags.decoders or engine.cores_a_worker(on),
            timeout_s=flags.decode_timeout_seconds,
            memory_mb=flags.decode_memory_mb,
            segment_seconds=flags.segment_seconds,
        ),
    )


def load(model: Model) -> None:
    """Load the model once here: what is wrong with it shows before anything is written, the kernel's accuracy too."""
    from pipeline import embed
    from pipeline.cli import messages
    from vggish_core.processor import UnsupportedProcessorError

    try:
        with about("--checkpoint"):
            embed.shared_worker(model, check=True)
    except UnsupportedProcessorError as error:
        found, remedy = messages.parts(error)
        raise FlagError(f"--precision {model.precision}: {found}", remedy) from error


@contextmanager
def about(flag: str, *lists: str | None) -> Iterator[None]:
    """What is wrong within is about a flag's value or in one of the lists: shown with its name, exit status 2."""
    from pipeline import storage
    from pipeline.cli import messages
    from pipeline.output.layout import OutputError
    from pipeline.sources import SourceError
    from vggish_core.weights import WeightsError

    try:
        yield
    except (OutputError, SourceError, WeightsError, ValueError, OSError) as error:
        found, remedy = messages.parts(error)
        listed = any(file and found.startswith(storage.absolute(file)) for file in lists)  # says itself where
        raise FlagError(found if listed else f"{flag}: {found}", remedy) from error


@contextmanager
def unless_busy() -> Iterator[None]:
    """Another command at work is an output that cannot be used, as for a whole run."""
    from pipeline.output.lock import OutputBusy

    try:
        yield
    except OutputBusy as error:
        raise FlagError(f"--output: {error.found}", error.remedy) from error
