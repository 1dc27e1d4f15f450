"""`pipeline.export --to tfds`: what the library itself reads, without this package; whole or not there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import dequantize, export, export_arrays, read_records
from pipeline.output.exporting import tfds as exporting
from pipeline.output.exporting.export import ExportError
from pipeline.output.records import Record, RecordError, to_sequence_example, write_tfrecord
from tests import command, outputs

LIBRARY = "tensorflow_datasets"
NO_LIBRARY = "tensorflow-datasets is not installed, on Python 3.10 not in CI either: pip install '.[tfds]'"
CLIPS = [outputs.clip(number) for number in range(40)]


@pytest.fixture(scope="module", params=["quantized", pytest.param("raw", marks=pytest.mark.ci)])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set; not to be changed."""
    directory = tmp_path_factory.mktemp("output") / "birds"
    outputs.write(outputs.job(directory, 3, embeddings=request.param), CLIPS)
    return directory


@pytest.fixture
def tfds() -> Any:
    """The library."""
    pytest.importorskip(LIBRARY, reason=NO_LIBRARY)
    from vggish_core.quiet import import_tensorflow

    import_tensorflow()
    import tensorflow_datasets

    return tensorflow_datasets


def run(*arguments: str | Path) -> int:
    return export.main([str(each) for each in arguments])


def frames(record: Record) -> np.ndarray:
    return dequantize(record.values) if record.values.dtype == np.uint8 else record.values


def examples(tfds: Any, folder: Path) -> list[dict[str, Any]]:
    """In the order of the files: by default, several of them are read at once."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    return list(tfds.as_numpy(tfds.builder_from_directory(str(folder)).as_dataset("train", read_config=config)))


def test_clips(output: Path, tmp_path: Path, tfds: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(output, "--to", "tfds", tmp_path / "made" / "set") == 0
    folder = tmp_path / "made" / "set"
    expected = list(read_records(f"{output}/*.tfrecord"))
    found = examples(tfds, folder)
    for example, record in zip(found, expected, strict=True):
        assert sorted(example) == ["embedding", "end_seconds", "id", "labels", "start_seconds"]
        assert example["id"].decode() == record.id
        assert (example["start_seconds"], example["end_seconds"]) == (record.start_s, record.end_s)
        assert (example["labels"].dtype, example["labels"].tolist()) == (np.int64, [1, 7])
        assert (example["embedding"].shape, example["embedding"].dtype) == ((128,), np.float32)
    assert run(output, "--to", "npy", tmp_path / "arrays") == 0
    assert np.array_equal(np.stack([each["embedding"] for each in found]), np.load(tmp_path / "arrays" / "X.npy"))
    assert capsys.readouterr().out.splitlines()[0] == f"{len(expected)} clips: {folder}"
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_frames(output: Path, tmp_path: Path, tfds: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(output, tmp_path / "set", "--to", "tfds", "--level", "frame") == 0
    expected = list(read_records(f"{output}/*.tfrecord"))
    found = examples(tfds, tmp_path / "set")
    assert np.array_equal(
        np.stack([each["embedding"] for each in found]), np.concatenate([frames(record) for record in expected])
    )
    assert [(each["id"].decode(), int(each["frame"])) for each in found] == [
        (record.id, frame) for record in expected for frame in range(len(record.values))
    ]
    assert {each["frame"].dtype for each in found} == {np.dtype(np.int64)}
    assert capsys.readouterr().out == f"{len(expected)} clips, {len(found)} frames: {tmp_path}/set\n"


def test_the_set_says_what_made_it(output: Path, tmp_path: Path, tfds: Any) -> None:
    shutil.copytree(output, tmp_path / "birds")
    (tmp_path / "birds" / "classes.csv").write_text("index,display_name\n0,wren\n1,robin\n")
    assert run(tmp_path / "birds", "--to", "tfds", tmp_path / "data" / "Garden birds") == 0
    info = tfds.builder_from_directory(str(tmp_path / "data" / "Garden birds")).info
    assert (info.name, str(info.version)) == ("garden_birds", "0.1.0")
    for words in ("VGGish embeddings of birds", f"checkpoint: standin, sha256 {'c' * 64}", "hop_seconds"):
        assert words in info.description
    assert info.metadata["provenance"]["source"] == "manifest"
    assert info.metadata["provenance"]["models"]["checkpoint"] == {"name": "standin", "sha256": "c" * 64}
    assert info.metadata["classes"] == {"0": "wren", "1": "robin"}
    assert info.splits["train"].num_examples == len(list(read_records(f"{output}/*.tfrecord")))


def test_a_folder_called_as_a_version_is_found_by_name(output: Path, tmp_path: Path, tfds: Any) -> None:
    assert run(output, "--to", "tfds", tmp_path / "birds" / "1.2.0") == 0
    assert run(output, "--to", "tfds", tmp_path / "birds" / "1.3.0", "--level", "frame") == 0
    newest, info = tfds.load("birds", data_dir=str(tmp_path), split="train", with_info=True)
    assert (info.full_name, "frame" in newest.element_spec) == ("birds/1.3.0", True)
    older = tfds.load("birds:1.2.0", data_dir=str(tmp_path), split="train", shuffle_files=True)
    assert {bytes(each["id"]).decode() for each in tfds.as_numpy(older)} == {
        record.id for record in read_records(f"{output}/*.tfrecord")
    }


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data/birds/1.0.0", ("birds", "1.0.0")),
        ("file:///data/my%20birds", ("my_birds", "0.1.0")),
        ("/data/birds/1.0.0/", ("birds", "1.0.0")),
        ("/data/birds/01.0.0", ("set_01_0_0", "0.1.0")),
        ("/data/2024", ("set_2024", "0.1.0")),
        ("/data/Vögel", ("v_gel", "0.1.0")),
        ("/data/鳥", ("set", "0.1.0")),
    ],
)
def test_names(folder: str, expected: tuple[str, str], tfds: Any) -> None:
    assert exporting.identity(folder) == expected
    assert tfds.core.naming.is_valid_dataset_name(expected[0])


@pytest.mark.ci
def test_without_this_package_and_without_a_network(output: Path, tmp_path: Path, tfds: Any) -> None:
    """A process that cannot import the package, in an empty folder, where no name is resolved, reads the set moved."""
    assert run(output, "--to", "tfds", tmp_path / "set") == 0
    (tmp_path / "set").rename(tmp_path / "moved")
    code = """
import socket, sys
def refuse(*arguments, **named): raise OSError("no network")
socket.getaddrinfo = socket.create_connection = refuse
sys.modules["pipeline"] = sys.modules["vggish_core"] = None
import tensorflow_datasets as tfds
print(sum(1 for _ in tfds.builder_from_directory(sys.argv[1]).as_dataset()["train"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "moved"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(list(read_records(f"{output}/*.tfrecord")))


def test_odd_records(tmp_path: Path, tfds: Any) -> None:
    """A name that is not UTF-8, no labels, no frame, layouts without times; one vector of YouTube-8M's video level."""
    values = np.full((2, 128), 200, np.uint8)
    data = [
        to_sequence_example("fil\udce9", 0.0, 10.0, [], values),
        to_sequence_example("none", 10.0, 20.0, [3], values[:0]),
        to_sequence_example("yt", 0.0, 0.0, [5, 2], values, "youtube8m"),
        to_sequence_example("video", 0.0, 0.0, [4], values, "youtube8m_video"),
    ]
    with (tmp_path / "x").open("wb") as file:
        write_tfrecord(file, data)
    done = export_arrays(str(tmp_path / "x"), str(tmp_path / "clips"), "tfds")
    assert (done.clips, done.rows) == (4, 4)
    found = examples(tfds, tmp_path / "clips")
    assert [each["id"].decode() for each in found] == ["fil\ufffd", "none", "yt", "video"]
    assert [each["labels"].tolist() for each in found] == [[], [3], [5, 2], [4]]
    assert np.isnan([each["end_seconds"] for each in found]).tolist() == [False, False, True, True]
    assert not found[1]["embedding"].any()
    done = export_arrays(str(tmp_path / "x"), str(tmp_path / "frames"), "tfds", "frame")
    assert (done.clips, done.rows) == (4, 5)
    assert [each["frame"] for each in examples(tfds, tmp_path / "frames")] == [0, 1, 0, 1, 0]


def test_several_files(output: Path, tmp_path: Path, tfds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files fill up to their size, whatever a call of the library is given."""
    monkeypatch.setattr(exporting, "EXAMPLES_OF_A_CALL", 7)
    monkeypatch.setattr(exporting, "EXAMPLES_OF_A_FILE", 10)
    assert run(output, "--to", "tfds", tmp_path / "set", "--level", "frame") == 0
    info = tfds.builder_from_directory(str(tmp_path / "set")).info
    lengths = info.splits["train"].shard_lengths
    assert set(lengths[:-1]) == {10}
    assert len(lengths) == len(list((tmp_path / "set").glob("*.tfrecord-*"))) > 10
    expected = [frames(record) for record in read_records(f"{output}/*.tfrecord")]
    found = examples(tfds, tmp_path / "set")
    assert np.array_equal(np.stack([each["embedding"] for each in found]), np.concatenate(expected))


def test_what_cannot_be_read_to_its_end_leaves_nothing(output: Path, tmp_path: Path, tfds: Any) -> None:
    broken = Path(shutil.copytree(output, tmp_path / "broken"))
    last = outputs.damage(broken)
    assert run(broken, "--to", "tfds", tmp_path / "set") == 2
    last.unlink()
    assert run(broken, "--to", "tfds", tmp_path / "set") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
    assert run(broken, "--to", "tfds", tmp_path / "set", "--incomplete", "use") == 0
    assert examples(tfds, tmp_path / "set")


def test_mistakes(output: Path, tmp_path: Path, tfds: Any) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="there is there already"):
        export_arrays(f"{output}/*.tfrecord", str(tmp_path / "there"), "tfds")
    with pytest.raises(ExportError, match="gs://bucket/x is not on this machine"):
        export_arrays(f"{output}/*.tfrecord", "gs://bucket/x", "tfds")
    (tmp_path / "x").touch()
    with pytest.raises(RecordError, match="no record in the files"):
        export_arrays(str(tmp_path / "x"), str(tmp_path / "set"), "tfds")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there", "x"]


def test_a_library_that_is_not_installed_is_named(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, LIBRARY, None)
    assert run(output, "--to", "tfds", tmp_path / "set") == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --to tfds needs packages that are not installed: tensorflow-datasets",
        "  Install them: pip install 'vggish-pipeline[tfds]'.",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ci
@pytest.mark.parametrize("output", ["quantized"], indirect=True)
def test_the_command_is_a_process(output: Path, tmp_path: Path, tfds: Any) -> None:
    """Without a word of TensorFlow's or the library's."""
    done = command.run("pipeline.export", output, "--to", "tfds", "set", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(" clips: set\n")


@pytest.mark.ci
@pytest.mark.parametrize("output", ["quantized"], indirect=True)
@pytest.mark.parametrize("limit", [200, 9_000])
def test_a_disk_that_is_full(output: Path, tmp_path: Path, tfds: Any, limit: int) -> None:
    """A file that may not grow stands for it: of the examples, or of what says what they are."""
    code = (
        "import resource, sys; from pipeline import export\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "sys.exit(export.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, output, "--to", "tfds", tmp_path / "set"], capture_output=True, text=True
    )
    assert done.returncode not in (0, -signal.SIGXFSZ)
    assert done.stderr.startswith("error: ")
    assert "bug" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def many(tmp_path: Path) -> Callable[[int], Path]:
    """A number of clips -> a file of them, each of 1000 frames."""
    values = np.random.default_rng(0).normal(size=(1000, 128)).astype(np.float32)

    def made(count: int) -> Path:
        path = tmp_path / f"{count}.tfrecord"
        with path.open("wb") as file:
            write_tfrecord(file, (to_sequence_example(f"{i}", 0.0, 1.0, [], values) for i in range(count)))
        return path

    return made


@pytest.mark.ci
def test_killed_on_the_way_it_leaves_no_set(many: Callable[[int], Path], tmp_path: Path, tfds: Any) -> None:
    """At once, and half-way: the name is free each time, and the last run makes the set."""
    arguments = [many(15), "--to", "tfds", tmp_path / "set", "--level", "frame"]
    for size in (1, 4_000_000):
        process = subprocess.Popen([sys.executable, "-m", "pipeline.export", *arguments])
        known = set(tmp_path.glob("set.*.tmp"))
        while process.poll() is None:
            drafts = set(tmp_path.glob("set.*.tmp")) - known
            if sum(file.stat().st_size for draft in drafts for file in draft.iterdir()) >= size:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "set").exists()
    assert run(*arguments) == 0
    assert len(examples(tfds, tmp_path / "set")) == 15_000


@pytest.mark.full
def test_memory_does_not_grow_with_the_frames(many: Callable[[int], Path], tmp_path: Path, tfds: Any) -> None:
    code = (
        "import resource, sys; from pipeline import export; assert export.main(sys.argv[1:]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    peaks = []
    for count in (20, 120):
        arguments = [many(count), "--to", "tfds", tmp_path / f"set{count}", "--level", "frame"]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] - peaks[0] < 20_000_000  # of 51 MB
