"""`pipeline.duplicates`: copies, stretches, two sets; what floods is left out and named."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import duplicates
from pipeline.analysis.similar import RAW_THRESHOLD, THRESHOLD, cosine, kept, pairs
from pipeline.analysis.similar.pairs import CROWD, above
from pipeline.output.records import to_sequence_example, write_tfrecord

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
    ],
)
def test_mistakes(arguments: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "set", {"a": frames(3)})
    assert duplicates.main(arguments.replace("A", str(folder)).split()) == 2
    assert wrong in capsys.readouterr().err.splitlines()[0]


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
