"""Sets of embeddings -> their distances from the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.analysis import frechet, resampling
from pipeline.analysis.frechet import DistanceError, Extrapolation, Gaussian, Interval
from pipeline.analysis.jobs import Jobs
from pipeline.analysis.kernel import SCALE, Kernel, kernel_distance
from pipeline.analysis.moments import WIDTH, Moments
from pipeline.analysis.passes import Clip, Summary
from pipeline.analysis.sources import Source, expect_alike, find
from pipeline.analysis.wanted import Wanted
from pipeline.output.matching import Incomplete
from pipeline.output.records import RecordError
from pipeline.running.engines import exchange, runners
from pipeline.running.engines.runners import Engine

SIZES = 25
"""Sample sizes that the extrapolation is fitted to; as `fadtk`."""
SMALLEST = 500
"""Frames of the smallest of them at least; as `fadtk`."""
SMALLEST_SHARE = 0.1
"""Of a set's frames, for the smallest of them: a distance is a line over 1/n for large n only, and the smallest sample
weighs the most in the fit."""
LEAST_CLIPS = 20
"""For a bootstrap: resamples of fewer are hardly different."""
PCA_SPACE = "embeddings after PCA: not comparable with published distances, which are of raw embeddings"


@dataclass(frozen=True)
class Compared:
    """A set beside the reference.

    Attributes:
      name: as it was given.
      clips, frames: how many it has.
      fad: its Fréchet distance from the reference; None of the reference itself.
      interval: of the Fréchet distance, over clips drawn again.
      infinite: the Fréchet distance extrapolated to infinitely many frames of this set.
      kernel: the Kernel Audio Distance.
      by_clip: its clips, the furthest from the reference first.
    """

    name: str
    clips: int
    frames: int
    fad: float | None = None
    interval: Interval | None = None
    infinite: Extrapolation | None = None
    kernel: Kernel | None = None
    by_clip: tuple[Clip, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Distances from a reference.

    Attributes:
      reference: the first set.
      sets: the others.
      made: settings and weights of the reference's embeddings, which the others share.
      notes: what to know about the figures.
    """

    reference: Compared
    sets: tuple[Compared, ...]
    made: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a value for JSON, without single clips."""
        without = replace(self, sets=tuple(replace(each, by_clip=()) for each in self.sets))
        return {**asdict(without), "kernel_scale": SCALE}


def compare_sets(
    names: Sequence[str],
    wanted: Wanted | None = None,
    *,
    runner: str = "DirectRunner",
    beam_flags: Sequence[str] = (),
    incomplete: Incomplete = "refuse",
) -> Comparison:
    """Two or more sets of embeddings, by name -> the others' distances from the first, as `python -m pipeline.fad`.

    Args:
      names: outputs' folders, or paths, URIs, folders or globs of record or Parquet files.
      wanted: what to compute besides the Fréchet distance.
      runner: Beam's name of it; "DirectRunner" is this machine.
      beam_flags: options of the runner, as on a command line.
      incomplete: as `read_records`.

    Raises:
      UserError: as `compare` and `find`; a name is of audio, which `embed_corpus` embeds.
    """
    sources = []
    for name in names:
        source = find(name, incomplete)
        if source is None:
            raise RecordError(f"{name} holds no records", "Embed audio first: embed_corpus, or python -m pipeline.run")
        sources.append(source)
    engine = runners.choose(runner, beam_flags)
    with exchange.place(engine, "sums") as place:
        return compare(sources, engine, place, wanted)


def compare(sources: Sequence[Source], engine: Engine, place: str, wanted: Wanted | None = None) -> Comparison:
    """Two or more sets -> the others' distances from the first.

    Args:
      sources: the sets, whose embeddings have to mean the same.
      engine: where the jobs run that read them.
      place: URI of a folder that its workers may write to (`pipeline.running.engines.exchange.place`).
      wanted: what else to compute.

    Raises:
      MadeDifferentlyError: the embeddings do not mean the same; names the settings.
      DistanceError: a set has too few embeddings; or there is but one set.
      RecordError, IncompleteError: a file cannot be read, or is not what its manifest promises.
    """
    wanted = wanted or Wanted()
    if len(sources) < 2:
        raise DistanceError(f"{len(sources)} set alone has no distance", "Name two sets or more, the reference first")
    expect_alike(sources)
    jobs = Jobs(sources, engine, place)
    sets = jobs.summaries(wanted.kernel_frames, wanted.seed)
    fits = [_fitted(source, each.moments) for source, each in zip(sources, sets, strict=True)]
    plans = [_plan(index, len(source.files), sets, wanted) for index, source in enumerate(sources)]
    resampled = jobs.resampled(plans, sets)
    clips = jobs.clips(fits[0]) if wanted.clips else [[] for _ in sources[1:]]
    found = [Compared(source.name, each.clips, each.moments.count) for source, each in zip(sources, sets, strict=True)]
    for index in range(1, len(sets)):
        fad = frechet.distance(fits[0], fits[index])
        replicates = plans[index].replicates
        subsets = [*resampled[index][replicates:], sets[index].moments]
        found[index] = replace(
            found[index],
            fad=fad,
            interval=_interval(fad, resampled[0][:replicates], resampled[index][:replicates]),
            infinite=_infinite(fits[0], subsets) if plans[index].shares else None,
            kernel=kernel_distance(sets[0].sample.frames, sets[index].sample.frames) if wanted.kernel_frames else None,
            by_clip=tuple(clips[index - 1]),
        )
    notes = [] if sources[0].raw else [PCA_SPACE]
    for index, source in enumerate(sources):
        notes += [f"{source.name}: {note}" for note in _notes(sets[index], wanted, index)]
    return Comparison(found[0], tuple(found[1:]), sources[0].made.to_json(), tuple(notes))


def _fitted(source: Source, moments: Moments) -> Gaussian:
    try:
        return frechet.fitted(moments)
    except DistanceError as error:
        raise DistanceError(f"{source.name}: {error.found}", error.remedy) from None


def _notes(found: Summary, wanted: Wanted, index: int) -> Iterator[str]:
    count = found.moments.count
    if found.empty:
        yield f"{found.empty:,} of {found.clips:,} records hold no frame"
    if count <= WIDTH:
        yield (
            f"{count:,} frames do not span {WIDTH} dimensions: the covariance is singular and the distance far too "
            "large; use more audio"
        )
    if wanted.replicates and found.clips < LEAST_CLIPS:
        yield f"{found.clips:,} clips are too few for an interval, which takes {LEAST_CLIPS}"
    if wanted.infinite and index and count < 2 * SMALLEST:
        yield f"{count:,} frames are too few to extrapolate from, which takes {2 * SMALLEST:,}"
    if 0 < wanted.kernel_frames < count:
        yield f"the kernel distance is of {wanted.kernel_frames:,} of {count:,} frames, drawn at random"


def _plan(index: int, files: int, sets: Sequence[Summary], wanted: Wanted) -> resampling.Plan:
    """The resamples of a set: for a bootstrap, if it and the reference have enough clips; and growing subsets."""
    count = sets[index].moments.count
    enough = min(sets[index].clips, sets[0].clips) >= LEAST_CLIPS
    infinite = wanted.infinite and index and count >= 2 * SMALLEST
    sizes = np.linspace(max(SMALLEST, SMALLEST_SHARE * count), count, SIZES)[:-1] if infinite else ()
    shares = tuple(float(size) / count for size in sizes)
    counts = tuple(sets[index].counts.get(number, 0) for number in range(files))
    return resampling.Plan(wanted.replicates if enough else 0, shares, wanted.seed, index, counts)


def _interval(fad: float, reference: Sequence[Moments], other: Sequence[Moments]) -> Interval | None:
    pairs = zip(reference, other, strict=True)
    found = [frechet.distance(frechet.fitted(a), frechet.fitted(b)) for a, b in pairs]
    return frechet.interval(fad, found) if len(found) > 1 else None


def _infinite(reference: Gaussian, subsets: Sequence[Moments]) -> Extrapolation:
    """The line through the distances of subsets and of the whole, but those too small to span the dimensions."""
    kept = [each for each in subsets if each.count > WIDTH]
    return frechet.extrapolated([(each.count, frechet.distance(reference, frechet.fitted(each))) for each in kept])
