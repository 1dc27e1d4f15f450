"""`--check`: what a run would do, tried on a sample: decoders, network, storage; nothing is left behind.

The sample is drawn evenly from the clips in the order of their formats and sizes. Of a long recording only the start is
decoded. Times are those of one processor at work on one thing, so that they add up to core-hours.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import storage
from pipeline.cli.estimate import Trial, estimate
from pipeline.corpus import plan
from pipeline.decoding import decoders
from pipeline.embedding import embed
from pipeline.formatting import clips as of_clips
from pipeline.formatting import duration, number_of
from pipeline.machine import cores
from pipeline.output import records
from pipeline.output.layout import explained, join
from pipeline.output.tfrecord import frame
from pipeline.output.work import Work
from pipeline.settings import Job
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Failure, Segment, SegmentEnd
from vggish_core import params

EXAMPLES_OF_A_CLIP = 125
"""Two minutes at the usual hop: what is decoded of a clip at most."""
EMBEDDED = 192
"""Examples that go through the network, in full batches: enough to tell what one costs."""
SAMPLE_S = 60.0
"""No further clip is tried after so long."""


def attempt(job: Job, clips: Sequence[Clip], limit_s: float = SAMPLE_S) -> tuple[list[Trial], float]:
    """Decodes clips one after another, and embeds the first, as a run would; begins no further one after `limit_s`.

    Returns:
      Their outcomes, and the processor time that the network takes for an example.
    """
    worker = embed.shared_worker(job.model)
    start = time.monotonic()
    trials: list[Trial] = []
    decoded: list[ExampleBlock] = []
    with decoders.DecoderPool(job.front_end, job.decoding) as pool:
        for clip in clips:
            if trials and time.monotonic() - start > limit_s:
                break
            trial, examples = _decoded(pool, clip, job.front_end.hop_seconds)
            trials.append(trial)
            if sum(len(block.examples) for block in decoded) < EMBEDDED and len(examples):
                decoded.append(ExampleBlock(Segment(clip), 0, examples))
    return _embedded(trials, decoded, worker)


def _decoded(pool: decoders.DecoderPool, clip: Clip, hop_s: float) -> tuple[Trial, np.ndarray]:
    """A clip -> its outcome without embeddings, and its examples."""
    request = pool.submit(DecodeRequest(clip.uri, (Segment(clip),)))
    failure, ending, blocks, count = None, None, [], 0
    start = time.monotonic()
    for item in request:
        if isinstance(item, ExampleBlock):
            blocks.append(item.examples)
            count += len(item.examples)
            if count >= EXAMPLES_OF_A_CLIP:
                break
        elif isinstance(item, SegmentEnd):
            ending = item
        else:
            failure = item
    elapsed_s = time.monotonic() - start
    ended = ending is not None or failure is not None
    decode_s = request.busy_s if ended and request.busy_s else elapsed_s
    request.close()
    none = np.empty((0, params.EMBEDDING_SIZE), np.uint8)
    if failure is not None:
        return Trial(clip, 0, 0.0, 0.0, decode_s, none, failure), none
    audio_s = ending.audio_s if ending else count * hop_s
    lasts_s = audio_s if ending else _length_s(pool, clip)
    return Trial(clip, count, audio_s, lasts_s, decode_s, none), np.concatenate(blocks)


def _length_s(pool: decoders.DecoderPool, clip: Clip) -> float | None:
    """A clip's seconds of audio by its file's header; None if that does not tell."""
    found = pool.probe(clip.uri, place=clip.place).result()
    if found is None or not found.frames:
        return None
    end_s = found.frames / found.sample_rate_hz
    return max(0.0, (end_s if clip.end_s is None else min(end_s, clip.end_s)) - clip.start_s) or None


def _embedded(
    trials: Sequence[Trial], decoded: Sequence[ExampleBlock], worker: embed.Worker
) -> tuple[list[Trial], float]:
    """Outcomes of decoding, and the first clips' examples -> the outcomes, and the network's time for an example."""
    if not decoded:
        return list(trials), 0.0
    examples = np.concatenate([block.examples for block in decoded])
    starts = range(0, len(examples), worker.batch_size)
    began = time.process_time()  # whatever else the machine does
    batches = [worker.embed(examples[start : start + worker.batch_size]) for start in starts]
    example_s = (time.process_time() - began) / len(examples)
    values, finite = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    spans = [embed.Span(block.segment, 0, len(block.examples)) for block in decoded]
    found = {item.clip.key: item for item in embed.outcomes_of(spans, embed.EmbeddedBatch(values, finite, 0.0))}

    def finished(trial: Trial) -> Trial:
        outcome = found.get(trial.clip.key)
        if isinstance(outcome, Failure):
            return replace(trial, failure=outcome)
        rows = np.zeros((trial.examples, values.shape[1]), values.dtype) if outcome is None else outcome.values
        return replace(trial, values=rows)

    return [finished(trial) for trial in trials], example_s


def _record(trial: Trial, job: Job) -> bytes:
    clip = trial.clip
    end_s = clip.start_s + trial.audio_s if clip.end_s is None else clip.end_s
    return records.to_sequence_example(
        clip.id, clip.start_s, end_s, clip.labels, trial.values, job.output.record_format, clip.rated
    )


def try_storage(directory: str, data: bytes) -> None:
    """Writes bytes to an output's storage, reads them back and removes them, with the folders that were made for it.

    Raises:
      OutputError: the storage does not take them, or gives others back.
    """
    made = _missing_folders(directory)
    uri = join(directory, f".check-{uuid.uuid4().hex[:12]}.tfrecord")
    try:
        with explained(directory, "writing a record to try the storage"):
            storage.mkdirs(directory)
            storage.write_atomic(uri, data)
            with storage.open_read(uri) as file:
                if file.read() != data:
                    raise OSError("it gives back other bytes than were written")
            storage.delete(uri)
    finally:
        for folder in made:
            if folder.is_dir():
                folder.rmdir()


def _missing_folders(directory: str) -> list[Path]:
    """Folders that are to be made for a local output, the deepest first."""
    if not storage.is_local(directory):
        return []
    path = Path(storage.absolute(directory))
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def report(job: Job, work: Work, sample: Sequence[Clip], continued: bool) -> str:
    """Tries a run on a sample -> text that says what the whole would do and take. Errors as `try_storage`."""
    start = time.monotonic()
    trials, example_s = attempt(job, sample)
    elapsed_s = time.monotonic() - start
    good = [trial for trial in trials if trial.failure is None]
    data = b"".join(frame(_record(trial, job)) for trial in good) or b"no clip gave a record"
    try_storage(job.output.directory, data)
    touched = _touched(work.clips, job.output.num_shards)
    total = estimate(work.clips, trials, example_s, lambda trial: len(frame(_record(trial, job))))
    shards = number_of(job.output.num_shards, "shard")
    lines = [
        f"clips      {len(work.clips):,} to embed, {work.kept:,} kept, {work.gone:,} no longer among the inputs",
        f"output     {'continued' if continued else 'new'}: {shards}, {touched:,} to write",
        f"storage    {len(data):,} bytes were written, read back and removed",
        f"sample     {of_clips(len(trials))} in {duration(elapsed_s)}; {len(trials) - len(good):,} gave no record",
        *_failures(work, trials),
        f"estimate   {duration(total.audio_s)} of audio; {total.core_s / 3600:,.2f} core-hours, "
        f"{duration(total.wall_s)} on this machine's {cores()} cores, give or take {total.off:.0%}; "
        f"{total.output_bytes / 1e6:,.1f} MB of records",
    ]
    return f"check of {job.output.directory}; nothing was changed\n  " + "\n  ".join(lines)


def _touched(clips: Iterable[Clip], num_shards: int) -> int:
    """The number of shards that clips fall into."""
    found: set[int] = set()
    for clip in clips:
        found.add(plan.shard_of(clip.id, num_shards))
        if len(found) == num_shards:  # long before the last of millions
            break
    return len(found)


def _failures(work: Work, trials: Sequence[Trial]) -> Iterator[str]:
    """Lines for known failures, and for failures in the sample, extrapolated to all clips."""
    for reason, count in Counter(failure.reason for failure in work.failures).most_common():
        yield f"listed     {count:,} {reason}"
    found = [trial.failure for trial in trials if trial.failure is not None]
    for reason, count in Counter(failure.reason for failure in found).most_common():
        example = next(failure for failure in found if failure.reason == reason)
        about = round(count / len(trials) * len(work.clips))
        what = "skipped" if example.skipped else "failed"
        yield f"expected   about {about:,} {what} as {reason}, such as {example.clip.uri}: {example.message}"
