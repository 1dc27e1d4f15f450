"""The report's figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipeline.reporting import reference
from pipeline.reporting.embeddings import OTHERS, Levels, Map
from pipeline.reporting.svg import LETTER, Figure, Scale
from vggish_core import params

BINS = 40
DIMENSIONS = [(float(tick), str(tick)) for tick in (0, 32, 64, 96, 128)]


def durations(seconds: Sequence[float]) -> str:
    """Durations in seconds -> their histogram; logarithmic where they span more than two decades."""
    values = np.asarray(seconds)
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low > 100
    high = high if high > low else low + 1
    edges = np.geomspace(low, high, BINS) if log else np.linspace(low, high, BINS)
    edges[0], edges[-1] = low, high  # rounding may have left the last clip outside
    counts, _ = np.histogram(values, edges)
    figure = Figure(Scale(low, high, log), Scale(0, counts.max() * 1.05), ("duration in seconds", "clips"))
    figure.bars(edges.tolist(), counts.tolist(), "accent")
    return figure.svg()


def speed(minutes: Sequence[float], ends: Sequence[float], speeds: Sequence[float], mean: float) -> str:
    """Pieces -> × real time over the run's time.

    Args:
      minutes, ends: each piece's start and end since the run's, in minutes.
      speeds: seconds of audio a second.
      mean: of the whole run.
    """
    top = Scale(0, max(*speeds, mean) * 1.15)
    figure = Figure(Scale(0, max(ends)), top, ("minutes since the run began", "× real time"))
    for start, end, value in zip(minutes, ends, speeds, strict=True):
        figure.path([(start, value), (end, value)], "stroke:var(--accent);stroke-width:3")
    middles = ((np.asarray(minutes) + ends) / 2).tolist()
    figure.path(zip(middles, speeds, strict=True), "stroke:var(--accent);stroke-width:1;opacity:0.5")
    at = figure.y(mean)
    figure.line(figure.left, at, figure.right, at, "muted", 1, "stroke-dasharray:4 3")
    figure.text(figure.right - 2, at - 4, f"mean {mean:,.0f}", "end")
    return figure.svg()


def bytes_by_dimension(levels: Levels) -> str:
    """How often each dimension has which value -> a heat map, roots of shares, so that rare values show too."""
    quantized = levels.share_0 is not None
    values = Scale(float(levels.edges[0]), float(levels.edges[-1]))
    ticks = [(float(tick), str(tick)) for tick in (0, 64, 128, 192, 255)] if quantized else None
    labels = ("dimension of the embedding", "byte" if quantized else "value")
    figure = Figure(Scale(0, 128), values, labels, height=223, x_ticks=DIMENSIONS, y_ticks=ticks, grid=False, right=52)
    roots = np.sqrt(levels.shares.T)
    top = float(roots.max()) or 1.0
    height = figure.bottom - figure.top
    figure.heat(roots / top, figure.left, figure.top, figure.right - figure.left, height)
    figure.heat(np.linspace(0, 1, 64)[:, None], figure.right + 8, figure.top, 7, height)
    for part in (0.0, 0.5, 1.0):
        share = (part * top) ** 2
        shown = f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
        figure.text(figure.right + 18, figure.bottom - part * (height - 0.7 * LETTER), shown)
    return figure.svg()


def clipped(levels: Levels) -> str:
    """Shares of 0 and of 255 in each dimension, beside those of AudioSet's released records."""
    assert levels.zeros is not None
    assert levels.tops is not None
    most = max(float(levels.tops.max()), float(levels.zeros.max()), 0.18) * 100 * 1.1
    scale = Scale(-most, most * 1.18)
    figure = Figure(
        Scale(-1, 128),
        scale,
        ("dimension of the embedding", "share of 255 (up), of 0 (down)"),
        height=223,
        x_ticks=DIMENSIONS,
        y_ticks=[(tick, f"{abs(tick):.0f}%") for tick in scale.ticks()],
    )
    for sign, ours, theirs in (
        (1, levels.tops, reference.PER_MILLE_255),
        (-1, levels.zeros, reference.PER_MILLE_0),
    ):
        steps = _steps(sign * ours * 100)
        figure.path([(-0.5, 0), *steps, (127.5, 0)], "fill:var(--accent)")
        figure.path(_steps(sign * np.asarray(theirs) / 10), "stroke:var(--second);stroke-width:1.3")
    at = figure.y(0)
    figure.line(figure.left, at, figure.right, at, "surface", 1)
    left = figure.left + 8
    for name, colour in (("this data set", "accent"), ("AudioSet", "second")):
        figure.line(left, figure.top + 6, left + 12, figure.top + 6, colour, 5 if colour == "accent" else 1.3)
        figure.text(left + 17, figure.top + 6 + 0.35 * LETTER, name)
        left += 95
    return figure.svg()


def _steps(values: np.ndarray) -> list[tuple[float, float]]:
    """A value a dimension -> the corners of its steps, each in the middle of its dimension."""
    edges = np.arange(len(values) + 1) - 0.5
    return [(edge, value) for pair, value in zip(pairwise(edges), values.tolist(), strict=True) for edge in pair]


def clip_map(found: Map, groups: Sequence[str], chosen: Sequence[str]) -> tuple[str, list[str]]:
    """Clips in a plane, a dot each, coloured by group -> the figure, and the place "x y" of each clip in it.

    Those of no coloured group come first, below the others.
    """
    labels = ("UMAP", "")
    if found.explained is not None:
        labels = (f"first component, {found.explained[0]:.0%} of the variance", f"second, {found.explained[1]:.0%}")
    width, height = 270.0, 245.0  # of the axes: a step is as long in both directions
    middle = (found.points.min(axis=0) + found.points.max(axis=0)) / 2
    spans = np.ptp(found.points, axis=0) * 1.08
    step = max(float(spans[0]) / width, float(spans[1]) / height) or 1.0
    across, down = (
        Scale(float(middle[axis]) - step * size / 2, float(middle[axis]) + step * size / 2)
        for axis, size in enumerate((width, height))
    )
    figure = Figure(across, down, labels, height=288, x_ticks=(), y_ticks=())
    of = np.array(chosen)
    for group in [OTHERS, *groups]:
        faint = group == OTHERS and bool(groups)
        colour = "muted" if group == OTHERS else f"c{groups.index(group)}"
        figure.dots(found.points[of == group], 1.5 if faint else 2.0, colour, 0.3 if faint else 0.8)
    return figure.svg(), [f"{figure.x(x):.1f} {figure.y(y):.1f}" for x, y in found.points]


def log_mel(frames: np.ndarray) -> str:
    """A log-mel spectrogram [t, 64] of 10 ms frames -> its picture."""
    low, high = (_mel(edge) for edge in (params.MEL_MIN_HZ, params.MEL_MAX_HZ))
    bands = [((_mel(hz) - low) / (high - low), shown) for hz, shown in ((250, "250"), (1000, "1k"), (4000, "4k"))]
    figure = Figure(
        Scale(0, len(frames) / 100), Scale(0, 1), ("s", "Hz"), height=122, width=223, y_ticks=bands, grid=False
    )
    floor, top = float(frames.min()), float(frames.max())
    shown = (frames.T - floor) / ((top - floor) or 1.0)
    figure.heat(shown, figure.left, figure.top, figure.right - figure.left, figure.bottom - figure.top)
    return figure.svg()


def _mel(hz: float) -> float:
    return params.MEL_HIGH_FREQUENCY_Q * float(np.log(1.0 + hz / params.MEL_BREAK_FREQUENCY_HZ))
