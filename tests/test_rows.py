"""Row files: what is written is read, what is damaged or foreign is not used, and clips are merged across files."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.output import shards
from pipeline.output.journal import held, merged, rows, spilled
from pipeline.output.journal import writer as writers
from pipeline.output.journal.writer import RowPlace, RowWriter
from pipeline.output.layout import OutputError
from pipeline.output.work import Work, without_held
from pipeline.settings import Output
from pipeline.types import Clip, Embedding, Failure, Outcome, RowsRef, SegmentEnd
from tests import outputs

FINGERPRINT = "f" * 64
DAY = Clip("day", "/audio/day.wav", size_bytes=10**9, version="1")


@pytest.fixture
def output(tmp_path: Path) -> str:
    (tmp_path / rows.ROWS).mkdir(parents=True)
    return str(tmp_path)


def look(output: str, fingerprint: str = FINGERPRINT) -> held.Held:
    """All that row files hold."""
    return held.look(output, held.files_of(output, fingerprint).parts(range(3)))


def settle(output: str, work: Work, fingerprint: str = FINGERPRINT) -> list[RowsRef]:
    return held.settle(output, fingerprint, 3, held.files_of(output, fingerprint), work.stale, work.damaged)


def values(start: int, count: int) -> np.ndarray:
    return (np.arange(start, start + count) % 256).astype(np.uint8)[:, None].repeat(128, 1)


def stretch(start: int, count: int, clip: Clip = DAY) -> Embedding:
    return Embedding(clip, 0, start, values(start, count))


def ending(first: int, count: int, index: int, segments: int, clip: Clip = DAY) -> SegmentEnd:
    return SegmentEnd(clip, index, segments, count, count * 0.96, 44100, 2, "WAV/PCM_16", first_example=first)


def write(
    output: str, *outcomes: Outcome, made_with: dict[str, str] | None = None, shards: int = 3
) -> tuple[RowsRef, ...]:
    return rows.write(output, FINGERPRINT, shards, rows.gathered(outcomes), made_with or {})


names = st.text(st.characters(exclude_categories=()), min_size=1, max_size=8)
clips = st.builds(
    Clip, names, names, st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.lists(st.integers(0, 9)).map(tuple),
    st.booleans(), st.integers(0), names,
)  # fmt: skip


@st.composite
def outcomes(draw: st.DrawFn) -> list[Outcome]:
    """Whatever becomes of some clips."""
    found: list[Outcome] = []
    kind = draw(st.sampled_from([np.uint8, np.float32]))
    for clip in draw(st.lists(clips, max_size=5, unique_by=lambda clip: clip.key)):
        for _ in range(draw(st.integers(0, 2))):
            rows_ = np.full((draw(st.integers(1, 4)), 128), draw(st.integers(0, 255)), kind)
            found.append(Embedding(clip, draw(st.integers(0, 3)), draw(st.integers(0, 99)), rows_))
        if draw(st.booleans()):
            found.append(SegmentEnd(clip, 1, 3, 7, 6.72, 8000, 1, "MP3", True, draw(names), 5))
        if draw(st.booleans()):
            found.append(Failure(clip, "extract", "corrupt", draw(names), draw(st.booleans())))
    return found


def shown(found: list[Outcome]) -> list[str]:
    """Outcomes in one order, for comparison."""
    as_bytes = (
        replace(item, values=(item.values.dtype.str, item.values.tobytes())) if isinstance(item, Embedding) else item
        for item in found
    )
    return sorted(map(repr, as_bytes))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=outcomes(), shards=st.integers(1, 4))
def test_what_is_written_is_read_by_shard_and_key(output: str, found: list[Outcome], shards: int) -> None:
    parts = write(output, *found, made_with={"arithmetic": "x"}, shards=shards)
    if not parts:
        assert not found
        return
    assert rows.read_head(output, parts[0].name) == rows.RowFile(parts[0].name, FINGERPRINT, {"arithmetic": "x"}, parts)
    by_part = [list(rows.read(output, part)) for part in parts]
    assert shown([item for part in by_part for clip in part for item in clip.outcomes()]) == shown(found)
    for part in by_part:
        keys = [clip.clip.key for clip in part]
        assert keys == sorted(set(keys))
    assert write(output, *found, made_with={"arithmetic": "x"}, shards=shards) == parts  # tried again: the same file
    held.remove_all(output)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "head", "later format"])
def test_a_damaged_file_is_named_and_removed_and_its_clips_are_computed_again(output: str, damage: str) -> None:
    (part,) = write(output, stretch(0, 40), ending(0, 40, 0, 1))
    path = Path(output) / rows.ROWS / part.name
    data = bytearray(path.read_bytes())
    if damage == "later format":
        data = data.replace(b'"format": 1', b'"format": 2')
    elif damage in ("flip", "head"):
        data[-5 if damage == "flip" else 30] ^= 1
    path.write_bytes({"cut": bytes(data[:-77]), "empty": b""}.get(damage, bytes(data)))
    found = look(output)
    assert (found.damaged, found.clips) == ((part,) if damage in ("flip", "cut") else (), {})
    work = without_held(Work([DAY], (), (), 0, 1), found)
    assert list(work.clips) == [DAY]
    assert settle(output, work) == []
    assert not path.exists()
    with pytest.raises(OutputError, match=f"{part.name} cannot be used"):
        list(merged.results(output, [part]))


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_file_that_is_damaged_after_it_was_counted_on_is_named(output: str, damage: str) -> None:
    """When what is of no use is removed; the same command again computes what it held."""
    night = replace(DAY, id="night")
    parts = write(output, stretch(0, 40), ending(0, 40, 0, 1), stretch(0, 9, night), ending(0, 9, 0, 1, night))
    there = held.files_of(output, FINGERPRINT)
    work = without_held(Work([night], (), (), 0, 1), look(output))
    assert (work.from_rows, list(work.stale.values())) == (1, [[DAY]])
    path = Path(output) / rows.ROWS / parts[0].name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(OutputError, match=f"{path.name} cannot be used") as caught:
        held.settle(output, FINGERPRINT, 3, there, work.stale, work.damaged)
    assert caught.value.remedy == "Run the same command again: what it held is computed again."
    assert list(without_held(Work([night], (), (), 0, 1), look(output)).clips) == [night]


def test_whatever_byte_is_damaged_before_the_merge_the_file_is_named(output: str, full: bool) -> None:
    every = [outputs.clip(number) for number in (1, 2)]
    found = [item for clip in every for item in (stretch(0, 1, clip), ending(0, 1, 0, 1, clip))]
    parts = write(output, *found, shards=1) + write(output, *found, made_with={"other": "run"}, shards=1)
    (part, _) = parts
    path, made = Path(output) / rows.ROWS / part.name, Output(output, 1)
    content = path.read_bytes()
    assert shards.write_shard(made, 0, parts, "attempt").entry.records == 2
    for at in range(part.offset_bytes, part.offset_bytes + part.size_bytes, 1 if full else 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 6]) + content[at + 1 :])
        with pytest.raises(OutputError, match=f"{path.name} cannot be used.*computed again"):
            shards.write_shard(made, 0, parts, "attempt")
    assert len(list((Path(output) / "_state/staged").iterdir())) == 2


def test_rows_of_other_settings_files_and_times_are_not_used(output: str) -> None:
    write(output, stretch(0, 40), ending(0, 40, 0, 1))
    for other in (
        replace(DAY, version="2"),
        replace(DAY, size_bytes=5),
        replace(DAY, start_s=3.0, end_s=9.0, cut=True),
        replace(DAY, id="night"),
        replace(DAY, labels=(3,)),
    ):
        work = without_held(Work([other], (), (), 0, 1), look(output))
        assert (list(work.clips), work.from_rows, work.partly) == ([other], 0, {})
        assert list(work.stale.values()) == [[DAY]]
    moved = without_held(Work([replace(DAY, uri="/moved.wav")], (), (), 0, 1), look(output))
    assert (list(moved.clips), moved.from_rows, moved.kept) == ([], 1, 1)
    foreign = held.files_of(output, "e" * 64)
    assert foreign.files == ()
    assert len(foreign.foreign) == 1
    assert settle(output, Work([], (), (), 0, 0), "e" * 64) == []
    assert rows.names(output) == []


def test_what_is_of_no_use_goes_and_the_rest_of_its_file_stays(output: str) -> None:
    night = replace(DAY, id="night")
    write(output, stretch(0, 40), ending(0, 40, 0, 1), stretch(0, 9, night), ending(0, 9, 0, 1, night))
    (Path(output) / rows.ROWS / "half.rows.01234567.tmp").write_bytes(b"half")
    work = without_held(Work([night], (), (), 0, 1), look(output))
    parts = settle(output, work)
    assert [clip.clip for part in parts for clip in rows.read(output, part)] == [night]
    assert rows.names(output) == [parts[0].name]


def test_who_took_part_is_named_once(output: str) -> None:
    for first in range(3):
        write(output, stretch(first * 10, 10))
    assert held.files_of(output, FINGERPRINT).made_with == [rows.read_head(output, rows.names(output)[0]).made_with]


def test_a_failure_is_done_unless_it_is_to_be_tried_again(output: str) -> None:
    write(output, Failure(DAY, "extract", "timed_out", "slow"))
    work = Work([DAY], (), (), 0, 1)
    assert not without_held(work, look(output)).clips
    again = without_held(work, look(output), retry_failed=True)
    assert list(again.clips) == [DAY]
    assert list(again.stale.values()) == [[DAY]]


def test_of_a_long_clip_ranges_and_whole_segments_are_known(output: str) -> None:
    write(output, stretch(0, 30), stretch(30, 20), ending(0, 50, 0, 3))
    write(output, stretch(100, 20), ending(50, 50, 1, 3))
    work = without_held(Work([DAY], (), (), 0, 1), look(output))
    (found,) = work.partly.values()
    assert found.filled() == [(0, 50), (100, 120)]
    assert found.ended() == [(0, 3)]  # of the second the ending alone is there
    assert list(work.clips) == [DAY]
    write(output, stretch(50, 50), stretch(120, 5), ending(100, 25, 2, 3))
    assert without_held(Work([DAY], (), (), 0, 1), look(output)).from_rows == 1
    (result,) = merged.results(output, held.files_of(output, FINGERPRINT).parts(range(3)))
    np.testing.assert_array_equal(result.values, values(0, 125))  # type: ignore[arg-type]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_ranges(spans: list[tuple[int, int]], start: int, stop: int) -> None:
    ranges = [(begin, begin + count) for begin, count in spans]
    places = {place for begin, end in ranges for place in range(begin, end)}
    found = held.joined(ranges)
    assert {place for begin, end in found for place in range(begin, end)} == places
    assert all(end < begin for (_, end), (begin, _) in pairwise(found))
    inside = [place for begin, end in held.within(found, start, stop) for place in range(begin, end)]
    assert inside == sorted(places & set(range(start, stop)))
    assert held.covers(found, (start, max(start, stop))) == (set(range(start, max(start, stop))) <= places)


def test_more_files_than_may_be_open_are_merged(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "OPEN_FILES", 3)
    clips = [outputs.clip(number) for number in range(40)]
    parts = [part for clip in clips for part in write(output, *outputs.outcomes_of(clip), shards=1)]
    listed = Failure(Clip("a", ""), "plan", "no_audio", "")
    found = list(merged.results(output, parts, [listed]))
    assert [result.entry.id for result in found] == ["a", *(clip.id for clip in clips)]
    for result, clip in zip(found[1:], clips, strict=True):
        if result.values is not None:
            np.testing.assert_array_equal(result.values, outputs.values_of(clip))


@pytest.mark.parametrize(("kind", "step"), [(np.uint8, 1), (np.float32, 1e-4)])
def test_rows_of_two_kinds_of_processors_may_be_a_step_apart(output: str, kind: type, step: float) -> None:
    ours = np.full((4, 128), 7, kind)
    theirs, wrong = ours.copy(), ours.copy()
    theirs[2, 3] += kind(step)
    wrong[2, 3] += 2
    end = ending(0, 4, 0, 1)
    first = write(output, Embedding(DAY, 0, 0, ours), end, made_with={"arithmetic": "a"})
    other = write(output, Embedding(DAY, 0, 0, theirs), end, made_with={"arithmetic": "b"})
    same = write(output, Embedding(DAY, 0, 0, theirs), end, made_with={"arithmetic": "a"})
    bad = write(output, Embedding(DAY, 0, 0, wrong), end, made_with={"arithmetic": "b"})
    (result,) = merged.results(output, [*first, *other])
    assert result.unequal_rows == 1
    np.testing.assert_array_equal(result.values, ours)  # type: ignore[arg-type]
    for parts in ([*first, *same], [*first, *bad]):
        with pytest.raises(OutputError, match=f"contradict each other.*{min(parts, key=lambda p: p.name).name}"):
            list(merged.results(output, parts))


def test_files_come_often_at_first_and_all_is_in_them(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "FIRST_S", 0.0)
    monkeypatch.setattr(writers, "SHARE", 0.0)
    writer = RowWriter(RowPlace(output, FINGERPRINT, 3, 60.0), {}, 0.0)
    clips = [outputs.clip(number) for number in range(8)]
    parts = []
    for clip in clips:
        for outcome in outputs.outcomes_of(clip):
            parts += writer.add(outcome)
        time.sleep(0.02)
    before = len(parts)
    parts += writer.close()
    assert 0 < before < len(parts)
    found = {clip.clip.id for part in parts for clip in rows.read(output, part)}
    assert found == {clip.id for clip in clips}


def test_writers_that_are_stopped_write_what_they_hold(output: str) -> None:
    """From another thread than that of the work, as at a signal; one whose storage failed does not try again."""
    place = RowPlace(output, FINGERPRINT, 3, 60.0)
    holding, empty, closed = (RowWriter(place, {}, time.monotonic()) for _ in range(3))
    clips = [outputs.clip(number) for number in range(3)]
    for clip in clips:
        for outcome in outputs.outcomes_of(clip):
            assert not list(holding.add(outcome))
    assert not list(closed.close())
    writers.keep_all()
    files = held.files_of(output, FINGERPRINT)
    found = held.look(output, files.parts(range(3)))
    assert found.succeeded() == {clip.key for clip in clips}
    assert len(files.files) == 1
    assert not writers._at_work
    empty.leave().join()
    writers.keep_all()
    assert len(held.files_of(output, FINGERPRINT).files) == 1


def test_a_writer_whose_storage_failed_does_not_try_again(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def fails(*arguments: object) -> None:
        tried.append(arguments)
        raise OSError("no space")

    monkeypatch.setattr(rows, "write", fails)
    writer = RowWriter(RowPlace(output, FINGERPRINT, 3, 60.0), {}, 0.0)
    list(writer.add(stretch(0, 4)))
    with pytest.raises(OutputError, match="writing finished rows failed"):
        list(writer.close())
    list(writer.add(stretch(4, 8)))
    writers.keep_all()
    assert len(tried) == 1


def test_a_file_that_cannot_be_written_stops_the_work(output: str) -> None:
    folder = Path(output) / rows.ROWS
    folder.rmdir()
    folder.write_text("not a folder")
    writer = RowWriter(RowPlace(output, FINGERPRINT, 3, 60.0), {}, 0.0)
    list(writer.add(stretch(0, 4)))
    with pytest.raises(OutputError, match="writing finished rows failed"):
        list(writer.close())
