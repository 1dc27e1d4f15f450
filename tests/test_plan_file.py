"""A plan written to files and read back is the same plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus import plan_file
from pipeline.types import Clip, DecodeRequest, Failure, Removal, RowsRef, Segment, Unit, UnitRef

# Surrogates stand for bytes of a file's name that are not UTF-8.
names = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
seconds = st.floats(0, 1e6)
clips = st.builds(
    Clip,
    names,
    names,
    seconds,
    st.none() | seconds,
    st.lists(st.integers(0, 526)).map(tuple),
    st.booleans(),
    st.integers(0),
    place=st.just("") | names,
)
ranges = st.lists(st.tuples(st.integers(0), st.integers(0)), max_size=2).map(tuple)
segments = st.builds(
    Segment, clips, st.integers(0), st.integers(1), st.integers(0), st.none() | st.integers(1), ranges, ranges
)
requests = st.builds(DecodeRequest, names, st.lists(segments, min_size=1, max_size=3).map(tuple))
units = st.builds(Unit, st.lists(requests, min_size=1, max_size=3).map(tuple), st.booleans())
failures = st.builds(Failure, clips, st.just("find"), st.just("bad_times"), names, st.booleans())
removals = st.builds(Removal, clips)
parts_of_rows = st.builds(RowsRef, st.integers(0), names, st.integers(0), st.integers(0), names)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(units | failures | st.builds(Removal, clips) | parts_of_rows, max_size=6), lines=st.integers(1, 4)
)
def test_what_is_written_is_read(tmp_path: Path, items: list[plan_file.Written], lines: int) -> None:
    parts = plan_file.write(str(tmp_path / "plan"), items, lines)
    assert len(parts) == -(-len(items) // lines)
    found = [item for part in parts for item in plan_file.read(part)]
    assert [item.asks for item in found if isinstance(item, UnitRef)] == [u.asks for u in items if isinstance(u, Unit)]
    assert [plan_file.load(item) if isinstance(item, UnitRef) else item for item in found] == items


def test_a_part_is_no_longer_than_a_worker_reads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "BYTES_OF_A_PART", 10_000)
    unit = Unit((DecodeRequest("a.mp3", (Segment(Clip("a" * 4000, "a.mp3")),)),))
    assert len(plan_file.write(str(tmp_path / "plan"), [unit] * 9)) == 3
