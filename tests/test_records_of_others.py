"""Records of YouTube-8M, and of what is not: every reader gives the same of them, or says what is wrong and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import parquet, report
from pipeline.cli import verify
from pipeline.output.loading.dataset import load_dataset
from pipeline.output.records import Record, RecordError, read_records
from pipeline.training.data import Classes, load_clips
from tests.reference_data import part

SOUND = {
    "yt8m2016": {"-_aB1234567": ((5,), 300), "nolab123456": ((), 2)},
    "yt8m2019_segments": {"abCD": ((1, 3, 7), 80)},
    "big_label": {"q": ((3, 3000), 1)},
}
"""File -> id -> labels and frames."""
NEITHER = "no feature list audio_embedding (AudioSet) or audio (YouTube-8M), only"
UNSOUND = {
    "yt8m_rgb_only.tfrecord": f"record 0: xx: {NEITHER} ['rgb']",
    "mediapipe_float.tfrecord": f"record 0: {NEITHER} ['AUDIO/feature/floats'",
    "audioset.tfrecord.gz": "compressed (gzip)",
    "cut.tfrecord": "record 1 at byte 351096: the file ends 50 bytes before the record does",
    "bitflip.tfrecord": "record 0 at byte 0: the checksum of the record does not fit",
}
"""File -> what every program says of it, behind its name."""
CLASSES = 3862


@pytest.fixture(scope="module")
def reports() -> Path:
    return part("audio/reports/yt8m-records")


def by_plain_reader(path: Path, folder: Path) -> list[Record]:
    return list(read_records(str(path)))


def by_tensorflow(path: Path, folder: Path) -> list[Record]:
    clips = load_dataset(str(path), dequantize=False, num_classes=CLASSES).as_numpy_iterator()
    return [
        Record(clip.id.decode(), None, None, tuple(np.flatnonzero(clip.labels)), clip.embeddings, "youtube8m")
        for clip in clips
    ]


def numbered(count: int) -> Classes:
    """Classes of the indices from 0."""
    return Classes(tuple(range(count)), tuple(map(str, range(count))), ("",) * count)


def by_training(path: Path, folder: Path) -> list[Record]:
    clips = load_clips(str(path), numbered(CLASSES))
    frames = np.split(clips.frames, clips.offsets[1:-1])
    labels = [tuple(np.flatnonzero(row)) for row in clips.labels]
    return [
        Record(name, None, None, of, values, "youtube8m")
        for name, of, values in zip(clips.ids, labels, frames, strict=True)
    ]


def through_parquet(path: Path, folder: Path) -> list[Record]:
    assert parquet.main(["--input", str(path), "--output", str(folder / "a.parquet")]) == 0
    assert parquet.main(["--input", str(folder / "a.parquet"), "--output", str(folder / "a.tfrecord")]) == 0
    return list(read_records(str(folder / "a.tfrecord")))


Reader = Callable[[Path, Path], list[Record]]
READERS = [by_plain_reader, by_tensorflow, by_training, through_parquet]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", SOUND)
def test_every_reader_gives_the_same(reports: Path, tmp_path: Path, name: str, reader: Reader) -> None:
    path = reports / f"{name}.tfrecord"
    found = reader(path, tmp_path)
    assert {record.id: (tuple(sorted(record.labels)), len(record.values)) for record in found} == SOUND[name]
    for record, plain in zip(found, read_records(str(path)), strict=True):
        assert np.array_equal(record.values, plain.values)


@pytest.mark.parametrize("name", SOUND)
def test_reports_and_checks_take_them(reports: Path, tmp_path: Path, name: str) -> None:
    path = str(reports / f"{name}.tfrecord")
    assert verify.main(["--manifest", "none", path]) == 0
    assert report.main(["--manifest", "none", path, "--to", str(tmp_path / "report.html")]) == 0


# TensorFlow reads ahead: what it says of a file that ends early names no file.
@pytest.mark.parametrize(
    ("reader", "name"),
    [(reader, name) for reader in READERS[:3] for name in UNSOUND if (reader, name) != (by_tensorflow, "cut.tfrecord")],
)
def test_readers_say_what_is_wrong_and_where(reports: Path, tmp_path: Path, name: str, reader: Reader) -> None:
    with pytest.raises(RecordError) as caught:
        reader(reports / name, tmp_path)
    assert str(reports / name) in str(caught.value)
    assert UNSOUND[name] in str(caught.value)


@pytest.mark.parametrize("name", UNSOUND)
def test_programs_say_what_is_wrong_and_where(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = str(reports / name)
    for main, arguments in (
        (parquet.main, ["--input", path, "--output", str(tmp_path / "a.parquet")]),
        (report.main, ["--manifest", "none", path, "--to", str(tmp_path / "report.html")]),
        (verify.main, ["--manifest", "none", path]),
    ):
        assert main(arguments) != 0
        said = "".join(capsys.readouterr())
        assert name in said
        assert UNSOUND[name] in said


def test_a_label_beyond_the_classes_is_named(reports: Path) -> None:
    with pytest.raises(
        RecordError,
        match=r"big_label.tfrecord: record 0 \(q\): label 3000 is no class of the table",
    ):
        load_clips(str(reports / "big_label.tfrecord"), numbered(527))


def test_an_empty_file_has_no_records(reports: Path, tmp_path: Path) -> None:
    assert not list(read_records(str(reports / "empty.tfrecord")))
    for reader in (by_tensorflow, by_training):
        with pytest.raises(RecordError, match="without a record"):
            reader(reports / "empty.tfrecord", tmp_path)
