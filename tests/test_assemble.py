from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.output.assemble import AssemblyError, assemble
from pipeline.types import Clip, Embedding, Failure, Outcome, SegmentEnd
from tests.outputs import ending

CLIP = Clip("a", "/a.wav", labels=(1,))


def rows(begin: int, end: int) -> np.ndarray:
    """Embeddings that tell their position: row i of a clip holds i."""
    return np.repeat(np.arange(begin, end, dtype=np.uint8)[:, None], 128, axis=1)


@st.composite
def pieces(draw: st.DrawFn) -> tuple[list[Outcome], int]:
    """A clip's outcomes: segments of any lengths, cut into pieces anywhere, some of them twice, in any order."""
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any))
    items: list[Outcome] = []
    begin = 0
    for segment, length in enumerate(lengths):
        items.append(ending(CLIP, length, segment, len(lengths)))
        cuts = sorted({0, length, *draw(st.lists(st.integers(0, length), max_size=3))})
        for a, b in pairwise(cuts):
            items.append(Embedding(CLIP, segment, begin + a, rows(begin + a, begin + b)))
        if length and draw(st.booleans()):  # another attempt at the bundle, cut elsewhere
            cut = draw(st.integers(0, length))
            items.append(Embedding(CLIP, segment, begin, rows(begin, begin + cut)))
            items.append(ending(CLIP, length, segment, len(lengths)))
        begin += length
    return draw(st.permutations(items)), begin


@given(pieces())
@settings(max_examples=200, deadline=None)
def test_pieces_in_any_order_make_the_clip(case: tuple[list[Outcome], int]) -> None:
    items, total = case
    [result] = assemble(items)
    assert result.values is not None
    np.testing.assert_array_equal(result.values, rows(0, total))
    assert (result.entry.outcome, result.entry.examples, result.entry.key) == ("written", total, CLIP.key)
    assert result.entry.end_s == result.entry.audio_seconds


@given(pieces(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_failure_wins_and_which_one_does_not_depend_on_the_order(
    case: tuple[list[Outcome], int], shuffled: random.Random
) -> None:
    failures = [
        Failure(CLIP, "extract", "too_short", "short", skipped=True),
        Failure(CLIP, "extract", "truncated", "cut  at\n17"),
        Failure(CLIP, "extract", "timed_out", "slow"),
    ]
    items = [*case[0], *failures]
    shuffled.shuffle(items)
    [result] = assemble(items)
    assert result.values is None
    assert (result.entry.outcome, result.entry.reason, result.entry.message) == ("failed", "truncated", "cut at 17")


@given(pieces(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_lost_piece_is_an_error_that_names_the_clip(case: tuple[list[Outcome], int], data: st.DataObject) -> None:
    items = list(case[0])
    lost = data.draw(st.sampled_from(items))
    rest = [item for item in items if item is not lost]
    covered = {i for item in rest if isinstance(item, Embedding) for i in _span(item)}
    endings = {item.segment for item in rest if isinstance(item, SegmentEnd)}
    if len(covered) == case[1] and len(endings) == next(i.segments for i in items if isinstance(i, SegmentEnd)):
        assert len(assemble(rest)) == 1  # the piece had arrived twice
    elif rest:
        with pytest.raises(AssemblyError, match=r"'a', 0\.0, -1\.0"):
            assemble(rest)


def _span(piece: Embedding) -> range:
    return range(piece.first_example, piece.first_example + len(piece.values))


WHOLE = [Embedding(CLIP, 0, 0, rows(0, 3)), ending(CLIP, 3)]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (Embedding(CLIP, 0, 2, rows(2, 4)), "are not among its 3"),
        (Embedding(CLIP, 0, 1, rows(0, 2)), "arrived twice and differ"),
        (Embedding(CLIP, 0, 0, rows(0, 1).astype(np.float32)), "beside float32"),
        (ending(CLIP, 4), "two endings"),
        (ending(replace(CLIP, uri="/b.wav"), 3), "one key for two clips"),
    ],
)
def test_contradictions_are_errors(extra: Outcome, message: str) -> None:
    with pytest.raises(AssemblyError, match=message):
        assemble([*WHOLE, extra])


def test_an_ending_without_examples_needs_a_failure() -> None:
    with pytest.raises(AssemblyError, match="no examples, and no failure"):
        assemble([ending(CLIP, 0)])


def test_of_two_ways_to_cut_a_clip_the_one_that_is_whole_counts() -> None:
    """A run that was continued with other segments leaves endings of both."""
    third = [replace(ending(CLIP, 1, i, 3), first_example=i) for i in range(3)]
    embeddings: list[Outcome] = [Embedding(CLIP, 0, 0, rows(0, 3))]
    for endings in ([*third, ending(CLIP, 2, 0, 2)], [*third, ending(CLIP, 2, 0, 2), ending(CLIP, 1, 1, 2)]):
        [result] = assemble([*embeddings, *endings])
        assert result.entry.examples == 3
    with pytest.raises(AssemblyError, match=r"of segments \[0\] of 2; or of segments \[1, 2\] of 3"):
        assemble([*embeddings, *third[1:], ending(CLIP, 2, 0, 2)])


def test_rows_that_differ_within_the_tolerance_are_counted_and_the_first_taken() -> None:
    other = rows(0, 3)
    other[1, 5] += 1
    [result] = assemble([*WHOLE, Embedding(CLIP, 0, 0, other)], tolerance=1)
    assert result.values is not None
    assert result.unequal_rows == 1
    np.testing.assert_array_equal(result.values, rows(0, 3))
    other[1, 5] += 1
    with pytest.raises(AssemblyError, match="differ by 2"):
        assemble([*WHOLE, Embedding(CLIP, 0, 0, other)], tolerance=1)


def test_results_are_sorted_by_key() -> None:
    clips = [Clip("b", "/b"), Clip("a", "/a", 10.0, 20.0), Clip("a", "/a", 2.0, 30.0), Clip("a", "/a")]
    items: list[Outcome] = [Failure(clip, "extract", "corrupt", "") for clip in clips]
    assert [r.entry.key for r in assemble(items)] == sorted(clip.key for clip in clips)


def test_the_end_is_the_planned_one_or_the_decoded_duration() -> None:
    planned = Clip("a", "/a", 30.0, 40.0, cut=True)
    [result] = assemble([Embedding(planned, 0, 0, rows(0, 10)), replace(ending(planned, 10), audio_s=9.98)])
    assert (result.entry.end_s, result.entry.audio_seconds) == (40.0, 9.98)
    parts = [replace(ending(CLIP, 1, i, 3), audio_s=s) for i, s in enumerate((0.1, 0.2, 10.0))]
    [result] = assemble([Embedding(CLIP, i, i, rows(i, i + 1)) for i in range(3)] + parts)
    assert result.entry.end_s == 10.3  # not 10.299999999999999: it must not tell how the clip was split
