"""How work is cut into pieces: by what it costs, at the pace of the last piece, in the order of the output."""

from __future__ import annotations

import pytest

from pipeline.corpus import plan
from pipeline.output.work import Work
from pipeline.running.job import FIRST_BYTES_PER_S, GROWTH, Pace, pieces
from pipeline.types import Clip, Failure, Removal


def test_the_pace_follows_the_last_piece_and_grows_step_by_step() -> None:
    pace = Pace(60.0)
    assert pace.budget_bytes == 60 * FIRST_BYTES_PER_S
    pace.learn(10_000_000, 30.0)
    assert pace.budget_bytes == pytest.approx(20_000_000)
    pace.learn(20_000_000, 1.0)
    assert pace.budget_bytes == pytest.approx(20_000_000 * GROWTH)
    pace.learn(80_000_000, 6000.0)
    assert pace.budget_bytes == pytest.approx(800_000)


def test_pieces_hold_everything_once_in_the_order_of_the_output() -> None:
    clips = [Clip(f"clip{number}", f"{number}.wav", size_bytes=10**6) for number in range(50)]
    failures = [Failure(Clip(f"row{number}", ""), "plan", "no_audio", "") for number in range(5)]
    drops = [Clip(f"gone{number}", "") for number in range(5)]
    work = Work(clips, failures, drops, 0, 55)
    pace = Pace(14.0)  # seven of the clips
    found = list(pieces(work, 4, pace, whole=False))
    assert len(found) == 8
    flat = [item for piece in found for item in piece]
    assert len(flat) == 60
    places = [plan.place_of(item if isinstance(item, Clip) else item.clip, 4) for item in flat]
    assert places == sorted(places)
    assert {type(item) for item in flat} == {Clip, Failure, Removal}
    for piece in found:
        assert sum(isinstance(item, Clip) for item in piece) <= 7
    (whole,) = pieces(work, 4, pace, whole=True)
    assert list(whole) == flat


def test_clips_cut_from_one_long_file_count_for_what_is_cut() -> None:
    clips = [Clip(f"c{n}", "day.wav", n * 10.0, n * 10.0 + 10, cut=True, size_bytes=10**10) for n in range(100)]
    (piece,) = pieces(Work(clips, (), (), 0, 100), 2, Pace(120.0), whole=False)
    assert len(piece) == 100
