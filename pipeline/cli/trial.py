"""`--check`: what a run would do, tried on a sample: decoders, network, storage; nothing is left behind.

The sample is drawn evenly from the clips in the order of their formats and sizes. Of a long recording only the start is
decoded. Times are those of one processor at work on one thing, so that they add up to core-hours.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path

import numpy as np

from pipeline import storage
from pipeline.corpus import plan
from pipeline.corpus.sample import format_of
from pipeline.decoding import decoders
from pipeline.embedding import embed
from pipeline.formatting import duration
from pipeline.machine import cores
from pipeline.output import records
from pipeline.output.layout import explained, join
from pipeline.output.tfrecord import frame
from pipeline.output.work import Work
from pipeline.settings import Job
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Failure, Segment, SegmentEnd

EXAMPLES_OF_A_CLIP = 640
"""Ten minutes at the usual hop: what is decoded of a clip at most."""
SAMPLE_S = 60.0
"""No further clip is tried after so long."""
BUSY = 0.85
"""Share of the processors' time that a run on this machine makes use of."""


@dataclass(frozen=True)
class Trial:
    """The outcome of one clip.

    Attributes:
      clip: which.
      examples, audio_s: decoded.
      whole: the clip was decoded to its end.
      decode_s, embed_s: processor time for that.
      values: its embeddings [k, 128]; no rows where it failed.
      failure: why it did.
    """

    clip: Clip
    examples: int
    audio_s: float
    whole: bool
    decode_s: float
    embed_s: float
    values: np.ndarray
    failure: Failure | None = None


@dataclass(frozen=True)
class Estimate:
    """An estimate of the work: seconds of audio, seconds of one processor, and bytes of records."""

    audio_s: float
    core_s: float
    output_bytes: float


def attempt(job: Job, clips: Sequence[Clip], limit_s: float = SAMPLE_S) -> list[Trial]:
    """Decodes and embeds clips one after another, as a run would; begins no further one after `limit_s`."""
    worker = embed.shared_worker(job.model)
    start = time.monotonic()
    trials: list[Trial] = []
    with decoders.DecoderPool(job.front_end, job.decoding) as pool:
        for clip in clips:
            if trials and time.monotonic() - start > limit_s:
                break
            trials.append(_attempt(pool, worker, clip, job.front_end.hop_seconds))
    return trials


def _attempt(pool: decoders.DecoderPool, worker: embed.Worker, clip: Clip, hop_s: float) -> Trial:
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
    whole = ending is not None or failure is not None
    decode_s = request.busy_s if whole and request.busy_s else elapsed_s
    request.close()
    if failure is not None:
        return Trial(clip, 0, 0.0, True, decode_s, 0.0, np.empty((0, 128)), failure)
    examples = np.concatenate(blocks)
    batches = [
        worker.submit(examples[begin : begin + worker.batch_size]).result()
        for begin in range(0, count, worker.batch_size)
    ]
    values = np.concatenate([batch.values for batch in batches])
    whole_batch = embed.EmbeddedBatch(
        values, np.concatenate([batch.finite for batch in batches]), fsum(batch.seconds for batch in batches)
    )
    (outcome,) = embed.outcomes_of([embed.Span(Segment(clip), 0, count)], whole_batch)
    audio_s = ending.audio_s if ending else count * hop_s
    failure = outcome if isinstance(outcome, Failure) else None
    return Trial(clip, count, audio_s, whole, decode_s, whole_batch.seconds, values, failure)


def estimate(clips: Sequence[Clip], trials: Sequence[Trial], job: Job) -> Estimate:
    """All clips, and the outcome of some -> an estimate for all."""
    good = [trial for trial in trials if trial.failure is None]
    if not good:
        return Estimate(0.0, 0.0, 0.0)
    share = len(good) / len(trials)
    tried_s = fsum(trial.audio_s for trial in good)
    rates = _seconds_a_byte(good)
    come_s = {trial.clip.key: _come_of(trial, rates, tried_s / len(good)) for trial in trials}
    untried = (clip for clip in clips if clip.key not in come_s)
    audio_s = fsum(come_s.values()) + share * fsum(_audio_s(clip, rates, tried_s / len(good)) for clip in untried)
    core_s = audio_s / tried_s * fsum(trial.decode_s + trial.embed_s for trial in good)
    frames = sum(trial.examples for trial in good) * audio_s / tried_s
    return Estimate(audio_s, core_s, frames * _record_bytes(good, job) / sum(trial.examples for trial in good))


def _seconds_a_byte(good: Sequence[Trial]) -> dict[str, float]:
    """By format, "" for all: seconds of audio in a byte of the files that were decoded to their end."""
    seconds: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for trial in good:
        if trial.whole and not trial.clip.cut and trial.clip.size_bytes:
            for name in (format_of(trial.clip), ""):
                seconds[name] += trial.audio_s
                sizes[name] += trial.clip.size_bytes
    return {name: seconds[name] / sizes[name] for name in sizes}


def _come_of(trial: Trial, per_byte: dict[str, float], otherwise: float) -> float:
    """Seconds of audio in a tried clip, which may not have been read to its end."""
    if trial.failure is not None:
        return 0.0
    return trial.audio_s if trial.whole else max(trial.audio_s, _audio_s(trial.clip, per_byte, otherwise))


def _audio_s(clip: Clip, per_byte: dict[str, float], otherwise: float) -> float:
    if clip.end_s is not None:
        return plan.most_seconds(clip)
    rate = per_byte.get(format_of(clip), per_byte.get(""))
    return clip.size_bytes * rate if rate and clip.size_bytes else otherwise


def _record_bytes(good: Sequence[Trial], job: Job) -> int:
    """Bytes of the trials' records."""
    return sum(len(frame(_record(trial, job))) for trial in good)


def _record(trial: Trial, job: Job) -> bytes:
    clip = trial.clip
    end_s = clip.start_s + trial.audio_s if clip.end_s is None else clip.end_s
    return records.to_sequence_example(
        clip.id, clip.start_s, end_s, clip.labels, trial.values, job.output.record_format
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
    trials = attempt(job, sample)
    elapsed_s = time.monotonic() - start
    good = [trial for trial in trials if trial.failure is None]
    data = b"".join(frame(_record(trial, job)) for trial in good) or b"no clip gave a record"
    try_storage(job.output.directory, data)
    touched = _touched(work.clips, job.output.num_shards)
    total = estimate(work.clips, trials, job)
    wall_s = total.core_s / cores() / BUSY
    lines = [
        f"clips      {len(work.clips):,} to embed, {work.kept:,} kept, {work.gone:,} no longer among the inputs",
        f"output     {'continued' if continued else 'new'}: {job.output.num_shards:,} shards, {touched:,} to write",
        f"storage    {len(data):,} bytes were written, read back and removed",
        f"sample     {len(trials):,} clips in {duration(elapsed_s)}; {len(trials) - len(good):,} gave no record",
        *_failures(work, trials),
        f"estimate   {duration(total.audio_s)} of audio; {total.core_s / 3600:,.2f} core-hours, "
        f"{duration(wall_s)} on this machine's {cores()} cores; {total.output_bytes / 1e6:,.1f} MB of records",
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
