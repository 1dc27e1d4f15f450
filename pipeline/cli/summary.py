"""The command's summary: clips, failures by reason, hours of audio, speed, and where everything is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping

from pipeline import storage
from pipeline.formatting import clips, duration, number_of, times_real_time
from pipeline.output.at_work.submitted import Submitted
from pipeline.output.layout import FAILURES, MANIFEST, join
from pipeline.output.manifest import Manifest
from pipeline.output.resume import OpenedOutput
from pipeline.output.tasks import Task
from pipeline.output.work import Work
from pipeline.reasons import REASONS
from pipeline.running import job as jobs
from pipeline.running.embed_corpus import Finished
from pipeline.running.tasks import Part
from pipeline.settings import Job
from vggish_core.weights import standin


def summary(directory: str, done: Finished, elapsed_s: float, report: str = "", parquet: str = "") -> str:
    """A finished run as text.

    Args:
      directory: the output.
      done: what the run came to.
      elapsed_s: how long it took.
      report: where `report.html` is, if it was made.
      parquet: what became of the Parquet files, if they were asked for.
    """
    manifest = done.manifest
    totals = manifest.totals
    lines = [
        f"{clips(int(totals['clips_in']))}: {totals['written']:,} written, {totals['failed']:,} failed, "
        f"{totals['skipped']:,} skipped; {totals['examples']:,} examples of {duration(totals['audio_seconds'])}",
        _speed(done, elapsed_s),
        f"  damaged    {totals['damaged']:,} of the written: what decodes of them was kept"
        if totals["damaged"]
        else "",
        f"  unequal    {manifest.run['unequal_rows']:,} rows that two kinds of processors computed a step apart"
        if manifest.run.get("unequal_rows")
        else "",
        *_by_reason("failed", manifest.failures),
        *_by_reason("skipped", manifest.skips),
        f"  records    {storage.join(directory, f'embeddings-*-of-{manifest.num_shards:05d}.tfrecord')}",
        f"  manifest   {storage.join(directory, MANIFEST)}",
        f"  failures   {storage.join(directory, FAILURES)}",
        f"  report     {report}" if report else "",
        f"  parquet    {parquet}" if parquet else "",
        f"  model      {manifest.models['checkpoint']['name']}",
        _warning(manifest),
    ]
    return "\n".join(line for line in lines if line)


def submitted(directory: str, job: Submitted) -> str:
    """A job that goes on without the command, and how to follow it."""
    return (
        f"Submitted: {job}. It commits the data set itself.\n"
        f"  vggish-pipeline status {shlex.quote(directory)}   shows how far it is"
    )


def task(of: Task, part: Part, elapsed_s: float) -> str:
    """The summary of an array's task: what it did, and what the array still lacks."""
    lines = [
        f"task {of}: {clips(part.clips)}, {part.failed:,} failed",
        _speed(part, elapsed_s),
    ]
    if part.missing:
        tasks = ", ".join(f"{count:,} of task {task}" for task, count in list(part.missing.items())[:8])
        more = f" and {len(part.missing) - 8} more tasks" if len(part.missing) > 8 else ""
        lines.append(f"  nothing is committed yet; missing are {tasks}{more}")
    return "\n".join(lines)


def recovered(opened: OpenedOutput, work: Work) -> Iterator[str]:
    """Remains of an interrupted run, and lost shards -> lines for the user; mostly none."""
    if opened.finished:
        yield f"The last run was stopped while it committed {number_of(opened.finished, 'shard')}; that is done now."
    if work.from_rows or work.partly:
        partly = f", {len(work.partly):,} in part" if work.partly else ""
        yield f"The last run was stopped with {clips(work.from_rows)} done{partly}, not yet committed: kept."
    if work.damaged:
        names = ", ".join(sorted({part.name for part in work.damaged})[:3])
        yield f"Damaged row files: {names}. What they held is computed again."
    if opened.lost:
        names = ", ".join(opened.lost[:3]) + (f" and {len(opened.lost) - 3} more" if len(opened.lost) > 3 else "")
        yield f"Missing or damaged in the output: {names}. Their clips are computed again."


def kept(job: Job, work: Work) -> str:
    """What a stopped run leaves of its work; "" where counting it would take long. Raises OutputError."""
    found = jobs.kept_now(job, work)
    return "" if found is None else f"{found:,} of {clips(work.clips_in)} {'is' if found == 1 else 'are'} kept"


def crowded(directory: str, num_shards: int, fitting: int) -> str:
    """An output whose shards hold ten times what they are meant to -> a line that says how to have more of them."""
    change = f"python -m pipeline.reshard {shlex.quote(directory)} --num_shards auto"
    return (
        f"warning: {number_of(num_shards, 'shard')} for so many clips: after this run, {change} makes {fitting:,} of "
        "them, without embedding anything"
    )


def top_failures(directory: str, counts: Mapping[str, int], most: int = 3) -> Iterator[str]:
    """The most frequent reasons with an example each -> lines; the examples are read from `failures.jsonl`."""
    wanted = list(counts)[:most]
    examples: dict[str, str] = {}
    with storage.open_read(join(directory, FAILURES)) as file:
        for line in map(json.loads, file):
            if not line["skipped"] and line["reason"] in wanted:
                examples.setdefault(line["reason"], f"{line['uri'] or line['id']}: {line['message']}")
                if len(examples) == len(wanted):
                    break
    for reason in wanted:
        yield f"  {counts[reason]:,} {reason}: {examples.get(reason, '')}"


def _warning(manifest: Manifest) -> str:
    if not any(model["name"] == standin.NAME for model in manifest.models.values()):
        return ""
    return "\n*** STAND-IN WEIGHTS: random numbers. These embeddings mean nothing; use them to try things out only. ***"


def _speed(done: Finished | Part, elapsed_s: float) -> str:
    """What a run embedded, how long all of it took, and its rate while the engine was at work."""
    held = f"; {clips(done.kept)} {'was' if done.kept == 1 else 'were'} there already" if done.kept else ""
    if done.computed_s <= 0:  # less: a record may have gone
        return f"nothing to compute in {duration(elapsed_s)}{held}"
    rate = times_real_time(done.computed_s / (done.working_s or elapsed_s))
    while_at_work = " while at work" if done.working_s else ""
    return f"{duration(done.computed_s)} embedded in {duration(elapsed_s)}, {rate}{while_at_work}{held}"


def _by_reason(outcome: str, counts: Mapping[str, int]) -> list[str]:
    return [f"  {outcome:<8}  {count:>6,}  {reason:<16} {REASONS.get(reason, '')}" for reason, count in counts.items()]
