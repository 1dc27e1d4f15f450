"""A plan written to files and read back is the same plan."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus import plan_file
from pipeline.types import Clip, DecodeRequest, DecodeRequestRef, Failure, Segment

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
)
segments = st.builds(Segment, clips, st.integers(0), st.integers(1), st.integers(0), st.none() | st.integers(1))
requests = st.builds(DecodeRequest, names, st.lists(segments, min_size=1, max_size=3).map(tuple))
failures = st.builds(Failure, clips, st.just("find"), st.just("bad_times"), names, st.booleans())


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(requests | failures, max_size=6), lines=st.integers(1, 4))
def test_what_is_written_is_read(tmp_path: Path, items: list[DecodeRequest | Failure], lines: int) -> None:
    parts = plan_file.write(str(tmp_path / "plan"), items, lines)
    assert len(parts) == -(-len(items) // lines)
    assert [item for part in parts for item in plan_file.read(part)] == items


def test_long_readings_travel_as_references(tmp_path: Path) -> None:
    long = DecodeRequest("é.mp3", tuple(Segment(Clip(f"é {n}", "é.mp3", n, n + 1, cut=True)) for n in range(1000)))
    short = DecodeRequest("b.mp3", long.segments[:3])
    items = [short, long, Failure(long.segments[0].clip, "find", "bad_times", "x" * 100_000), long, short]
    (part,) = plan_file.write(str(tmp_path / "plan"), items)
    found = list(plan_file.read(part))
    kinds = ["DecodeRequest", "DecodeRequestRef", "Failure", "DecodeRequestRef", "DecodeRequest"]
    assert [type(item).__name__ for item in found] == kinds
    assert [plan_file.load(item) if isinstance(item, DecodeRequestRef) else item for item in found] == items
