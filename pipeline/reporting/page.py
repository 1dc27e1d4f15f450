"""A sample of an output -> its `report.html`: the numbers, the figures and the words around them. Jinja2, no Beam."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import formatting
from pipeline.formatting import duration, number_of
from pipeline.output.history import RunRecord
from pipeline.output.layout import basename
from pipeline.output.ledger import LedgerEntry
from pipeline.reasons import REASONS
from pipeline.reporting import clips, embeddings, labels, listening, parts, plots, reference, spectrograms
from pipeline.reporting.options import DEFAULTS, Options
from pipeline.reporting.sample import Sample
from pipeline.reporting.source import META
from vggish_core.weights import standin

if TYPE_CHECKING:
    import jinja2

    from pipeline.decoding.decoders import DecoderPool

FILTERS = {
    "count": formatting.count,
    "percent": formatting.percent,
    "hours": formatting.hours,
    "seconds": formatting.seconds,
    "time": duration,
    "times_real_time": formatting.times_real_time,
    "moment": formatting.moment,
    "text": formatting.text,
    "short": formatting.short,
    "begun": formatting.begun,
}
DAMAGED_SHOWN = 5
ROWS = 8
"""Rows of a table of formats, rates or groups; more are summed up."""


@dataclass(frozen=True)
class Bar:
    """A row of a table with a bar.

    Attributes:
      name, value: as shown.
      share: the bar's length, 0 to 1.
    """

    name: str
    value: str
    share: float


def page(sample: Sample, names: Mapping[int, str], source: str = "", options: Options = DEFAULTS) -> str:
    """The HTML of the whole report.

    Args:
      sample: what it shows.
      names: of class indices, as far as they are known.
      source: digest of what the sample is of (`pipeline.reporting.source`).
      options: what is asked for beyond that.
    """
    found = clips.shown(sample, names, options.umap)
    pictured = _pictured(sample)
    padded = bool(sample.manifest and sample.manifest.settings["short_clips"] == "pad")
    with spectrograms.pool(padded) as pool:
        pictures = _pictures(pictured, pool)
        to_hear = [*pictured, *(found["to_hear"] if found else ())] if options.audio else ()
        heard = listening.of(to_hear, pool)
    return _template().render(
        source=source,
        source_name=META,
        policy=parts.policy(),
        style=parts.text(parts.STYLE),
        script=parts.text(parts.SCRIPT),
        sample=sample,
        manifest=sample.manifest,
        totals=sample.totals,
        title=basename(sample.name) or sample.name,
        made=datetime.now(timezone.utc),
        standin=_is_standin(sample),
        reasons=_reasons(sample),
        corpus=_corpus(sample),
        run=_run(sample.runs),
        labels=labels.table(sample, names, options.trained),
        found=found,
        pictures=pictures,
        heard=heard,
        heard_s=listening.SECONDS,
        reference=reference,
        settings=_settings(sample),
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(FILTERS)
    return environment.from_string(parts.text(parts.TEMPLATE))


def _is_standin(sample: Sample) -> bool:
    models = sample.manifest.models if sample.manifest else {}
    return any(model["name"] == standin.NAME for model in models.values())


def _reasons(sample: Sample) -> list[dict[str, Any]]:
    """Why clips have no record: counts of the manifest, and remedies."""
    if sample.manifest is None:
        return []
    found = [("failed", *item) for item in sample.manifest.failures.items()]
    found += [("skipped", *item) for item in sample.manifest.skips.items()]
    return [
        {
            "outcome": outcome,
            "reason": reason,
            "count": count,
            "remedy": REASONS.get(reason, ""),
        }
        for outcome, reason, count in found
    ]


def _corpus(sample: Sample) -> dict[str, Any]:
    """The clips' durations, formats, rates and channels."""
    written = [entry for entry in sample.entries if entry.outcome == "written"]
    seconds = [entry.audio_seconds for entry in written]
    if not seconds:
        times = ((record.start_s, record.end_s) for record in sample.records)
        seconds = [end - start for start, end in times if start is not None and end is not None]
    return {
        "clips": len(seconds),
        "durations": plots.durations(seconds) if seconds else "",
        "shortest": min(seconds, default=0.0),
        "longest": max(seconds, default=0.0),
        "median": float(np.median(seconds)) if seconds else 0.0,
        "formats": _bars(entry.format for entry in written),
        "rates": _bars(f"{entry.sample_rate_hz / 1000:g} kHz" for entry in written),
        "channels": _bars(_channels(entry.channels) for entry in written),
        "silent": sum(entry.silent for entry in written),
        "damaged": [entry for entry in written if entry.damaged][:DAMAGED_SHOWN],
    }


def _run(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """The times of the last run that committed something, or of an array's tasks since the last run."""
    if not runs:
        return None
    last = runs[-1]
    tasks = list(takewhile(lambda run: run.task, reversed(runs)))[::-1]
    pieces = [piece for run in tasks or [last] for piece in run.pieces]
    took = sum(piece.seconds for piece in pieces)
    audio = sum(piece.audio_seconds for piece in pieces)
    speeds = [max(0.0, piece.audio_seconds) / max(piece.seconds, 1e-3) for piece in pieces]
    starts = [(piece.at_s - piece.seconds) / 60 for piece in pieces]
    ends = [piece.at_s / 60 for piece in pieces]
    drawn = not tasks and len(pieces) > 1 and min(audio, took) > 0  # tasks have clocks of their own
    return {
        "last": last,
        "runs": len(runs),
        "tasks": [_task(run) for run in tasks],
        "clips": sum(piece.clips for piece in pieces),
        "audio": audio,
        "took": sum(run.setup_s for run in tasks or [last]) + took,
        "mean": audio / took if took else 0.0,
        "speed": plots.speed(starts, ends, speeds, audio / took) if drawn else "",
        "stages": _stages(tasks or [last]),
    }


def _task(run: RunRecord) -> dict[str, Any]:
    """A line on what a task took."""
    took = sum(piece.seconds for piece in run.pieces)
    audio = sum(piece.audio_seconds for piece in run.pieces)
    return {
        "name": run.task,
        "started": run.started,
        "clips": sum(piece.clips for piece in run.pieces),
        "audio": audio,
        "took": run.setup_s + took,
        "mean": audio / took if took else 0.0,
    }


def _stages(runs: Sequence[RunRecord]) -> list[Bar]:
    """Seconds by stage. Decoders and network work at the same time, each in several processes or threads."""
    pieces = [piece for run in runs for piece in run.pieces]
    setup_s = sum(run.setup_s for run in runs)
    found = [("start: listing, weights", setup_s)]
    for name, field in (("decoding and log-mel", "decode_s"), ("network", "inference_s")):
        values = [getattr(piece, field) for piece in pieces]
        if any(value is not None for value in values):
            found.append((name, sum(value or 0.0 for value in values)))
    found.append(("writing shards", sum(piece.commit_s for piece in pieces)))
    found.append(("all of it, by the clock", setup_s + sum(piece.seconds for piece in pieces)))
    most = max(seconds for _, seconds in found) or 1.0
    return [Bar(name, f"{seconds:,.1f} s", seconds / most) for name, seconds in found]


def _pictured(sample: Sample) -> list[LedgerEntry]:
    """Some clips of which there are to be log-mel pictures, of different folders or formats."""
    in_sample = {(record.id, record.start_s) for record in sample.records}
    written = [entry for entry in sample.entries if entry.outcome == "written"]
    near = [entry for entry in written if (entry.id, float(np.float32(entry.start_s))) in in_sample] or written
    folders = [entry.id.split("/")[0] if "/" in entry.id else entry.format for entry in near]
    return [near[index] for index in embeddings.some(folders)]


def _pictures(chosen: Sequence[LedgerEntry], pool: DecoderPool) -> list[dict[str, Any]]:
    """Log-mel pictures of clips."""
    return [
        {
            "entry": found.entry,
            "svg": plots.log_mel(found.frames) if found.frames is not None else "",
            "missing": found.missing,
            "changed": found.changed,
        }
        for found in spectrograms.of(chosen, pool)
    ]


def _settings(sample: Sample) -> dict[str, dict[str, Any]]:
    """Tables of settings and provenance: title -> name -> value."""
    manifest = sample.manifest
    if manifest is None:
        return {}
    run = dict(manifest.run)
    versions, engine = run.pop("versions", {}), run.pop("engine", {})
    earlier = len(run.pop("earlier", []))
    made = {**run, **engine, **({"earlier versions, processors or engines": earlier} if earlier else {})}
    return {"Settings": manifest.settings, "Made": made, "Versions": versions}


def _bars(values: Iterable[str]) -> list[Bar]:
    """Values -> how often each occurs, the most frequent first."""
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in counts[ROWS:])
    rows = counts[:ROWS] + ([(number_of(len(counts) - ROWS, "other"), rest)] if rest else [])
    total = sum(count for _, count in rows)
    return [Bar(formatting.text(name), formatting.percent(count / total), count / total) for name, count in rows]


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
