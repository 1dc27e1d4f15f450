"""`pipeline.fad`: sets of every kind, options, refusals; the command as a process."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import Wanted, compare_sets, dequantize, fad, read_records, to_parquet
from pipeline.analysis import frechet, kernel, moments
from pipeline.analysis.sources import clips, find
from pipeline.output.records import Record, RecordError, to_sequence_example, write_tfrecord
from pipeline.running.engines import exchange
from pipeline.running.engines.runners import Engine
from pipeline.settings import Job
from tests import command, outputs

CLIPS = [outputs.clip(number) for number in range(120)]
OTHER = [outputs.clip(number) for number in range(200, 290)]
LAST = "folder/clip 999"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets: `a` and `b` of raw embeddings, `q` and `r` quantized; not to be changed."""
    folder = tmp_path_factory.mktemp("sets")
    for name, items, kind in (("a", CLIPS, "raw"), ("b", OTHER, "raw"), ("q", CLIPS, "quantized")):
        outputs.write(outputs.job(folder / name, 3, embeddings=kind), items)
    outputs.write(outputs.job(folder / "r", 2, "youtube8m"), OTHER)
    return folder


def frames_of(records: Iterable[Record]) -> np.ndarray:
    return np.concatenate([r.values if r.values.dtype == np.float32 else dequantize(r.values) for r in records])


def records(folder: Path) -> list[Record]:
    return list(read_records(f"{folder}/*.tfrecord"))


def distance(a: Path, b: Path) -> float:
    fits = [frechet.fitted(moments.of(frames_of(records(folder)))) for folder in (a, b)]
    return frechet.distance(*fits)


def told(tmp_path: Path, *arguments: str | Path) -> dict:  # type: ignore[type-arg]
    """The JSON of a comparison."""
    assert fad.main([*map(str, arguments), "--json", str(tmp_path / "fad.json")]) == 0
    return json.loads((tmp_path / "fad.json").read_text())


def test_sets_of_any_kind_give_the_same(sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to_parquet(f"{sets}/b/*.tfrecord", str(tmp_path / "b.parquet"))
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "b.parquet", tmp_path / "folder")
    names = [sets / "b", f"{sets}/b/*.tfrecord", tmp_path / "b.parquet", tmp_path / "folder"]
    found = told(tmp_path, sets / "a", *names)
    expected = distance(sets / "a", sets / "b")
    assert expected > 1
    assert [each["name"] for each in found["sets"]] == list(map(str, names))
    assert [each["fad"] for each in found["sets"]] == pytest.approx([expected] * 4, rel=1e-9)
    assert found["reference"]["frames"] == len(frames_of(records(sets / "a")))
    assert found["reference"]["clips"] == len(records(sets / "a"))
    assert found["made"]["models"]["checkpoint"]["sha256"] == "c" * 64
    assert found["notes"] == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["set", "clips", "frames", "FAD"]
    assert lines[1].split()[-1] == "reference"
    assert lines[2].split()[-1] == f"{expected:.4f}"


def test_the_first_set_is_the_reference(sets: Path, tmp_path: Path) -> None:
    forth, back = (told(tmp_path, sets / x, sets / y) for x, y in (("a", "b"), ("b", "a")))
    assert forth["sets"][0]["fad"] == pytest.approx(back["sets"][0]["fad"], rel=1e-12)
    assert abs(told(tmp_path, sets / "a", sets / "a")["sets"][0]["fad"]) < 1e-9


def test_quantized_sets_are_dequantized_with_a_note(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_parquet(f"{sets}/r/*.tfrecord", str(tmp_path / "r.parquet"))
    found = told(tmp_path, sets / "q", sets / "r", tmp_path / "r.parquet")
    expected = distance(sets / "q", sets / "r")
    assert [each["fad"] for each in found["sets"]] == pytest.approx([expected] * 2, rel=1e-9)
    note = "embeddings after PCA: not comparable with published distances, which are of raw embeddings"
    assert found["notes"] == [note]
    assert f"note: {note}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda job: replace(job, front_end=replace(job.front_end, hop_seconds=0.48)), "hop_seconds is 0.48 instead"),
        (lambda job: replace(job, model=replace(job.model, embeddings="pca")), 'embeddings is "pca" instead of "raw"'),
        (
            lambda job: replace(job, model=replace(job.model, embeddings="quantized")),
            'embeddings is "quantized" instead of "raw"',
        ),
        (lambda job: replace(job, model=replace(job.model, checkpoint_sha256="d" * 64)), "checkpoint is standin (dddd"),
        (lambda job: replace(job, model=replace(job.model, precision="bfloat16")), 'precision is "bfloat16" instead'),
    ],
)
def test_sets_that_were_made_differently_are_refused(
    changed, named: str, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other: Job = changed(outputs.job(tmp_path / "c", embeddings="raw"))
    outputs.write(other, CLIPS)
    assert fad.main([str(sets / "a"), str(tmp_path / "c")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/c and {sets}/a were made differently: " in first
    assert named in first
    assert f"--{named.split()[0]}" in second


def test_parquet_tells_what_made_it_unless_it_cannot(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_parquet(f"{sets}/b/*.tfrecord", str(tmp_path / "b.parquet"), hop_s=0.96)
    assert fad.main([str(sets / "a"), str(tmp_path / "b.parquet")]) == 2
    assert "checkpoint is unknown instead of standin" in capsys.readouterr().err
    assert told(tmp_path, tmp_path / "b.parquet", tmp_path / "b.parquet")["made"]["source"] == "unknown"


def test_every_option(sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--bootstrap", "20", "--kad", "300", "--per_clip", tmp_path / "clips.csv", "--seed", "3"]
    found = told(tmp_path, sets / "a", sets / "b", *options)
    (other,) = found["sets"]
    interval = other["interval"]
    assert interval["low"] < other["fad"] < interval["high"]
    assert interval["replicates"] == 20
    assert other["kernel"]["frames"] == [300, 300]
    assert found["kernel_scale"] == 100
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.split("  ")[-1].strip() == "KAD"
    assert f"{interval['low']:.4f} to {interval['high']:.4f}" in row
    assert told(tmp_path, sets / "a", sets / "b", *options) == found
    assert told(tmp_path, sets / "a", sets / "b", *options[:-1], "4")["sets"][0]["interval"] != interval


def test_all_frames_give_the_kernel_distance_of_all(sets: Path, tmp_path: Path) -> None:
    found = told(tmp_path, sets / "a", sets / "b", "--kad")
    expected = kernel.kernel_distance(*(frames_of(records(sets / name)) for name in "ab"))
    assert found["sets"][0]["kernel"]["value"] == pytest.approx(expected.value, rel=1e-9)
    assert not any("kernel" in note for note in found["notes"])


def test_the_furthest_clips_come_first(sets: Path, tmp_path: Path) -> None:
    directory = tmp_path / "with an odd one"
    directory.mkdir()
    values = np.random.default_rng(0).normal(size=(9, 128)).astype(np.float32)
    data = [
        to_sequence_example("same", 0.0, 10.0, [], values),
        to_sequence_example("same", 10.0, 20.0, [], values + 9),
        to_sequence_example("short", 0.0, 1.0, [], values[:1]),
        to_sequence_example("empty", 0.0, 1.0, [], np.empty((0, 128), np.uint8)),
        to_sequence_example("fil\udce9", 0.0, 10.0, [], values + 2),
    ]
    with (directory / "x.tfrecord").open("wb") as file:
        write_tfrecord(file, data)
    shutil.copytree(directory, tmp_path / "reference")
    found = told(tmp_path, tmp_path / "reference", directory, "--per_clip", tmp_path / "clips.csv")
    with (tmp_path / "clips.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["id"], row["start_seconds"]) for row in rows[:3]] == [
        ("same", "10.0"),
        ("same", "0.0"),
        ("fil\ufffd", "0.0"),
    ]
    assert [(row["id"], row["frames"], row["distance"]) for row in rows[3:]] == [("short", "1", ""), ("empty", "0", "")]
    reference = frechet.fitted(moments.of(np.concatenate([values, values + 9, values[:1], values + 2])))
    expected = frechet.distance(frechet.fitted(moments.of(values + 9)), reference)
    assert float(rows[0]["distance"]) == pytest.approx(expected, rel=1e-9)
    assert any("28 frames do not span 128 dimensions" in note for note in found["notes"])
    assert any("1 of 5 records hold no frame" in note for note in found["notes"])


def test_extrapolation_and_intervals_need_enough(sets: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    outputs.write(outputs.job(few, embeddings="raw"), CLIPS[:8])
    found = told(tmp_path, sets / "a", few, "--bootstrap", "5", "--fad_inf")
    assert (found["sets"][0]["interval"], found["sets"][0]["infinite"]) == (None, None)
    notes = "\n".join(found["notes"])
    assert "8 clips are too few for an interval, which takes 20" in notes
    assert "frames are too few to extrapolate from, which takes 1,000" in notes
    assert f"{sets}/a" not in notes


def test_the_distance_at_infinity_is_below_that_of_a_sample(tmp_path: Path) -> None:
    for name, seed, count in (("a", 0, 800), ("b", 1, 300)):
        rng = np.random.default_rng(seed)
        (tmp_path / name).mkdir()
        with (tmp_path / name / "x.tfrecord").open("wb") as file:
            frames = rng.normal(size=(count, 10, 128)).astype(np.float32)
            write_tfrecord(file, (to_sequence_example(f"{i}", 0.0, 10.0, [], each) for i, each in enumerate(frames)))
    (other,) = told(tmp_path, tmp_path / "a", tmp_path / "b", "--fad_inf")["sets"]
    infinite = other["infinite"]
    assert len(infinite["points"]) == 25
    assert infinite["points"][-1] == [3000, pytest.approx(other["fad"], rel=1e-9)]
    assert infinite["value"] < 0.6 * other["fad"]
    assert infinite["r2"] > 0.9


def test_records_of_two_kinds_in_a_set(sets: Path, tmp_path: Path) -> None:
    floats, quantized = (records(sets / name)[0] for name in ("a", "q"))
    with (tmp_path / "x.tfrecord").open("wb") as file:
        data = (to_sequence_example(r.id, 0.0, 1.0, [], r.values) for r in (floats, quantized))
        write_tfrecord(file, data)
    source = find(str(tmp_path / "x.tfrecord"))
    assert source is not None
    with pytest.raises(RecordError, match=r"record 1 \(.*\) holds quantized, the set's first record floats"):
        list(clips(source.files[0]))


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("A", "A alone has no distance"),
        ("A nothing.wav", "no file matches nothing.wav"),
        ("A A --per_clip x", "--per_clip x does not end in .csv"),
        ("A A --bootstrap 0", "--bootstrap: '0' is not a whole number of 1 or more"),
        ("A A --hop_seconds 0.5", "--hop_seconds 0.5: A has 0.96"),
        ("A A --seed -1", "--seed -1 is below 0"),
        ("A A --bootstarp 5", "unknown flag --bootstarp"),
    ],
)
def test_mistakes(
    arguments: str, wrong: str, sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    assert fad.main(arguments.replace("A", "a").split()) == 2
    first, _ = capsys.readouterr().err.splitlines()
    assert wrong.replace("A", "a") in first


@pytest.mark.ci
def test_the_command_is_a_process(sets: Path, tmp_path: Path) -> None:
    done = command.run("pipeline.fad", "a", "b", "--json", tmp_path / "fad.json", cwd=sets)
    assert (done.status, done.err) == (0, "")
    (other,) = json.loads((tmp_path / "fad.json").read_text())["sets"]
    assert other["fad"] == pytest.approx(distance(sets / "a", sets / "b"), rel=1e-9)
    assert [line.split()[0] for line in done.out.splitlines()] == ["set", "a", "b"]


@pytest.mark.ci
def test_audio_is_embedded_as_what_it_is_compared_with(tmp_path: Path, made_clips: Path, standin_weights: Path) -> None:
    """Alone as raw embeddings; beside a data set as that was made. A file that is no audio is named."""
    (tmp_path / "audio").mkdir()
    for number, path in enumerate(sorted(made_clips.rglob("*.*"))[::9]):
        shutil.copy(path, tmp_path / "audio" / f"{number}{path.suffix}")
    flags = ["--input", "audio", "--hop_seconds", "0.48"]
    assert command.run("pipeline.run", "--output", "made", *command.STANDIN, *flags, cwd=tmp_path).status == 0
    (tmp_path / "audio" / "broken.wav").write_bytes(b"RIFF nothing")
    for name, kind in (("audio", "raw"), ("made", "quantized")):
        done = command.run("pipeline.fad", name, "audio", "--checkpoint", "standin", "--json", "found", cwd=tmp_path)
        assert done.status == 0, done.err
        assert "broken.wav: " in done.err
        found = json.loads((tmp_path / "found").read_text())
        assert found["made"]["settings"]["embeddings"] == kind
        assert found["made"]["settings"]["hop_seconds"] == (0.96 if kind == "raw" else 0.48)
        assert abs(found["sets"][0]["fad"]) < 1e-9
        assert found["sets"][0]["clips"] == found["reference"]["clips"] > 3
    (tmp_path / "bad").mkdir()
    (tmp_path / "audio" / "broken.wav").rename(tmp_path / "bad" / "broken.wav")
    done = command.run("pipeline.fad", "made", "bad", "--checkpoint", "standin", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-2:] == ["error: bad: no clip could be embedded", "  The lines above say why."]


def test_a_comparison_from_python(sets: Path, tmp_path: Path) -> None:
    found = compare_sets([str(sets / "a"), f"{sets}/b/*.tfrecord"], Wanted(clips=True))
    assert found.sets[0].fad == pytest.approx(distance(sets / "a", sets / "b"), rel=1e-9)
    assert len(found.sets[0].by_clip) == found.sets[0].clips
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(RecordError, match=r"x\.wav holds no records"):
        compare_sets([str(sets / "a"), str(tmp_path / "x.wav")])
    with pytest.raises(frechet.DistanceError, match="1 set alone"):
        compare_sets([str(sets / "a")])


def test_an_engine_elsewhere_needs_a_place() -> None:
    elsewhere = Engine("FlinkRunner", ("--flink_master", "elsewhere:1"), False, 1, "DOCKER")
    with pytest.raises(exchange.NoPlaceError, match="FlinkRunner has no place for the sums"):
        with exchange.place(elsewhere, "sums"):
            pass
    there = replace(elsewhere, arguments=("--temp_location", "gs://bucket/temp"))
    with exchange.place(there, "sums") as place:
        assert place == "gs://bucket/temp"
    with exchange.place(replace(elsewhere, environment="LOOPBACK"), "sums") as place:
        assert Path(place).is_dir()
    assert not Path(place).exists()
