"""Figures as SVG that takes its colours and letters from the page around it: light, dark or print.

A figure is as wide as a phone's column, so that its letters are as large there as elsewhere. Drawn by hand rather than
by Matplotlib, which takes a second of a processor for a page, longer than embedding a clip.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH = 317.0
"""Of a figure, in its own units, of which a letter is 10.5 high."""
LETTER = 10.5
MAGMA = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 "
    "fcfdbf"
)
"""Every 16th colour of the map of that name (N. Smith and S. van der Walt, 2015, CC0)."""


@dataclass(frozen=True)
class Scale:
    """Values of an axis -> positions from 0 to 1.

    Attributes:
      low, high: values at its ends.
      log: logarithmic.
    """

    low: float
    high: float
    log: bool = False

    def at(self, values: np.ndarray | float) -> np.ndarray:
        """The positions of values."""
        take = np.log if self.log else np.asarray
        low, high = (float(take(edge)) for edge in (self.low, self.high))
        return (take(np.asarray(values, np.float64)) - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        """Round values on the axis, three to seven of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [10.0**power for power in powers]
        else:
            span = (self.high - self.low) or 1.0
            step = 10.0 ** math.floor(math.log10(span / 3))
            step *= next((factor for factor in (5, 2) if span / (step * factor) >= 3), 1)
            found = [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [value for value in found if self.low <= value <= self.high]


class Figure:
    """One pair of axes, in whose values everything is drawn.

    Args:
      x, y: the axes.
      labels: of the axes, ("", "") for none.
      height, width: of the whole figure.
      x_ticks, y_ticks: (value, text) of each; None: round values.
      grid: lines at the ticks of the vertical axis.
      right: space beside the axes.
    """

    def __init__(
        self,
        x: Scale,
        y: Scale,
        labels: tuple[str, str],
        height: float = 180.0,
        width: float = WIDTH,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
        grid: bool = True,
        right: float = 12.0,
    ) -> None:
        self._x, self._y = x, y
        self._size = (width, height)
        x_ticks = _texts(x) if x_ticks is None else x_ticks
        y_ticks = _texts(y) if y_ticks is None else y_ticks
        widest = max((len(text) for _, text in y_ticks), default=0) * 0.6 * LETTER
        self.left = 6 + widest + (1.6 * LETTER if labels[1] else 0)
        self.top, self.right = 8.0, width - right
        self.bottom = height - 6 - (1.4 * LETTER if x_ticks else 0) - (1.3 * LETTER if labels[0] else 0)
        self._parts: list[str] = []
        self._axes(labels, x_ticks, y_ticks, grid)

    def _axes(
        self,
        labels: tuple[str, str],
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        grid: bool,
    ) -> None:
        for value, text in y_ticks:
            at = self.y(value)
            if grid:
                self.line(self.left, at, self.right, at, "rule", 0.6)
            self.text(self.left - 4, at + 0.35 * LETTER, text, "end")
        for value, text in x_ticks:
            half = 0.3 * LETTER * len(text)  # a label at the end must not be cut off
            at = min(max(self.x(value), half), self._size[0] - half)
            self.text(at, self.bottom + 1.2 * LETTER, text, "middle")
        if labels[0]:
            self.text((self.left + self.right) / 2, self._size[1] - 5, labels[0], "middle")
        if labels[1]:
            middle = (self.top + self.bottom) / 2
            turned = f'transform="rotate(-90 {LETTER:.1f} {middle:.1f})"'
            self.text(LETTER, middle, labels[1], "middle", turned)
        self.line(self.left, self.bottom, self.right, self.bottom, "rule", 0.8)
        self.line(self.left, self.top, self.left, self.bottom, "rule", 0.8)

    def x(self, value: float) -> float:
        """A value -> its place across."""
        return self.left + float(self._x.at(value)) * (self.right - self.left)

    def y(self, value: float) -> float:
        """A value -> its place down."""
        return self.bottom - float(self._y.at(value)) * (self.bottom - self.top)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str, width: float, more: str = "") -> None:
        """A straight line between places, in a colour of the page."""
        style = _attributes(f"stroke:var(--{colour});stroke-width:{width:g};{more}")
        self._parts.append(f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" {style}/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", more: str = "", colour: str = "muted") -> None:
        """A line of text at a place."""
        style = _attributes(f"fill:var(--{colour});font-size:{LETTER}px;text-anchor:{anchor}")
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style} {more}>{escape(text)}</text>')

    def path(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """A line through values, or an area within it, as the style says."""
        places = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        self._parts.append(f'<path d="M{places}" {_attributes(style)}/>')

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: str) -> None:
        """Columns from 0 to a height between neighbouring edges."""
        floor = self.y(0)
        parts = []
        for low, high, height in zip(edges, edges[1:], heights, strict=False):
            if height:
                left, top = self.x(low), self.y(height)
                parts.append(f"M{left:.1f} {floor:.1f}V{top:.1f}H{self.x(high):.1f}V{floor:.1f}Z")
        self._parts.append(f'<path d="{"".join(parts)}" fill="var(--{colour})"/>')

    def dots(self, points: np.ndarray, radius: float, colour: str, opacity: float) -> None:
        """A dot for each row [x, y]."""
        # A path of zero-length lines with round ends: a tenth of as many circles' text.
        dots = "".join(f"M{self.x(x):.1f} {self.y(y):.1f}h0" for x, y in points)
        style = f"stroke:var(--{colour});stroke-width:{2 * radius:g};stroke-linecap:round;opacity:{opacity:g}"
        if dots:
            self._parts.append(f'<path d="{dots}" {_attributes(style)}/>')

    def heat(self, values: np.ndarray, x: float, y: float, width: float, height: float) -> None:
        """Values [rows, columns], 0 to 1, the first row at the bottom -> coloured squares that fill a place."""
        data = base64.b64encode(_png(values[::-1])).decode()
        self._parts.append(
            f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
            f'image-rendering="pixelated" href="data:image/png;base64,{data}"/>'
        )

    def svg(self) -> str:
        """The figure's element of the page."""
        width, height = self._size
        parts = "".join(self._parts)
        return f'<svg viewBox="0 0 {width:g} {height:g}" fill="none" aria-hidden="true">{parts}</svg>'


def _attributes(style: str) -> str:
    """Declarations -> attributes that say the same: the page's policy allows no `style` attribute."""
    pairs = (item.split(":", 1) for item in style.split(";") if item)
    return " ".join(f'{name}="{value}"' for name, value in pairs)


def _texts(scale: Scale, text: Callable[[float], str] = "{:,.10g}".format) -> list[tuple[float, str]]:
    return [(value, text(round(value, 10))) for value in scale.ticks()]


def _png(values: np.ndarray) -> bytes:
    """Values [rows, columns], 0 to 1 -> a PNG file in the colours of `MAGMA` (ISO/IEC 15948)."""
    rows, columns = values.shape
    anchors = np.array([list(bytes.fromhex(colour)) for colour in MAGMA.split()], np.float64)
    steps = np.linspace(0, len(anchors) - 1, 256)
    palette = np.stack([np.interp(steps, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    pixels = np.zeros((rows, columns + 1), np.uint8)  # each line begins with its filter, none
    pixels[:, 1:] = np.rint(np.clip(values, 0, 1) * 255)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()))
    chunks += ((b"IDAT", zlib.compress(pixels.tobytes(), 9)), (b"IEND", b""))  # type: ignore[assignment]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
