from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting.svg import MAGMA, Figure, Scale

FINITE = st.floats(-1e9, 1e9)


@given(FINITE, st.floats(1e-6, 1e9))
def test_ticks_are_round_and_on_the_axis(low: float, span: float) -> None:
    high = low + span
    ticks = Scale(low, high).ticks()
    assert all(low <= tick <= high for tick in ticks)
    if span > 1e-5 * abs(low):  # else floating point has no round values left in between
        assert 2 <= len(ticks) <= 7
        steps = np.diff(ticks)
        assert np.allclose(steps, steps[0], rtol=1e-3)
        assert f"{steps[0]:.0e}"[0] in "125"


@given(st.floats(1e-3, 1e3), st.floats(101, 1e6))
def test_ticks_of_a_logarithmic_axis_are_powers_of_ten(low: float, ratio: float) -> None:
    ticks = Scale(low, low * ratio, log=True).ticks()
    assert len(ticks) >= 2
    assert np.allclose(np.log10(ticks), np.rint(np.log10(ticks)))


@pytest.mark.parametrize(("log", "middle"), [(False, 50.5), (True, 10.0)])
def test_positions(log: bool, middle: float) -> None:
    scale = Scale(1, 100, log)
    assert scale.at(np.array([1.0, middle, 100.0])) == pytest.approx([0, 0.5, 1])


def test_an_axis_of_one_value() -> None:
    assert np.isfinite(Scale(3, 3).at(3.0))
    assert Scale(3, 3).ticks()


def test_a_figure_is_sound_xml_whatever_its_texts_say() -> None:
    figure = Figure(Scale(0, 1), Scale(0, 1), ("<a> & b", "c"))
    figure.text(0, 0, "</svg><script>")
    figure.dots(np.zeros((0, 2)), 1, "accent", 1)
    figure.dots(np.array([[0.5, 0.5]]), 1, "accent", 1)
    tree = ElementTree.fromstring(figure.svg())
    assert "<a> & b" in [text.text for text in tree.iter("text")]
    assert [path.get("d") for path in tree.iter("path")][-1].endswith("h0")  # type: ignore[union-attr]


def test_heat_is_a_png_of_its_values() -> None:
    image = pytest.importorskip("PIL.Image")
    figure = Figure(Scale(0, 1), Scale(0, 1), ("", ""))
    figure.heat(np.array([[0.0, 1.0, 0.5], [-1.0, 2.0, 0.0]]), 0, 0, 10, 10)
    (data,) = re.findall(r"base64,([^\"]+)", figure.svg())
    pixels = np.asarray(image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    colours = [tuple(bytes.fromhex(colour)) for colour in MAGMA.split()]
    assert pixels.shape == (2, 3, 3)
    assert [tuple(pixel) for pixel in pixels[1]][:2] == [colours[0], colours[-1]]  # the first row is the lowest
    assert np.abs(pixels[1, 2].astype(int) - colours[8]).max() <= 4
    assert [tuple(pixel) for pixel in pixels[0]] == [colours[0], colours[-1], colours[0]]  # what is beyond is clipped
