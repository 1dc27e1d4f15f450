"""What travels between workers: read again as it was, by names, and refused where it must not travel."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis import moments
from pipeline.analysis.passes import Clip as DistantClip
from pipeline.analysis.passes import Sample, Summary
from pipeline.checking.checks import FileReport, Rules
from pipeline.running import plain
from pipeline.running.coders import LocalCoder, TravellingCoder
from pipeline.types import (
    Clip,
    DecodeRequest,
    Embedding,
    ExampleBlock,
    Failure,
    Removal,
    RowsRef,
    Segment,
    SegmentEnd,
    ShardEntry,
    StagedShard,
    UnitRef,
)

texts = st.text() | st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
"""Names of files as well, which need not be UTF-8."""
numbers = st.integers(0, 2**40)
seconds = st.floats(0, 1e9)
clips = st.builds(Clip, texts, texts, seconds, st.none() | seconds, st.tuples(numbers), st.booleans(), numbers, texts)
spans = st.lists(st.tuples(numbers, numbers), max_size=2).map(tuple)
segments = st.builds(Segment, clips, numbers, numbers, numbers, st.none() | numbers, spans, spans, st.booleans())
shard_entries = st.builds(ShardEntry, failures=st.dictionaries(texts, numbers), skips=st.dictionaries(texts, numbers))
travelling = st.one_of(
    st.builds(UnitRef, texts, numbers, numbers, st.booleans()),
    st.builds(DecodeRequest, texts, st.lists(segments, max_size=2).map(tuple)),
    st.builds(Failure, clips, texts, texts, texts, st.booleans()),
    st.builds(Removal, clips),
    st.builds(RowsRef, numbers, texts, numbers, numbers, texts),
    shard_entries,
    st.builds(StagedShard, shard_entries, texts, texts, numbers),
)


@given(travelling)
def test_what_travels_comes_back(item: Any) -> None:
    for coder in (TravellingCoder(), LocalCoder()):
        line = coder.encode(item)
        assert b"\n" not in line
        assert coder.decode(line) == item
    assert all(type(name) is str for name in json.loads(line))


def test_several_clips_of_one_file_name_it_once() -> None:
    uri = "gs://bucket/" + "a folder/" * 50
    request = DecodeRequest(uri, tuple(Segment(Clip(str(n), uri)) for n in range(64)))
    assert TravellingCoder().encode(request).count(b"bucket") == 1


@given(segments, numbers)
def test_what_stays_comes_back_where_a_runner_copies_it(segment: Segment, first: int) -> None:
    coder, rng = LocalCoder(), np.random.default_rng(first)
    examples = rng.normal(size=(2, 96, 64)).astype(np.float32)
    block = coder.decode(coder.encode(ExampleBlock(segment, first, examples)))
    assert (block.segment, block.first_example) == (segment, first)
    assert np.array_equal(block.examples, examples)
    for values in (rng.integers(0, 256, (3, 128)).astype(np.uint8), rng.normal(size=(1, 128)).astype(np.float32)):
        found = coder.decode(coder.encode(Embedding(segment.clip, 1, first, values)))
        assert (found.clip, found.segment, found.first_example) == (segment.clip, 1, first)
        assert found.values.dtype == values.dtype
        assert np.array_equal(found.values, values)
    end = SegmentEnd(segment.clip, 1, 2, 3, 4.5, 44100, 2, "WAV", True, "cut", first, last=False)
    assert coder.decode(coder.encode(end)) == end
    assert coder.decode(coder.encode(end)).last is False


def test_how_large_an_element_is_costs_nothing() -> None:
    block = ExampleBlock(Segment(Clip("a", "a.wav")), 0, np.zeros((100, 96, 64), np.float32))
    assert abs(LocalCoder().estimate_size(block) - len(LocalCoder().encode(block))) < 300


@pytest.mark.parametrize(
    "item",
    [
        ExampleBlock(Segment(Clip("a", "a.wav")), 0, np.zeros((1, 96, 64), np.float32)),
        Embedding(Clip("a", "a.wav"), 0, 0, np.zeros((1, 128), np.uint8)),
        object(),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_must_not_leave_a_worker_is_refused(item: Any) -> None:
    with pytest.raises(TypeError, match=type(item).__name__):
        TravellingCoder().encode(item)


def test_plain_values() -> None:
    rng = np.random.default_rng(0)
    found = moments.of(rng.normal(size=(10, 128)))
    sample = Sample(2, np.array([3, 2**63], np.uint64), rng.normal(size=(2, 128)).astype(np.float32))
    summary = plain.loads(
        plain.dumps((Summary({3: 4}, 1, found, sample), [DistantClip("é\udcff", None, 1.5, 2, None)]))
    )
    ours, (clip,) = summary
    assert (ours.counts, ours.empty, ours.moments.count) == ({3: 4}, 1, 10)
    assert np.array_equal(ours.moments.scatter, found.scatter)
    assert np.array_equal(ours.sample.numbers, sample.numbers)
    assert ours.sample.frames.dtype == np.float32
    assert clip == DistantClip("é\udcff", None, 1.5, 2, None)
    report = FileReport("a", 1, ledger_sums={"failures": {"empty": 2}, "audio_seconds": 1.5})
    again = plain.loads(plain.dumps(report))
    assert replace(again, byte_counts=report.byte_counts) == report
    assert np.array_equal(again.byte_counts, report.byte_counts)
    assert plain.loads(plain.dumps((np.float64(1.5), np.int64(2), Rules(48), None, (), {}))) == (
        *(1.5, 2, Rules(48), None, ()),
        {},
    )


@pytest.mark.parametrize("value", [object(), b"", {1, 2}, pytest])
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is no plain value"):
        plain.dumps([value])


def test_no_class_of_a_stranger_is_made() -> None:
    with pytest.raises(TypeError, match=r"os\.system is none of ours"):
        plain.loads(b'{"class":["os","system"],"fields":{}}\n')
