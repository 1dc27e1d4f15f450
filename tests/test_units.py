"""How a corpus is cut into units of work: everything once, in the order of the output, each small enough."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import plan, units
from pipeline.types import Clip, Segment, Unit

SEGMENT_S, HOP = 600.0, 96


def cut(
    clips: list[Clip], num_shards: int = 4, partly: dict[tuple[str, float, float], Segment] | None = None
) -> list[Unit]:
    return list(units.units(clips, num_shards, SEGMENT_S, HOP, partly))


def clips_of(found: list[Unit]) -> list[Clip]:
    return [segment.clip for unit in found for request in unit.requests for segment in request.segments]


def clip_of(number: int, is_cut: bool, size_bytes: int) -> Clip:
    end_s = number + 1.0 if is_cut else None
    name = f"file {number % 7 if is_cut else number}.mp3"
    return Clip(f"id {number}", name, float(number), end_s, cut=is_cut, size_bytes=size_bytes)


lines = st.builds(clip_of, st.integers(0, 40), st.booleans(), st.sampled_from([0, 10**5, 10**7, 10**9]))
corpora = st.lists(lines, max_size=60, unique_by=lambda clip: clip.id)


@settings(max_examples=100, deadline=None)
@given(clips=corpora, num_shards=st.integers(1, 5))
def test_units_hold_every_clip_once_and_do_not_depend_on_the_order(clips: list[Clip], num_shards: int) -> None:
    found = cut(clips, num_shards)
    assert sorted(clips_of(found), key=lambda clip: clip.key) == sorted(clips, key=lambda clip: clip.key)
    assert cut(clips[::-1], num_shards) == found
    for unit in found:
        assert unit.requests
        if unit.asks:
            assert len(unit.requests) == 1


def test_units_are_small_and_in_the_order_of_the_output() -> None:
    clips = [Clip(f"clip {number}", f"{number}.wav", size_bytes=2_000_000) for number in range(20_000)]
    found = cut(clips, 40)
    places = [plan.place_of(clip, 40) for clip in clips_of(found)]
    assert places == sorted(places)
    sizes = [sum(plan.cost_bytes(clip) for clip in clips_of([unit])) for unit in found]
    assert max(sizes) <= units.BYTES_OF_A_UNIT
    assert sorted(sizes)[1] > units.BYTES_OF_A_UNIT * 0.9
    assert max(len({plan.shard_of(clip.id, 40) for clip in clips_of([unit])}) for unit in found) <= 2


def test_a_small_corpus_has_work_for_many_workers() -> None:
    clips = [Clip(f"clip {number}", f"{number}.wav", size_bytes=500_000) for number in range(1000)]
    assert len(cut(clips)) > 200


def test_what_may_be_split_asks_its_file_and_is_a_unit_by_itself() -> None:
    long = Clip("long", "long.flac", size_bytes=10**9)
    found = cut([long, *(Clip(f"{number}", f"{number}.wav", size_bytes=10**5) for number in range(20))])
    (asking,) = (unit for unit in found if unit.asks)
    assert clips_of([asking]) == [long]


def test_what_row_files_hold_of_a_clip_travels_with_it() -> None:
    clips = [Clip(f"{number}", f"{number}.wav", size_bytes=10**5) for number in range(3)]
    known = Segment(clips[1], held=((0, 5),), ended=((0, 2),))
    found = {
        segment.clip.id: (segment.held, segment.ended)
        for unit in cut(clips, partly={clips[1].key: known})
        for request in unit.requests
        for segment in request.segments
    }
    assert found == {"0": ((), ()), "1": (((0, 5),), ((0, 2),)), "2": ((), ())}
    assert replace(known) == known
