"""The report's figures, as SVG that takes its colours from the page: light, dark or print. Matplotlib, without pyplot.

A figure is drawn in colours that stand for the page's CSS variables, and is as wide as a phone's column, so that its
letters are as large there as elsewhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.reporting import reference
from pipeline.reporting.embeddings import OTHERS, Levels, Map
from vggish_core import params

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, SURFACE, ACCENT, SECOND = (f"#01010{n}" for n in range(6))
"""Stand for colours of the page: see `_VARIABLES`."""
SERIES = tuple(f"#0202{n:02x}" for n in range(10))
"""Stand for the colours of groups."""
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    SURFACE: "surface",
    ACCENT: "accent",
    SECOND: "second",
    **{colour: f"c{n}" for n, colour in enumerate(SERIES)},
}
WIDTH_IN = 4.4
HEAT = "magma"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
}


class Drawing:
    """A figure with one pair of axes; `svg` is its text. A context manager that sets Matplotlib's style meanwhile.

    Args:
      height_in: in inches; the page scales it.
      name: of this figure within the page: keeps names inside the SVG apart.
      width_in: in inches.
    """

    def __init__(self, height_in: float, name: str, width_in: float = WIDTH_IN) -> None:
        import matplotlib as mpl
        from matplotlib.figure import Figure as MatplotlibFigure

        self._style = mpl.rc_context({**STYLE, "svg.hashsalt": name})
        self._style.__enter__()
        self.figure: Figure = MatplotlibFigure(figsize=(width_in, height_in), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()

    def __enter__(self) -> Axes:
        return self.axes

    def __exit__(self, *exception: object) -> None:
        buffer = io.StringIO()
        try:
            if exception[0] is None:
                self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, dpi=150)
        finally:
            self._style.__exit__(None, None, None)
        self.svg = _for_the_page(buffer.getvalue())


def _for_the_page(svg: str) -> str:
    """Matplotlib's SVG file -> an element of the page: its colours are the page's, and it says nothing it need not."""
    svg = svg[svg.find("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    return re.sub(r"#0[12]0[12][0-9a-f]{2}", lambda found: f"var(--{_VARIABLES[found[0]]})", svg)


def durations(seconds: Sequence[float]) -> str:
    """Durations in seconds -> their histogram; logarithmic where they span more than two decades."""
    values = np.asarray(seconds)
    drawing = Drawing(2.5, "durations")
    with drawing as axes:
        low, high = float(values.min()), float(values.max())
        if low > 0 and high / low > 100:
            bins = np.geomspace(low, high, 40)
            axes.set_xscale("log")
        else:
            bins = np.linspace(low, high if high > low else low + 1, 40)
        axes.hist(values, bins=bins.tolist(), color=ACCENT)
        axes.set_xlabel("duration in seconds")
        axes.set_ylabel("clips")
        _quiet_grid(axes, "y")
    return drawing.svg


def speed(minutes: Sequence[float], ends: Sequence[float], speeds: Sequence[float], mean: float) -> str:
    """Pieces -> × real time over the run's time.

    Args:
      minutes, ends: each piece's start and end since the run's, in minutes.
      speeds: seconds of audio a second.
      mean: of the whole run.
    """
    drawing = Drawing(2.5, "speed")
    with drawing as axes:
        axes.hlines(speeds, minutes, ends, color=ACCENT, linewidth=3, capstyle="butt")
        axes.plot((np.asarray(minutes) + ends) / 2, speeds, color=ACCENT, linewidth=1, alpha=0.5)
        axes.axhline(mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"mean {mean:,.0f}", (1, mean), xycoords=("axes fraction", "data"), xytext=(-2, 4),
            textcoords="offset points", ha="right", color=MUTED,
        )  # fmt: skip
        axes.set_ylim(0, max(*speeds, mean) * 1.15)
        axes.set_xlim(0, max(ends))
        axes.set_xlabel("minutes since the run began")
        axes.set_ylabel("× real time")
        _quiet_grid(axes, "y")
    return drawing.svg


def bytes_by_dimension(levels: Levels) -> str:
    """How often each dimension has which value -> a heat map, roots of shares, so that rare values show too."""
    drawing = Drawing(3.1, "levels")
    quantized = levels.share_0 is not None
    with drawing as axes:
        image = axes.imshow(
            np.sqrt(levels.shares.T),
            origin="lower",
            aspect="auto",
            cmap=HEAT,
            extent=(0, 128, float(levels.edges[0]), float(levels.edges[-1])),
            interpolation="nearest",
            vmin=0,
        )
        axes.set_xlabel("dimension of the embedding")
        axes.set_ylabel("byte" if quantized else "value")
        axes.set_xticks([0, 32, 64, 96, 128])
        if quantized:
            axes.set_yticks([0, 64, 128, 192, 255])
        bar = axes.figure.colorbar(image, ax=axes, pad=0.02, aspect=30)
        bar.outline.set_visible(False)  # type: ignore[operator]
        top = float(np.sqrt(levels.shares.max()))
        ticks = [0, top / 2, top]
        bar.set_ticks(ticks, labels=[f"{tick**2:.0%}" if tick**2 >= 0.1 else f"{tick**2:.1%}" for tick in ticks])
    return drawing.svg


def clipped(levels: Levels) -> str:
    """Shares of 0 and of 255 in each dimension, beside those of AudioSet's released records."""
    assert levels.zeros is not None
    assert levels.tops is not None
    drawing = Drawing(3.1, "clipped")
    with drawing as axes:
        dimensions = np.arange(128)
        for sign, ours, theirs in (
            (1, levels.tops, reference.PER_MILLE_255),
            (-1, levels.zeros, reference.PER_MILLE_0),
        ):
            label = "this data set" if sign > 0 else None
            axes.fill_between(dimensions, sign * ours * 100, step="mid", color=ACCENT, linewidth=0, label=label)
            axes.step(
                dimensions, sign * np.array(theirs) / 10, where="mid", color=SECOND, linewidth=1.3,
                label="AudioSet" if sign > 0 else None,
            )  # fmt: skip
        most = max(float(levels.tops.max()), float(levels.zeros.max()), 0.18) * 100 * 1.1
        axes.set_ylim(-most, most * 1.18)
        axes.set_xlim(-1, 128)
        axes.axhline(0, color=SURFACE, linewidth=1)
        axes.set_xticks([0, 32, 64, 96, 128])
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}%")
        axes.set_xlabel("dimension of the embedding")
        axes.set_ylabel("share of 255 (up), of 0 (down)")
        axes.legend(loc="upper left", ncols=2, handlelength=1.2, borderaxespad=0.1)
        _quiet_grid(axes, "y")
    return drawing.svg


def clip_map(found: Map, groups: Sequence[str], chosen: Sequence[str]) -> str:
    """Clips in a plane, a dot each, coloured by group; those of no coloured group first, below the others."""
    drawing = Drawing(4.0, "map")
    with drawing as axes:
        order = [OTHERS, *groups]
        of = np.array(chosen)
        for group in order:
            points = found.points[of == group]
            colour = MUTED if group == OTHERS else SERIES[groups.index(group)]
            faint = group == OTHERS and bool(groups)
            size, opacity = (7, 0.3) if faint else (13, 0.8)
            axes.scatter(points[:, 0], points[:, 1], size, color=colour, alpha=opacity, linewidths=0)
        axes.set_xlabel(f"first component, {found.explained[0]:.0%} of the variance")
        axes.set_ylabel(f"second, {found.explained[1]:.0%}")
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
        axes.set_aspect("equal", adjustable="datalim")
    return drawing.svg


def log_mel(frames: np.ndarray, name: str) -> str:
    """A log-mel spectrogram [t, 64] of 10 ms frames -> its picture."""
    drawing = Drawing(1.7, name, width_in=3.1)
    with drawing as axes:
        axes.imshow(
            frames.T, origin="lower", aspect="auto", cmap=HEAT, extent=(0, len(frames) / 100, 0, params.NUM_BANDS),
            interpolation="nearest",
        )  # fmt: skip
        hz = np.array([250, 1000, 4000])
        low, high = (_mel(edge) for edge in (params.MEL_MIN_HZ, params.MEL_MAX_HZ))
        axes.set_yticks((_mel(hz) - low) / (high - low) * params.NUM_BANDS, labels=["250", "1k", "4k"])
        axes.set_xlabel("s", labelpad=1)
        axes.set_ylabel("Hz", labelpad=1)
        for side in axes.spines.values():
            side.set_visible(False)
    return drawing.svg


def _mel(hz: np.ndarray | float) -> np.ndarray:
    return params.MEL_HIGH_FREQUENCY_Q * np.log(1.0 + np.asarray(hz) / params.MEL_BREAK_FREQUENCY_HZ)


def _quiet_grid(axes: Axes, axis: str) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
