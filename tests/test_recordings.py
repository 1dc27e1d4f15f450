"""Whatever a corpus holds ends in records or in one honest line: formats, policies, lists, and a small AudioSet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline.output import records
from tests import made_audio
from tests.command import embed, failures, manifest
from tests.in_process import Embed, digests
from vggish_core.features.examples import waveform_to_examples

RATE = 8000

FORMATS: dict[str, int | str] = {
    "bach.ogg": 3,
    "creative_common.mp4": 2,
    "flac-01.flac": 7,
    "flac-14.flac": 5,
    "flac-22.flac": 5,
    "flac-38.flac": 3,
    "flac-39.flac": 5,
    "flac-42.flac": 9,
    "flac-45.flac": 7,
    "flac-60.flac": 5,
    "flac-62.flac": 5,
    "flac-64.flac": 4,
    "format_test.m4a": 10,
    "LICENSE.pydub": "not_audio",
    "mono.wav": "too_short",
    "party.mp3": 6,
    "stereo.wav": "too_short",
    "test-192khz-32bit.flac": 7,
    "test1-24bit.wav": 10,
    "test1-8bit.wav": 10,
    "test1.mp3": 10,
    "test1_empty.wav": "no_samples",
    "test4.wav": 8,
    "test5.webm": 1,
    "wrong_extension.aac": 10,
}
"""File -> examples of its record, or why it has none."""


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, round(seconds * RATE)).astype(np.int16)


def by_id(output: Path) -> dict[str, records.Record]:
    """The records of an output; their ids are unique here."""
    return {record.id: record for record in records.read_records(f"{output}/embeddings-*")}


def totals(output: Path) -> tuple[int, int, int, int]:
    """Clips in, written, failed, skipped."""
    found = manifest(output)["totals"]
    assert found["clips_in"] == found["written"] + found["failed"] + found["skipped"]
    return found["clips_in"], found["written"], found["failed"], found["skipped"]


def reasons(output: Path) -> dict[str, str]:
    """Why clips have no record; checks that each has a message."""
    found = failures(output)
    assert all(line["message"] and "\n" not in line["message"] for line in found.values())
    return {clip_id: line["reason"] for clip_id, line in found.items()}


@pytest.mark.ci
@pytest.mark.usefixtures("standin_weights")
def test_every_real_format_is_a_record_or_has_its_reason(real_formats: Path, tmp_path: Path) -> None:
    """Through the real command, network and all."""
    assert embedded(sorted(real_formats.iterdir()), tmp_path, "--max_failures", "2") == FORMATS
    assert totals(tmp_path / "out") == (25, 21, 2, 2)


@pytest.mark.usefixtures("standin_weights")
def test_every_format_that_can_be_made_is_a_record_or_has_its_reason(made_formats: Path, tmp_path: Path) -> None:
    """The same of made files: all of two examples."""
    paths = sorted(made_formats.iterdir())
    for name, content in {"licence.pydub": b"It is no audio.\n" * 60, "nothing.mp3": b""}.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    for name, frames in {"four.wav": 4, "header.wav": 0}.items():
        paths.append(tmp_path / name)
        soundfile.write(paths[-1], np.zeros(frames), RATE)
    expected: dict[str, int | str] = {made.name: 2 for made in made_audio.FILES}
    expected |= {
        "licence.pydub": "not_audio",
        "nothing.mp3": "empty",
        "four.wav": "too_short",
        "header.wav": "no_samples",
    }
    assert embedded(paths, tmp_path, "--max_failures", "3") == expected
    assert totals(tmp_path / "out") == (len(expected), len(made_audio.FILES), 3, 1)


def embedded(paths: list[Path], tmp_path: Path, *flags: str) -> dict[str, int | str]:
    """Files by name -> examples of their records, or why they have none."""
    listing = tmp_path / "list.jsonl"
    listing.write_text("".join(json.dumps({"uri": str(path), "id": path.name}) + "\n" for path in paths))
    done = embed(tmp_path / "out", "--manifest", listing, *flags)
    assert done.status == 0, done.err
    found: dict[str, int | str] = {name: len(record.values) for name, record in by_id(tmp_path / "out").items()}
    return found | reasons(tmp_path / "out")


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of several lengths, named by their seconds."""
    folder = tmp_path_factory.mktemp("lengths")
    for seed, seconds in enumerate((0.5, 0.97, 0.98, 2.0, 10.0, 10.5)):
        soundfile.write(folder / f"{seconds}.wav", noise(seconds, seed), RATE)
    return folder


SHORT = {"0.5": "too_short", "0.97": "too_short"}


@pytest.mark.parametrize(
    ("flags", "counts", "expected", "status"),
    [
        ([], {"0.98": 1, "2.0": 2, "10.0": 10, "10.5": 10}, (6, 4, 0, 2), 0),
        (["--short_clips", "fail"], {"0.98": 1, "2.0": 2, "10.0": 10, "10.5": 10}, (6, 4, 2, 0), 1),
        (
            ["--short_clips", "pad"],
            {"0.5": 1, "0.97": 1, "0.98": 1, "2.0": 2, "10.0": 10, "10.5": 10},
            (6, 6, 0, 0),
            0,
        ),
        (["--hop_seconds", "1.0"], {"0.98": 1, "2.0": 2, "10.0": 10, "10.5": 10}, (6, 4, 0, 2), 0),
        (["--hop_seconds", "0.48"], {"0.98": 1, "2.0": 3, "10.0": 19, "10.5": 20}, (6, 4, 0, 2), 0),
        (["--max_duration_seconds", "10"], {"0.98": 1, "2.0": 2, "10.0": 10}, (6, 3, 1, 2), 1),
    ],
    ids=["skip", "fail", "pad", "hop of 1 s", "hop of 0.48 s", "max duration"],
)
def test_policies_decide_what_becomes_of_clips(
    lengths: Path,
    tmp_path: Path,
    embed_here: Embed,
    flags: list[str],
    counts: dict[str, int],
    expected: tuple[int, int, int, int],
    status: int,
) -> None:
    output = tmp_path / "out"
    done = embed_here(output, "--input", f"{lengths}/**", *flags)
    assert done.status == status, done.err
    assert totals(output) == expected
    found = by_id(output)
    assert {clip_id: len(record.values) for clip_id, record in found.items()} == counts
    hop = round(float(flags[1]) * 100) if "--hop_seconds" in flags else 96
    for clip_id, record in found.items():
        samples = soundfile.read(lengths / f"{clip_id}.wav", dtype="float32")[0]
        assert (record.start_s, record.end_s) == (0.0, np.float32(len(samples) / RATE))
        if clip_id not in SHORT:  # what is padded is in tests/test_decode.py
            assert np.array_equal(record.values, digests(waveform_to_examples(samples, RATE, hop)))
    lacking = {} if "pad" in flags else SHORT
    if "--max_duration_seconds" in flags:
        lacking = SHORT | {"10.5": "too_long"}
    assert reasons(output) == lacking
    # All of them are part of the fingerprint: an output made otherwise is not continued.
    other = embed_here(output, "--input", f"{lengths}/**", *([] if flags else ["--short_clips", "pad"]))
    assert other.status == 2
    assert (flags or ["--short_clips"])[0].lstrip("-") in other.err


CLASSES = "index,mid,display_name\n0,/m/one,One\n1,/m/two,Two\n2,/m/three,Three\n"
HEADER = "# Segments csv\n# num_ytids=9\n# YTID, start_seconds, end_seconds, positive_labels\n"


def test_each_row_and_file_without_a_record_has_its_own_reason(tmp_path: Path, embed_here: Embed) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for seed, name in enumerate(("-good", "late", "unknown", "backwards", "unnamed")):
        soundfile.write(audio / f"{name}.wav", noise(10, seed), RATE)
    (tmp_path / "classes.csv").write_text(CLASSES)
    rows = [
        '-good, 1.000, 4.000, "/m/three,/m/one"',
        'late, 5.000, 15.000, "/m/one"',
        'unknown, 0.000, 4.000, "/m/one,/m/none"',
        'backwards, 4.000, 4.000, "/m/one"',
        'absent, 0.000, 4.000, "/m/one"',
    ]
    (tmp_path / "list.csv").write_text(HEADER + "\n".join(rows) + "\n")
    output = tmp_path / "out"
    flags = ["--input", f"{audio}/**", "--segments", tmp_path / "list.csv", "--class_labels", tmp_path / "classes.csv"]
    done = embed_here(output, *flags, "--max_failures", "4")
    assert done.status == 0, done.err
    assert reasons(output) == {
        "late": "past_end",
        "unknown": "unknown_label",
        "backwards": "bad_times",
        "absent": "no_audio",
        "unnamed": "no_row",
    }
    assert totals(output) == (6, 1, 4, 1)
    for reason in ("past_end", "unknown_label", "bad_times", "no_audio", "no_row"):
        assert reason in done.out
    (record,) = by_id(output).values()
    assert (record.id, record.start_s, record.end_s, record.labels) == ("-good", 1.0, 4.0, (0, 2))
    samples = soundfile.read(audio / "-good.wav", dtype="float32")[0][RATE : 4 * RATE]
    assert np.array_equal(record.values, digests(waveform_to_examples(samples, RATE)))
    # Once fixed, every one becomes a record, and no failure stays.
    rows[1:] = ['late, 5.000, 9.000, "/m/one"', 'unknown, 0.000, 4.000, "/m/one"', 'backwards, 3.000, 4.000, "/m/one"']
    (tmp_path / "list.csv").write_text(HEADER + "\n".join([*rows, 'unnamed, 0.000, 4.000, "/m/two"']) + "\n")
    done = embed_here(output, *flags, "--prune")
    assert done.status == 0, done.err
    assert reasons(output) == {}
    assert totals(output) == (5, 5, 0, 0)


Row = tuple[str, float, float]


@pytest.fixture(scope="module")
def small(made_audioset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row], dict[str, Any]]:
    """200 rows of an AudioSet's eval list as a list of their own, the rows, and the released records by id.

    Rows that end by 40 s, every seventeenth of which is shorter than 10 s; of those whose record has the row's times.
    """
    released = {record.id: record for record in records.read_records(str(made_audioset / "eval.tfrecord"))}
    lines = (made_audioset / "eval_segments.csv").read_text().splitlines()
    chosen: list[tuple[str, Row]] = []
    for line in lines[3:]:
        clip_id, start, end = line.split(", ")[:3]
        row = (clip_id, float(start), float(end))
        record = released.get(clip_id)
        if record is not None and row[2] <= 40 and (record.start_s, record.end_s) == row[1:]:
            chosen.append((line, row))
    short = [item for item in chosen if item[1][2] - item[1][1] < 10][:20]
    dashed = [item for item in chosen if item[1][0].startswith("-")][:60]
    rest = [item for item in chosen if item not in short and item not in dashed][-(200 - len({*short, *dashed})) :]
    rows = list(dict.fromkeys([*short, *dashed, *rest]))
    assert len(rows) == 200
    assert len(short) == 20
    assert sum(row[0].startswith("-") for _, row in rows) >= 60
    listing = tmp_path_factory.mktemp("small") / "mini_segments.csv"
    listing.write_text("\n".join([*lines[:3], *(line for line, _ in rows)]) + "\n")
    return listing, [row for _, row in rows], released


@pytest.mark.parametrize("segment_audio", ["whole", pytest.param("cut", marks=pytest.mark.ci)])
def test_a_small_audioset_has_the_contexts_of_tensorflows_records(
    small: tuple[Path, list[Row], dict[str, Any]],
    made_audioset: Path,
    tmp_path: Path,
    embed_here: Embed,
    segment_audio: str,
) -> None:
    listing, rows, released = small
    audio = tmp_path / "audio"
    audio.mkdir()
    sound = noise(60)
    for number, (clip_id, start_s, end_s) in enumerate(rows):
        whole = np.roll(sound, 37 * number)  # another sound in each file
        if segment_audio == "whole":
            soundfile.write(audio / f"{clip_id}.flac", whole[: round((end_s + 0.5) * RATE)], RATE)
        else:
            name = (clip_id, f"{clip_id}_{start_s:g}_{end_s:g}", f"Y{clip_id}")[number % 3]
            soundfile.write(audio / f"{name}.wav", whole[round(start_s * RATE) : round(end_s * RATE)], RATE)
    output = tmp_path / "out"
    classes = made_audioset / "class_labels_indices.csv"
    flags = ["--input", f"{audio}/**", "--segments", listing, "--class_labels", classes, "--num_shards", "3"]
    done = embed_here(output, *flags, "--segment_audio", segment_audio, "--max_failures", "0")
    assert done.status == 0, done.err
    assert totals(output) == (200, 200, 0, 0)
    found = by_id(output)
    assert set(found) == {row[0] for row in rows}
    for number, (clip_id, start_s, end_s) in enumerate(rows):
        record, model = found[clip_id], released[clip_id]
        assert (record.start_s, record.end_s, record.labels) == (model.start_s, model.end_s, model.labels)
        assert len(record.values) == len(model.values)
        if number % 10 == 0:
            piece = np.roll(sound, 37 * number)[round(start_s * RATE) : round(end_s * RATE)]
            examples = waveform_to_examples((piece / 32768).astype(np.float32), RATE)
            assert np.array_equal(record.values, digests(examples)[: len(model.values)])
