"""A job's open settings -> their values for this corpus and engine: weights, shards, processes and threads."""

from __future__ import annotations

from dataclasses import replace

from pipeline import storage
from pipeline.corpus import ids, plan
from pipeline.embedding import models
from pipeline.output import manifest
from pipeline.running.engines.runners import Engine, cores_a_worker
from pipeline.settings import Decoding, Job, Model, Output
from pipeline.types import Corpus

CROWDED = 10
"""Times the clips or bytes that a shard is meant to hold (`plan.default_num_shards`)."""


def resolve_model(model: Model, engine: Engine) -> Model:
    """The model with its weights found and verified, and as many threads as a worker has cores, if that is open.

    Raises:
      WeightsError: there are no such weights, or they are damaged.
    """
    model = replace(model, threads=model.threads or cores_a_worker(engine))
    return models.identify(model)


def load_network(model: Model, engine: Engine | None = None) -> None:
    """Loads the network once here, so that errors, also in the kernel's accuracy, show before anything is written.

    The direct kernel has no accuracy to check, and may need a GPU: if workers are on other machines, only they load it.

    Args:
      model: its weights found.
      engine: whose workers compute; None: this process.

    Raises:
      WeightsError, CheckpointError, PcaError: weights that are missing or do not fit.
      KernelError: the fast kernel is too far from the plain graph.
      NoGpuError: for bfloat16 where it is loaded, and TensorFlow sees no GPU.
    """
    if engine is None or engine.here or model.convolutions != "direct":
        from pipeline.embedding import embed

        embed.shared_worker(model, check=True)


def resolve_decoding(decoding: Decoding, engine: Engine) -> Decoding:
    """How decoders are run, with as many as a worker has cores, if their number is open."""
    return replace(decoding, processes=decoding.processes or cores_a_worker(engine))


def resolve_output(output: Output, corpus: Corpus, overwrite: bool = False) -> Output:
    """The output, its path from the root, with its number of shards: the one that it has, or by the corpus' size.

    An output that grows keeps its number of shards: a clip's shard depends on it.

    Raises:
      OutputError: what is there cannot be read.
      FlagError: a new output would have far more shards than there are clips; or records would have one id, and no
        times to tell them apart.
    """
    if output.record_format != "audioset":
        ids.expect_one_clip_each(corpus.clips, output.record_format)
    directory = storage.absolute(output.directory)
    before = None if overwrite else manifest.read(directory)
    if output.num_shards:
        if before is None or before.num_shards != output.num_shards:
            plan.expect_filled(output.num_shards, len(corpus.clips) + len(corpus.failures))
        return replace(output, directory=directory)
    return replace(output, directory=directory, num_shards=before.num_shards if before else default_num_shards(corpus))


def default_num_shards(corpus: Corpus) -> int:
    """The number of shards that a new output of a corpus has."""
    size = sum(map(plan.cost_bytes, corpus.clips))
    return plan.default_num_shards(len(corpus.clips) + len(corpus.failures), size)


def fitting_num_shards(corpus: Corpus, num_shards: int) -> int:
    """How many shards a corpus would rather have, where so many would each hold `CROWDED` times what is meant; else 0.

    An output that began small has one shard, however far it grows: a changed clip then rewrites all of it, and one
    process alone writes it.
    """
    wanted = default_num_shards(corpus)
    return wanted if wanted >= CROWDED * num_shards else 0


def resolve(job: Job, corpus: Corpus, engine: Engine, overwrite: bool = False) -> Job:
    """All of the above; raises what they raise."""
    return replace(
        job,
        output=resolve_output(job.output, corpus, overwrite),
        model=resolve_model(job.model, engine),
        decoding=resolve_decoding(job.decoding, engine),
    )
