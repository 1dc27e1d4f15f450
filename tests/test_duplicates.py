"""`pipeline.duplicates`: copies, stretches, two sets; what floods is left out and named."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import duplicates, search, storage
from pipeline.analysis.similar import RAW_THRESHOLD, THRESHOLD, cosine, jobs, kept, pairs
from pipeline.analysis.similar.duplicates import duplicates as duplicates_of
from pipeline.analysis.similar.pairs import CROWD, above
from pipeline.analysis.sources import find
from pipeline.errors import JobError
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.running.engines.runners import Engine
from tests import outputs

WIDTH = 128
RNG = np.random.default_rng(5)
Clips = dict[str, np.ndarray]


def frames(count: int) -> np.ndarray:
    """Frames that are like no others."""
    return RNG.normal(size=(count, WIDTH)).astype(np.float32)


def near(values: np.ndarray) -> np.ndarray:
    """The same with noise: cosines of some 0.995."""
    return values + 0.1 * RNG.normal(size=values.shape).astype(np.float32)


def write(folder: Path, clips: Clips, start: float = 0.0) -> Path:
    folder.mkdir()
    data = (to_sequence_example(name, start, start + 100, [], values) for name, values in clips.items())
    with (folder / "x.tfrecord").open("wb") as file:
        write_tfrecord(file, data)
    return folder


def told(tmp_path: Path, *arguments: str | Path) -> dict:  # type: ignore[type-arg]
    flags = ["--threshold", "0.95", "--json", str(tmp_path / "found.json")]
    assert duplicates.main([*flags, *map(str, arguments)]) == 0
    return json.loads((tmp_path / "found.json").read_text())


def ends(found: dict) -> set[tuple[str, str, str]]:  # type: ignore[type-arg]
    return {(each["kind"], each["first"], each["second"]) for each in found["found"]}


@pytest.fixture
def clips() -> Clips:
    return {f"clip {number}": frames(10) for number in range(12)}


def test_copies_and_stretches_with_their_times(clips: Clips, tmp_path: Path) -> None:
    clips["copy"] = near(clips["clip 3"])
    clips["mixed"] = np.concatenate([frames(3), near(clips["clip 5"][4:8]), frames(2)])
    folder = write(tmp_path / "set", clips, start=10.0)
    found = told(tmp_path, folder, "--csv", tmp_path / "found.csv")
    whole, part = found["found"]
    assert (whole["kind"], whole["first"], whole["second"], whole["group"]) == ("clip", "clip 3", "copy", 1)
    assert (part["kind"], part["first"], part["second"], part["group"]) == ("stretch", "clip 5", "mixed", 0)
    assert (part["first_start_s"], part["first_end_s"]) == (pytest.approx(13.84), pytest.approx(17.68))
    assert (part["second_start_s"], part["second_end_s"], part["frames"]) == (
        pytest.approx(12.88),
        pytest.approx(16.72),
        4,
    )
    assert 0.98 < part["score"] < 1
    assert found["notes"] == []
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["first"], row["second"]) for row in rows] == [
        ("clip", "clip 3", "copy"),
        ("stretch", "clip 5", "mixed"),
    ]
    assert float(rows[1]["second_start_seconds"]) == pytest.approx(12.88)


def test_what_two_sets_have_in_common(clips: Clips, tmp_path: Path) -> None:
    train = write(tmp_path / "train", clips)
    test = {"leak": near(clips["clip 7"]), "other": frames(10), "again": near(clips["clip 7"])}
    found = told(tmp_path, train, "--against", write(tmp_path / "test", test))
    assert ends(found) == {("clip", "clip 7", "leak"), ("clip", "clip 7", "again")}
    assert {each["group"] for each in found["found"]} == {1}
    assert ends(told(tmp_path, train)) == set()


def test_what_is_there_fifty_times_is_one_group_of_as_many_lines(clips: Clips, tmp_path: Path) -> None:
    clips |= {f"copy {number}": near(clips["clip 3"]) for number in range(50)}
    found = told(tmp_path, write(tmp_path / "set", clips))["found"]
    assert len(found) == 50
    assert {each["group"] for each in found} == {1}
    assert {each["first"] for each in found} | {each["second"] for each in found} == {"clip 3"} | {
        f"copy {number}" for number in range(50)
    }


def test_silence_does_not_flood(clips: Clips, tmp_path: Path) -> None:
    """Neither as whole clips nor at the beginnings of others; what was left out is counted."""
    silence = frames(1)
    clips |= {f"silent {number}": near(np.repeat(silence, 8, axis=0)) for number in range(60)}
    clips |= {
        f"late {number}": np.concatenate([near(np.repeat(silence, 4, axis=0)), frames(9)]) for number in range(40)
    }
    clips["late copy"] = near(clips["late 3"])
    found = told(tmp_path, write(tmp_path / "set", clips))
    assert ("clip", "late 3", "late copy") in ends(found)
    assert len(found["found"]) < 60
    assert not any(each["kind"] == "stretch" for each in found["found"])
    notes = " ".join(found["notes"])
    assert "pairs of clips of one steady sound that more than 16 clips have" in notes
    assert "frames that are like more than 16 others" in notes


def test_a_frame_more_or_less_and_the_threshold(clips: Clips, tmp_path: Path) -> None:
    clips["mixed"] = np.concatenate([frames(3), near(clips["clip 5"][4:6]), frames(6)])
    folder = write(tmp_path / "set", clips)
    assert ends(told(tmp_path, folder)) == {("stretch", "clip 5", "mixed")}
    assert ends(told(tmp_path, folder, "--least", "3")) == set()
    assert ends(told(tmp_path, folder, "--threshold", "0.9999")) == set()


def test_raw_embeddings_have_a_threshold_of_their_own(clips: Clips, tmp_path: Path) -> None:
    quantized = {name: RNG.integers(0, 256, (4, WIDTH)).astype(np.uint8) for name in ("a", "b")}
    for name, values, expected in (("raw", clips, RAW_THRESHOLD), ("quantized", quantized, THRESHOLD)):
        folder = write(tmp_path / name, values)
        assert duplicates.main([str(folder), "--json", str(tmp_path / "found.json")]) == 0
        assert json.loads((tmp_path / "found.json").read_text())["threshold"] == expected


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("A --threshold 1.5", "--threshold: '1.5' is not a number above 0, up to 1"),
        ("A --least 0", "--least: '0' is not a whole number of 1 or more"),
        ("nothing", "no file matches nothing"),
        ("A --treshold 0.9", "unknown flag --treshold; did you mean --threshold?"),
        ("A --parallelism 4", "unknown flag --parallelism"),
        ("A --runner Flink", "--runner 'Flink' is not one of Beam's runners"),
        ("A --runner FlinkRunner --paralelism 4", "unknown flag --paralelism; did you mean --parallelism?"),
        ("A --runner FlinkRunner --flink_master elsewhere:1", "FlinkRunner has no place for the vectors"),
        ("A --runner DataflowRunner --temp_location A", "a path of this machine, which Dataflow's workers do not see"),
    ],
)
def test_mistakes(arguments: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "set", {"a": frames(3)})
    assert duplicates.main(arguments.replace("A", str(folder)).split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert wrong in lines[0]
    assert len(lines) == 2


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.2, 0.5, 0.9]))
def test_pairs_are_those_of_the_whole_matrix(seed: int, count: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 128)).astype(np.float32) + 2 * rng.normal(size=128).astype(np.float32)
    clip_ends = np.sort(rng.integers(1, count + 1, count))
    clip_ends = np.array([min(end for end in [*clip_ends.tolist(), count] if end > row) for row in range(count)])
    unit = cosine.unit(vectors)
    scores = unit @ unit.T
    scores[np.arange(count) < clip_ends[:, np.newaxis]] = -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "ROWS", 7)
        patch.setattr(pairs, "QUERIES", 5)
        found = above(vectors, vectors, threshold, clip_ends=clip_ends)
    counts = np.count_nonzero(scores >= threshold, axis=1)
    assert found.crowded.tolist() == np.flatnonzero(counts > CROWD).tolist()
    assert np.bincount(found.first, minlength=count).tolist() == np.minimum(counts, CROWD).tolist()
    assert np.allclose(found.scores, scores[found.first, found.second], atol=1e-5)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_what_is_near_does_not_depend_on_the_cut(data: st.DataObject, count: int, other: int, same: bool) -> None:
    """Nor on the order in which parts are added: of vectors whose cosines are exact, with many ties."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    signs = rng.choice(np.float32([0.5, -0.5]), (max(count, other), 4))
    signs[rng.random(len(signs)) < 0.5] = 0.5  # a crowd
    vectors = np.zeros((len(signs), WIDTH), np.float32)
    vectors[:, :4] = signs
    first, second = (vectors, vectors) if same else (vectors[:count], vectors[:other])
    ends = np.minimum(np.arange(len(first)) // 3 * 3 + 3, len(first)) if same else None
    expected = above(first, second, 0.5, clip_ends=ends)

    cosines = second @ first.T
    if ends is not None:
        cosines[np.arange(len(first)) < ends[:, np.newaxis]] = -1
    assert expected.crowded.tolist() == np.flatnonzero(np.count_nonzero(cosines >= 0.5, axis=1) > CROWD).tolist()

    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(first) - 1), max_size=5))})
    blocks = [pairs.Block(a, first[a:b], None) for a, b in zip(cuts, [*cuts[1:], len(first)], strict=True)]
    asked = pairs.Block(0, second, ends)
    parts = [pairs.near(asked, each, 0.5) for each in data.draw(st.permutations(blocks))]
    split = data.draw(st.integers(0, len(parts)))
    total = sum(parts[:split], pairs.Near()) + sum(parts[split:], pairs.Near())
    found = pairs.pairs_of([total], same)
    for field in ("first", "second", "scores", "crowded"):
        assert getattr(found, field).tolist() == getattr(expected, field).tolist()


@pytest.fixture
def many(clips: Clips) -> Clips:
    """With copies, a part, silence, and a clip without frames."""
    silence = frames(1)
    clips |= {f"copy {number}": near(clips[f"clip {number % 6}"]) for number in range(24)}
    clips["mixed"] = np.concatenate([frames(3), near(clips["clip 8"][4:8]), frames(2)])
    clips |= {f"silent {number}": near(np.repeat(silence, 8, axis=0)) for number in range(30)}
    clips |= {
        f"late {number}": np.concatenate([near(np.repeat(silence, 4, axis=0)), frames(9)]) for number in range(20)
    }
    clips["late copy"] = near(clips["late 3"])
    return clips


@pytest.mark.parametrize(("rows", "queries"), [(pairs.ROWS, pairs.QUERIES), (64, 64), (50, 16), (16, 5)])
@pytest.mark.parametrize("sets", [1, 2])
def test_a_job_finds_what_this_process_does(
    many: Clips, sets: int, rows: int, queries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[str | Path] = [write(tmp_path / "set", many)]
    if sets == 2:
        other = {name: near(values) for name, values in many.items() if not name.startswith("copy")}
        arguments += ["--against", write(tmp_path / "other", other)]
    expected = told(tmp_path, *arguments)
    assert {each["kind"] for each in expected["found"]} == {"clip", "stretch"}
    assert len(expected["notes"]) >= 2
    monkeypatch.setattr(pairs, "ROWS", rows)
    monkeypatch.setattr(pairs, "QUERIES", queries)
    monkeypatch.setattr(jobs, "ELEMENTS", 20)
    found = told(tmp_path, *arguments, "--runner", "DirectRunner")
    assert [each.pop("score") for each in found["found"]] == pytest.approx(
        [each.pop("score") for each in expected["found"]], abs=1e-6
    )
    assert found == expected


@pytest.mark.parametrize("values", [np.empty((0, WIDTH), np.float32), frames(1)])
def test_a_job_of_one_clip_finds_nothing(values: np.ndarray, tmp_path: Path) -> None:
    assert told(tmp_path, write(tmp_path / "set", {"a": values}), "--runner", "DirectRunner")["found"] == []


def test_a_job_leaves_nothing_behind(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its place, whether it ended well or not."""
    source = find(str(write(tmp_path / "set", clips)))
    assert source
    place = tmp_path / "place"
    place.mkdir()
    job = jobs.Job(Engine("FnApiRunner", (), True, 1), str(place))
    assert duplicates_of(source, threshold=0.95, compare=job) == duplicates_of(source, threshold=0.95)
    assert list(place.iterdir()) == []

    write_atomic = storage.write_atomic
    monkeypatch.setattr(storage, "write_atomic", lambda uri, data: "frame" in uri and write_atomic(uri, data))
    with pytest.raises(JobError, match=r"vectors-.*-clip-0-0"):
        duplicates_of(source, threshold=0.95, compare=job)
    assert list(place.iterdir()) == []


def test_a_job_needs_no_faiss(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is an index with lists, and too many pairs for one process to compare."""
    pytest.importorskip("faiss")
    clips["copy"] = near(clips["clip 3"])
    folder = tmp_path / "set"
    of = outputs.job(folder, 1, embeddings="raw")
    outputs.write(of, [outputs.clip(number) for number in range(20)])
    monkeypatch.setattr(kept, "EXACT", 10)
    assert search.main([str(folder), "--build"]) == 0
    monkeypatch.setattr("pipeline.analysis.similar.duplicates.EXACT_PAIRS", 10)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert duplicates.main([str(folder)]) == 2
    assert duplicates.main([str(folder), "--runner", "DirectRunner"]) == 0


def test_lists_find_the_same(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    clips |= {f"copy {number}": near(clips[f"clip {number}"]) for number in range(6)}
    clips["mixed"] = np.concatenate([frames(3), near(clips["clip 8"][4:8]), frames(2)])
    folder = write(tmp_path / "set", clips)
    expected = told(tmp_path, folder)
    monkeypatch.setattr(kept, "EXACT", 10)
    monkeypatch.setattr("pipeline.analysis.similar.duplicates.EXACT_PAIRS", 10)
    found = told(tmp_path, folder)
    assert len(ends(expected)) == 7
    assert ends(found) == ends(expected)
