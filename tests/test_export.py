"""`pipeline.export`: arrays of clips and of frames in each kind, whole or not there, in bounded memory."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import dequantize, export, export_arrays, load_dataset, read_records
from pipeline.output.exporting.export import ExportError
from pipeline.output.records import Record, RecordError, to_sequence_example, write_tfrecord
from tests import command, outputs

CLIPS = [outputs.clip(number) for number in range(40)]


@pytest.fixture(scope="module", params=["quantized", "raw"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set; not to be changed."""
    directory = tmp_path_factory.mktemp("output")
    outputs.write(outputs.job(directory, 3, embeddings=request.param), CLIPS)
    return directory


def records(output: Path) -> list[Record]:
    return list(read_records(f"{output}/*.tfrecord"))


def frames(record: Record) -> np.ndarray:
    return dequantize(record.values) if record.values.dtype == np.uint8 else record.values


def run(*arguments: str | Path) -> int:
    return export.main([str(each) for each in arguments])


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_clips_as_npy(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(output, "--to", "npy", tmp_path / "made" / "arrays") == 0
    folder = tmp_path / "made" / "arrays"
    found = np.load(folder / "X.npy", mmap_mode="r")
    expected = records(output)
    assert (found.shape, found.dtype) == ((len(expected), 128), np.float32)
    for row, cells, record in zip(found, table(folder), expected, strict=True):
        assert np.allclose(row, frames(record).mean(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-7)
        assert (cells["id"], float(cells["start_seconds"]), float(cells["end_seconds"])) == (
            record.id,
            record.start_s,
            record.end_s,
        )
        assert cells["labels"] == "1,7"
    assert [int(cells["row"]) for cells in table(folder)] == list(range(len(expected)))
    loaded = load_dataset(f"{output}/*.tfrecord", batch_size=1000, level="clip")
    assert np.array_equal(found, next(loaded.as_numpy_iterator()).embeddings)
    assert capsys.readouterr().out == f"{len(expected)} clips: {folder}\n"
    assert [path.name for path in folder.parent.iterdir()] == ["arrays"]


def test_frames_as_npy(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{output}/*.tfrecord", tmp_path / "arrays", "--to", "npy", "--level", "frame") == 0
    found = np.load(tmp_path / "arrays" / "X.npy")
    expected = records(output)
    assert np.array_equal(found, np.concatenate([frames(record) for record in expected]))
    for cells, record in zip(table(tmp_path / "arrays"), expected, strict=True):
        begin, count = int(cells["row"]), int(cells["rows"])
        assert np.array_equal(found[begin : begin + count], frames(record))
    assert capsys.readouterr().out == f"{len(expected)} clips, {len(found)} frames: {tmp_path}/arrays\n"


@pytest.mark.parametrize("level", ["clip", "frame"])
def test_npz_and_parquet_hold_the_same(output: Path, tmp_path: Path, level: str) -> None:
    for kind, name in (("npy", "a"), ("npz", "a.npz"), ("parquet", "a.parquet")):
        assert run(output, "--to", kind, tmp_path / name, "--level", level) == 0
    expected, rows = np.load(tmp_path / "a" / "X.npy"), table(tmp_path / "a")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["X"], expected)
        for name, kind in (("row", int), ("rows", int), ("id", str), ("start_seconds", float), ("end_seconds", float)):
            assert arrays[name].tolist() == [kind(cells[name]) for cells in rows]
        labels = np.split(arrays["labels"], arrays["label_offsets"][1:-1])
        assert [",".join(map(str, each)) for each in labels] == [cells["labels"] for cells in rows]
    found = pq.read_table(tmp_path / "a.parquet")
    assert np.array_equal(np.stack(found["embedding"].to_numpy()), expected)
    ids = [cells["id"] for cells in rows for _ in range(int(cells["rows"]))]
    assert found["id"].to_pylist() == ids
    assert found["frame"].to_pylist() == [n for cells in rows for n in range(int(cells["rows"]))]
    assert found["labels"].to_pylist() == [[1, 7]] * len(ids)


def test_odd_records(tmp_path: Path) -> None:
    """One id at two times, a name that is not UTF-8, no labels, no frame, a layout without times."""
    values = np.full((2, 128), 200, np.uint8)
    data = [
        to_sequence_example("same", 0.0, 10.0, [3], values),
        to_sequence_example("same", 10.0, 20.0, [], values + 1),
        to_sequence_example("fil\udce9, with a comma", 0.0, 1.0, [], values[:0]),
        to_sequence_example("yt", 0.0, 0.0, [5, 2], values, "youtube8m"),
    ]
    with (tmp_path / "x").open("wb") as file:
        write_tfrecord(file, data)
    assert export_arrays(str(tmp_path / "x"), str(tmp_path / "clips"), "npy").rows == 4
    rows = table(tmp_path / "clips")
    assert [(row["id"], row["start_seconds"], row["labels"]) for row in rows] == [
        ("same", "0.0", "3"),
        ("same", "10.0", ""),
        ("fil\ufffd, with a comma", "0.0", ""),
        ("yt", "", "5,2"),
    ]
    assert not np.load(tmp_path / "clips" / "X.npy")[2].any()
    assert export_arrays(str(tmp_path / "x"), str(tmp_path / "x.npz"), "npz", "frame").rows == 6
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["rows"].tolist() == [2, 2, 0, 2]
        assert np.isnan(arrays["start_seconds"]).tolist() == [False, False, False, True]
    export_arrays(str(tmp_path / "x"), str(tmp_path / "x.parquet"), "parquet")
    assert pq.read_table(tmp_path / "x.parquet")["start"].to_pylist() == [0.0, 10.0, 0.0, None]


def test_the_header_keeps_its_length() -> None:
    import io

    from pipeline.output.exporting.export import _write_header

    lengths = set()
    for rows in (0, 1, 12_345, 10**12):
        file = io.BytesIO()
        _write_header(file, rows)
        lengths.add(len(file.getvalue()))
    assert len(lengths) == 1


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_what_cannot_be_read_to_its_end_leaves_nothing(output: Path, tmp_path: Path, kind: str) -> None:
    broken = Path(shutil.copytree(output, tmp_path / "broken"))
    outputs.damage(broken)
    assert run(broken, "--to", kind, tmp_path / f"made.{kind}") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--to", "npz", "made.npy"], "made.npy does not end in .npz"),
        (["--to", "npy", "there"], "there is there already"),
        (["--to", "npy", "gs://bucket/x"], "gs://bucket/x is not on this machine"),
        (["--to", "csv", "x.csv"], "--to: 'csv' is not one of its values"),
        (["made.npz"], "missing: --to"),
    ],
)
def test_mistakes(
    arguments: list[str],
    wrong: str,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert run(output, *arguments) == 2
    assert wrong in capsys.readouterr().err.splitlines()[0]


def test_nothing_to_export(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(RecordError, match="no record in the files"):
        export_arrays(str(tmp_path / "x"), str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ExportError, match="'song' is none of frame, clip"):
        export_arrays(str(tmp_path / "x"), str(tmp_path / "a"), level="song")  # type: ignore[arg-type]


def test_an_unfinished_data_set_is_refused(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = Path(shutil.copytree(output, tmp_path / "lacking"))
    sorted(lacking.glob("*.tfrecord"))[0].unlink()
    assert run(lacking, "--to", "npy", tmp_path / "a") == 2
    assert "--incomplete use" in capsys.readouterr().err
    assert run(lacking, "--to", "npy", tmp_path / "a", "--incomplete", "use") == 0


def test_the_command_is_a_process(output: Path, tmp_path: Path) -> None:
    done = command.run("pipeline.export", output, "--to", "npz", "clips.npz", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(" clips: clips.npz\n")


HOPLITE = "perch_hoplite.db.sqlite_usearch_impl"
NO_HOPLITE = "perch-hoplite is not installed, nor in CI, whose packages it does not go with: pip install '.[hoplite]'"


def test_hoplite_opens_its_database(output: Path, tmp_path: Path) -> None:
    """Windows of frames with their vectors, times and labels; the metadata that the notebooks ask for."""
    database = pytest.importorskip(HOPLITE, reason=NO_HOPLITE)
    assert run(output, "--to", "hoplite", tmp_path / "db", "--level", "frame") == 0
    found = database.SQLiteUSearchDB.create(str(tmp_path / "db"))
    expected = records(output)
    assert found.count_embeddings() == sum(len(record.values) for record in expected)
    by_file = {each.filename: each for each in found.get_all_recordings()}
    assert sorted(by_file) == sorted(f"/audio/{record.id}.wav" for record in expected)
    for record in expected:
        recording = by_file[f"/audio/{record.id}.wav"]
        windows = [each for each in found.get_all_windows() if each.recording_id == recording.id]
        assert [each.offsets for each in windows] == [
            pytest.approx([0.96 * frame, 0.96 * (frame + 1)]) for frame in range(len(record.values))
        ]
        vectors = found.get_embeddings_batch([each.id for each in windows])
        assert np.allclose(vectors, frames(record), rtol=1e-3, atol=1e-3)
    labels = found.get_all_annotations()
    assert len(labels) == 2 * len(expected)
    assert found.get_all_labels() in (["1", "7"], ("1", "7"), {"1", "7"})
    assert found.get_metadata("model_config").embedding_dim == 128
    assert found.get_metadata("audio_sources").audio_globs[0]["base_path"] == "/"
    found.db.close()


def test_hoplite_finds_a_stored_window(output: Path, tmp_path: Path) -> None:
    """By cosine the window itself; by the inner product, which its index goes by, what NumPy puts first."""
    database = pytest.importorskip(HOPLITE, reason=NO_HOPLITE)
    from perch_hoplite.db import brutalism, score_functions

    done = export_arrays(str(output), str(tmp_path / "db"), "hoplite")
    found = database.SQLiteUSearchDB.create(str(tmp_path / "db"))
    assert found.count_embeddings() == done.rows == len(records(output))
    assert all(each.filename.startswith("/audio/") for each in found.get_all_recordings())
    ids = [each.id for each in found.get_all_windows()]
    vectors = np.asarray(found.get_embeddings_batch(ids), np.float32)
    for window, vector in list(zip(ids, vectors, strict=True))[::7]:
        nearest = brutalism.brute_search(found, vector, 3, score_functions.get_score_fn("cos"))
        assert max(nearest).window_id == window
        best = max(found.search(vector, 3, approximate=False))
        assert best.sort_score == pytest.approx((vectors @ vector).max(), rel=5e-3)
    found.db.close()


def test_hoplite_that_is_not_installed_is_named(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "perch_hoplite", None)
    assert run(output, "--to", "hoplite", tmp_path / "db") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: --to hoplite needs packages that are not installed: perch-hoplite"
    assert second == "  Install them: pip install 'vggish-pipeline[hoplite]'."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["npy", pytest.param("npz", marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_frames(tmp_path: Path, peak_of: Callable[[list[str]], int], kind: str) -> None:
    frames = np.random.default_rng(0).normal(size=(1000, 128)).astype(np.float32)
    for name, count in (("few", 1), ("many", 200)):
        with (tmp_path / name).open("wb") as file:
            write_tfrecord(file, (to_sequence_example(f"{i}", 0.0, 1.0, [], frames) for i in range(count)))
    few, many = (
        peak_of([str(tmp_path / name), "--to", kind, str(tmp_path / f"{name}.{kind}"), "--level", "frame"])
        for name in ("few", "many")
    )
    assert many - few < 30_000_000  # of 102 MB


@pytest.fixture
def peak_of() -> Callable[[list[str]], int]:
    """Arguments of the command -> the most bytes that it took, as a process."""
    import subprocess

    code = (
        "import resource, sys; from pipeline import export; assert export.main(sys.argv[1:]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )

    def peak(arguments: list[str]) -> int:
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    return peak
