"""Clips in little memory are the clips that were added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus import packed
from pipeline.corpus.packed import Packed
from pipeline.corpus.rows import Row
from pipeline.corpus.tables import RowError
from pipeline.types import Clip, Failure

TEXTS = st.text(st.characters(), max_size=5) | st.sampled_from(["\udcff", "\0", "a" * 2000])
TIMES = st.none() | st.floats(allow_nan=False)
CLIPS = st.builds(
    Clip, TEXTS, TEXTS, st.floats(allow_nan=False), TIMES, st.lists(st.integers(0), max_size=3).map(tuple),
    st.booleans(), st.integers(0, 2**70), TEXTS,
)  # fmt: skip
FAILURES = st.builds(Failure, CLIPS, st.just("find"), st.just("no_audio"), TEXTS, st.booleans())


@pytest.fixture(params=[1, 3, 1000], autouse=True)
def values_of_a_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "VALUES_OF_A_BLOCK", request.param)


@given(st.lists(CLIPS, max_size=10) | st.lists(FAILURES, max_size=10) | st.lists(CLIPS | FAILURES, max_size=10))
def test_packed_values_are_a_sequence_of_them(values: list[Clip | Failure]) -> None:
    found = Packed(values)
    assert (len(found), bool(found)) == (len(values), bool(values))
    assert list(found) == list(iter(found)) == values
    assert found == values
    assert values == found
    assert found != [*values, None]
    assert [found[index] for index in range(-len(values), len(values))] == values * 2
    assert found[:1] == values[:1]
    assert found[::-2] == values[::-2]
    assert list(reversed(found)) == values[::-1]
    with pytest.raises(IndexError):
        found[len(values)]


def test_a_row_keeps_its_fault() -> None:
    fault = RowError("what was found", "what to do", "bad_times")
    rows = list(Packed([Row(1, "a"), Row(2, "b", fault=fault), Row(3, "c", start_s=float("nan"))]))
    assert rows[0] == Row(1, "a")
    assert rows[2].start_s != rows[2].start_s
    kept = rows[1].fault
    assert kept is not None
    assert (kept.found, kept.remedy, kept.reason) == ("what was found", "what to do", "bad_times")


def test_millions_of_clips_take_little_memory() -> None:
    packed.VALUES_OF_A_BLOCK = 1000  # the fixture puts it back
    found = Packed(Clip(f"dogs/{number:07d}", f"/data/dogs/{number:07d}.wav") for number in range(50_000))
    assert sum(map(len, found._blocks)) < 20 * len(found)
