"""Inputs -> clips: patterns, AudioSet's lists, manifests; and the reason of each row or file that is no clip."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.corpus import sources
from pipeline.corpus.class_labels import ClassLabels, read_class_labels
from pipeline.corpus.ids import as_path, id_of
from pipeline.corpus.lists.reading import read_manifest
from pipeline.corpus.rows import read_segments
from pipeline.corpus.sources import SourceError, clips_from_manifest, clips_from_patterns
from pipeline.output.records import read_records
from pipeline.types import Corpus
from tests import small_audioset
from tests.command import REPOSITORY

LABELS = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
7,/t/dd00088,"Gunshot, gunfire"
"""
HEADER = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=2\n"
COLUMNS = "# YTID, start_seconds, end_seconds, positive_labels\n"


def find(*patterns: str | Path, **flags: Any) -> Corpus:
    return sources.find_corpus(list(map(str, patterns)), **flags)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder."""

    def write(name: str, content: str = "some audio") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return write


def reasons(corpus: Corpus) -> dict[str, str]:
    return {failure.clip.id: failure.reason for failure in corpus.failures}


@pytest.mark.parametrize(
    ("path", "clip_id"),
    [
        ("a/b.wav", "a/b"),
        ("b.FLAC", "b"),
        ("b.wav.gz", "b"),
        ("b.mp3", "b"),
        ("1. Intro", "1. Intro"),
        ("take 1.5", "take 1.5"),
        ("take 1.5.wav", "take 1.5"),
        ("a.b/c", "a.b/c"),
        ("-x #[1]\n.ogg", "-x #[1]\n"),
        ("é.opus", "é"),
    ],
)
def test_ids_are_paths_without_extension(path: str, clip_id: str) -> None:
    assert id_of(path) == clip_id


class TestPatterns:
    def test_a_folder_is_everything_below_it(self, write: Write, tmp_path: Path) -> None:
        names = ["b.wav", "-a.flac", "d/e f#[1].ogg", "d/é\n.wav", "d/e/x.wav.gz"]
        for name in [*names, ".hidden.wav", ".d/x.wav", "d/.x"]:
            write(name)
        clips = find(tmp_path).clips
        assert [clip.uri for clip in clips] == sorted(str(tmp_path / name) for name in names)
        assert {clip.id for clip in clips} == {"b", "-a", "d/e f#[1]", "d/é\n", "d/e/x"}
        for clip in clips:
            status = Path(clip.uri).stat()
            assert (clip.size_bytes, clip.version) == (status.st_size, str(status.st_mtime_ns))
            assert clip.key == (clip.id, 0.0, -1.0)
            assert not clip.cut

    def test_ids_are_below_the_fixed_part(self, write: Write, tmp_path: Path) -> None:
        write("d/e/x.wav")
        for pattern, clip_id in [("**", "d/e/x"), ("d/*/*.wav", "e/x"), ("d/e/x.wav", "x"), ("d/e", "x")]:
            assert [clip.id for clip in find(tmp_path / pattern).clips] == [clip_id]

    def test_relative_patterns(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write("d/x.wav")
        monkeypatch.chdir(tmp_path)
        assert {(clip.id, clip.uri) for clip in find("d/*").clips} == {("x", str(path))}
        assert {clip.id for clip in find("**").clips} == {"d/x"}

    def test_a_file_that_two_patterns_match_counts_once(self, write: Write, tmp_path: Path) -> None:
        write("a.wav")
        write("d/b.wav")
        assert [clip.id for clip in find(tmp_path, tmp_path / "d", tmp_path / "a.wav").clips] == ["a", "d/b"]

    def test_files_are_counted_as_they_are_found(self, write: Write, tmp_path: Path) -> None:
        for name in ("a/1.wav", "a/2.wav", "b/3.wav"):
            write(name)
        told: list[int] = []
        find(tmp_path / "a", tmp_path / "b" / "*.wav", on_found=told.append)
        assert told == [1, 2, 3]

    @pytest.mark.parametrize("others", [("a.wav", "a.flac"), ("d/a.wav", "e/a.wav")])
    def test_two_files_with_one_id_are_refused_by_name(
        self, write: Write, tmp_path: Path, others: tuple[str, str]
    ) -> None:
        paths = [write(name) for name in others]
        patterns = [tmp_path] if others[0] == "a.wav" else [path.parent for path in paths]
        with pytest.raises(SourceError) as error:
            find(*patterns)
        for path in paths:
            assert str(path) in str(error.value)
        assert "'a'" in str(error.value)

    @pytest.mark.parametrize(
        ("pattern", "said"),
        [
            ("audoi/**", ["audoi/**", "'audio'"]),
            ("audio/*.flac", ["audio/*.flac", "'a.wav'"]),
            ("audio/none/deeper/*.wav", ["'none'", "'a.wav'"]),
            ("empty", ["holds no file"]),
            ("empty/*.wav", ["is empty"]),
        ],
    )
    def test_a_pattern_without_a_match_is_an_error_that_helps(
        self, write: Write, tmp_path: Path, pattern: str, said: list[str]
    ) -> None:
        write("audio/a.wav")
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError) as error:
            find(tmp_path / "audio", tmp_path / pattern)
        for words in said:
            assert words in str(error.value)


class TestSegments:
    @pytest.fixture
    def labels(self, write: Write) -> Path:
        return write("labels.csv", LABELS)

    def test_rows_become_clips_and_what_is_wrong_has_its_reason(
        self, write: Write, tmp_path: Path, labels: Path
    ) -> None:
        rows = (
            '--PJHxphWEs, 30.000, 40.000, "/t/dd00088,/m/09x0r"\n'
            'none, 0.000, 10.000, "/m/09x0r"\n'
            'backwards, 10.000, 10.000, "/m/09x0r"\n'
            'nan, nan, 10.000, "/m/09x0r"\n'
            'negative, -1.000, 10.000, "/m/09x0r"\n'
            'endless, 0.000, inf, "/m/09x0r"\n'
            'unknown, 0.000, 10.000, "/m/09x0r,/m/nonesuch"\n'
        )
        segments = write("segments.csv", HEADER + COLUMNS + rows)
        for name in ("--PJHxphWEs.flac", "backwards.wav", "unknown.wav", "d/extra.wav", "nan.wav"):
            write(f"audio/{name}")
        found = find(tmp_path / "audio", segments=str(segments), class_labels=str(labels))
        (clip,) = found.clips
        assert (clip.id, clip.start_s, clip.end_s, clip.labels) == ("--PJHxphWEs", 30.0, 40.0, (0, 7))
        assert clip.cut
        assert clip.uri == str(tmp_path / "audio/--PJHxphWEs.flac")
        assert clip.size_bytes == len("some audio")
        assert reasons(found) == {
            "none": "no_audio",
            "backwards": "bad_times",
            "nan": "bad_times",
            "negative": "bad_times",
            "endless": "bad_times",
            "unknown": "unknown_label",
            "d/extra": "no_row",
        }
        assert {failure.clip.id for failure in found.failures if failure.skipped} == {"d/extra"}
        assert {failure.stage for failure in found.failures} == {"find"}
        said = {failure.clip.id: failure.message for failure in found.failures}
        assert "/m/nonesuch" in said["unknown"]
        assert "nan" in said["nan"]
        assert "-1" in said["negative"]
        for failure in found.failures:  # a ledger's line: no NaN, no infinity
            json.dumps(failure.clip.key, allow_nan=False)

    def test_several_segments_of_one_recording(self, write: Write, tmp_path: Path, labels: Path) -> None:
        rows = 'abc, 0.000, 10.000, "/m/09x0r"\nabc, 20.000, 30.500, "/m/09x0r"\n'
        segments = write("segments.csv", HEADER + COLUMNS + rows)
        audio = write("audio/abc.wav")
        found = find(tmp_path / "audio", segments=str(segments), class_labels=str(labels))
        assert [(clip.uri, clip.start_s, clip.end_s) for clip in found.clips] == [
            (str(audio), 0.0, 10.0),
            (str(audio), 20.0, 30.5),
        ]
        with pytest.raises(SourceError, match="lines 4 and 5"):
            find(tmp_path / "audio", segments=str(segments), class_labels=str(labels), segment_audio="cut")

    @pytest.mark.parametrize(
        "name",
        ["", "Y", "_30_40", "_30.0_40.0", "Y_30.000_40.000", "_30000_40000", "_30"],
    )
    def test_names_of_cut_files(self, write: Write, tmp_path: Path, labels: Path, name: str) -> None:
        segments = write("segments.csv", COLUMNS + '-abc1234567, 30.000, 40.000, "/m/09x0r"\n')
        write(f"audio/{'Y' * name.startswith('Y')}-abc1234567{name.removeprefix('Y')}.wav")
        flags = {"segments": str(segments), "class_labels": str(labels)}
        (clip,) = find(tmp_path / "audio", **flags, segment_audio="cut").clips
        assert (clip.id, clip.start_s, clip.end_s, clip.cut) == ("-abc1234567", 30.0, 40.0, False)
        if "_" in name:
            with pytest.raises(SourceError, match="--segment_audio cut"):
                find(tmp_path / "audio", **flags)

    def test_two_files_of_one_name_are_refused_where_a_row_wants_them(
        self, write: Write, tmp_path: Path, labels: Path
    ) -> None:
        segments = write("segments.csv", COLUMNS + 'abc, 0.000, 10.000, "/m/09x0r"\n')
        paths = [write("audio/d/abc.wav"), write("audio/e/abc.wav")]
        with pytest.raises(SourceError) as error:
            find(tmp_path / "audio", segments=str(segments), class_labels=str(labels))
        assert all(str(path) in str(error.value) for path in paths)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ('abc, 0.000, 10.000, "/m/09x0r"\n', ["line 1", "YTID"]),
            ("# YTID, start, end, labels\n", ["line 1", "start, end, labels"]),
            (COLUMNS + "abc, 0.000, 10.000, /m/09x0r,/m/05zppz\n", ["line 2", "5 values", "quotes"]),
            (COLUMNS + "abc, 0.000, 10.000\n", ["line 2", "3 values"]),
            (COLUMNS + 'abc, zero, 10.000, "/m/09x0r"\n', ["line 2", "start_seconds", "'zero'"]),
            (COLUMNS + 'abc, 0.000, , "/m/09x0r"\n', ["line 2", "abc"]),
            (COLUMNS + 'abc, 0, 10, "/m/09x0r"\n' * 2, ["line 2 and line 3", "'abc'", "10"]),
            (COLUMNS, ["no rows"]),
            ("", ["no rows"]),
        ],
    )
    def test_malformed_lists_are_refused_with_line_and_value(
        self, write: Write, tmp_path: Path, labels: Path, content: str, said: list[str]
    ) -> None:
        write("audio/abc.wav")
        with pytest.raises(SourceError) as error:
            find(tmp_path / "audio", segments=str(write("segments.csv", content)), class_labels=str(labels))
        for words in ["segments.csv", *said]:
            assert words in str(error.value)

    def test_a_list_that_is_no_text(self, tmp_path: Path, write: Write, labels: Path) -> None:
        (tmp_path / "segments.csv").write_bytes(b"\xff\xfe\x00")
        write("audio/abc.wav")
        with pytest.raises(SourceError, match="UTF-8"):
            find(tmp_path / "audio", segments=str(tmp_path / "segments.csv"), class_labels=str(labels))

    def test_a_compressed_list(self, tmp_path: Path) -> None:
        (tmp_path / "segments.csv.gz").write_bytes(gzip.compress((COLUMNS + 'abc, 0, 10, "/m/a"\n').encode()))
        (row,) = read_segments(str(tmp_path / "segments.csv.gz"))
        assert (row.line, row.id, row.start_s, row.end_s, row.labels) == (2, "abc", 0.0, 10.0, ("/m/a",))


class TestManifests:
    @pytest.fixture
    def labels(self, write: Write) -> Path:
        return write("labels.csv", LABELS)

    def test_csv_and_json_lines_say_the_same(self, write: Write, tmp_path: Path, labels: Path) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.reset()
        storage.write_atomic("memory://bucket/d/e.wav", b"remote")
        write("audio/a.wav")
        write("b c.flac")
        table = (
            "uri,id,speaker,start_seconds,end_seconds,labels\n"
            "audio/a.wav,,me,,,\n"
            f"{tmp_path}/b c.flac,b,me,1.5,3,7;0\n"
            'audio/a.wav,-c,me,2,,"Speech, Male speech, man speaking"\n'
            "memory://bucket/d/e.wav,,,,,/t/dd00088\n"
            "memory://bucket/x/y.wav,,,,,\n"
        )
        lines = [
            {"uri": "audio/a.wav"},
            {"uri": f"{tmp_path}/b c.flac", "id": "b", "start_seconds": 1.5, "end_seconds": "3", "labels": [7, 0]},
            {"uri": "audio/a.wav", "id": "-c", "start_seconds": 2, "labels": ["Male speech, man speaking", "0"]},
            {"uri": "memory://bucket/d/e.wav", "labels": "Gunshot, gunfire", "speaker": None},
            {"uri": "memory://bucket/x/y.wav"},
        ]
        from_csv = find(manifest=str(write("list.csv", table)), class_labels=str(labels))
        json_text = "\n".join(map(json.dumps, lines))
        from_json = find(manifest=str(write("list.txt", json_text)), class_labels=str(labels))
        assert replace(from_csv, notes=()) == replace(from_json, notes=())
        assert from_csv.notes == (f"{tmp_path}/list.csv: unused columns: speaker",)
        found = [(c.id, c.uri, c.start_s, c.end_s, c.labels, c.cut, c.size_bytes) for c in from_csv.clips]
        assert found == [
            ("audio/a", f"{tmp_path}/audio/a.wav", 0.0, None, (), False, 10),
            ("b", f"{tmp_path}/b c.flac", 1.5, 3.0, (0, 7), True, 10),
            ("-c", f"{tmp_path}/audio/a.wav", 2.0, None, (0, 1), True, 10),
            ("bucket/d/e", "memory://bucket/d/e.wav", 0.0, None, (7,), False, 6),
            ("bucket/x/y", "memory://bucket/x/y.wav", 0.0, None, (), False, 0),
        ]

    def test_cut_audio(self, write: Write) -> None:
        write("a.wav")
        listing = write("list.csv", "uri,start_seconds,end_seconds\na.wav,1,2\n")
        (clip,) = find(manifest=str(listing), segment_audio="cut").clips
        assert (clip.start_s, clip.end_s, clip.cut) == (1.0, 2.0, False)

    def test_what_is_wrong_with_a_row(self, write: Write, labels: Path) -> None:
        lines = [
            {"uri": "a.wav", "id": "backwards", "start_seconds": 2, "end_seconds": 1},
            {"uri": "a.wav", "id": "nan", "start_seconds": float("nan")},
            {"uri": "a.wav", "id": "unknown", "labels": ["Speach"]},
            {"uri": "a.wav", "id": "outside", "labels": [3]},
            {"uri": "a.wav", "id": "gone"},
        ]
        listing = write("list.jsonl", "\n".join(map(json.dumps, lines)))
        found = find(manifest=str(listing), class_labels=str(labels))
        assert [clip.id for clip in found.clips] == ["gone"]  # that it is missing is for its reader to say
        assert reasons(found) == {
            "backwards": "bad_times",
            "nan": "bad_times",
            "unknown": "unknown_label",
            "outside": "unknown_label",
        }

    def test_indices_need_no_table_of_labels_and_names_do(self, write: Write) -> None:
        assert find(manifest=str(write("list.csv", 'uri,labels\na.wav,"4, 2"\n'))).clips[0].labels == (2, 4)
        with pytest.raises(SourceError, match=r"line 2.*'Speech'.*--class_labels"):
            find(manifest=str(write("list.csv", "uri,labels\na.wav,Speech\n")))

    def test_files_beside_a_manifest(self, write: Write, tmp_path: Path) -> None:
        write("audio/a.wav")
        write("audio/b.wav")
        listing = write("list.csv", "uri,id,labels\naudio/a.wav,mine,3\n")
        found = find(tmp_path / "audio", manifest=str(listing))
        assert [(clip.id, clip.labels) for clip in found.clips] == [("mine", (3,)), ("b", ())]
        listing = write("list.csv", "uri,id\naudio/a.wav,b\n")
        with pytest.raises(SourceError, match=r"a\.wav and .*b\.wav are the same clip, 'b'"):
            find(tmp_path / "audio", manifest=str(listing))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", ["line 1", "uri"]),
            ("path,id\na.wav,a\n", ["line 1", "path, id"]),
            ("uri,label\na.wav,1\n", ["line 1", "'label'"]),
            ("uri,start_s\na.wav,1\n", ["line 1", "'start_s'"]),
            ("uri,uri\na.wav,a.wav\n", ["line 1", "twice"]),
            ("uri,id\na.wav\n", ["line 2", "1 values (a.wav) for 2 columns"]),
            ("uri,start_seconds\na.wav,soon\n", ["line 2", "'soon'"]),
            ("uri,id,x,id\na.wav,a,b,c\n", ["line 1", "column 'id' is there twice"]),
            ("uri,id\n,a\n", ["line 2", "uri is None"]),
            ("uri\na.wav\na.wav\n", ["line 2 and line 3", "'a'"]),
            ('{"uri": 3}\n', ["line 1", "uri is 3"]),
            ('{"uri": \n', ["line 1", "no JSON"]),
            ('["a.wav"]\n', ["line 1", "no JSON object"]),
            ('{"uri": "a.wav", "end": 3}\n', ["line 1", "'end'"]),
            ('{"uri": "a.wav", "labels": {"a": 1}}\n', ["line 1", "labels"]),
            ('{"uri": "a.wav", "start_seconds": true}\n', ["line 1", "start_seconds", "True"]),
            ("uri\n", ["no rows"]),
        ],
    )
    def test_malformed_manifests_are_refused_with_line_and_value(
        self, write: Write, content: str, said: list[str]
    ) -> None:
        with pytest.raises(SourceError) as error:
            find(manifest=str(write("list", content)))
        for words in ["/list", *said]:
            assert words in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["mid,name\n", "index,mid,display_name\nx,/m/a,A\n", LABELS + "7,/m/z,Z\n", LABELS + "8,/m/09x0r,Z\n"],
)
def test_malformed_tables_of_labels_are_refused(write: Write, content: str) -> None:
    with pytest.raises(SourceError, match=r"labels\.csv, line"):
        read_class_labels(str(write("labels.csv", content)))


def test_labels_in_one_text() -> None:
    classes = ClassLabels("", {"Male speech, man speaking": 1, "Speech": 0, "/m/a": 2}, {0, 1, 2})
    assert classes.split("Speech,Male speech,man speaking, /m/a") == ["Speech", "Male speech, man speaking", "/m/a"]
    assert classes.split(" Male speech, man speaking ;0;; 2") == ["Male speech, man speaking", "0", "2"]
    assert classes.split("") == []


class TestAudioSet:
    """The lists as released, against the records as released."""

    def test_rows_equal_the_released_records(self, audioset_data: Path) -> None:
        compared, other_end = self.rows_and_records(audioset_data, 6000)
        assert compared == 6000
        assert other_end < 79  # as many differ by their end in all released records

    def test_rows_equal_the_made_records(self, made_audioset: Path) -> None:
        compared, other_end = self.rows_and_records(made_audioset, 6000)
        rows = small_audioset.rows_of("bal_train", 0)
        assert compared == len(rows)
        assert other_end == sum(row.end_s != row.record_end_s for row in rows) > 0

    def rows_and_records(self, audioset: Path, most: int) -> tuple[int, int]:
        """Rows have the records' starts and labels: how many, and how many of them another end."""
        classes = read_class_labels(str(audioset / "class_labels_indices.csv"))
        assert len(classes.known) == 527
        rows = {row.id: row for row in read_segments(str(audioset / "balanced_train_segments.csv"))}
        compared = other_end = 0
        for record in islice(read_records(str(audioset / "bal_train.tfrecord")), most):
            row = rows[record.id]
            assert tuple(sorted({classes.index(label) for label in row.labels})) == record.labels  # type: ignore[type-var]
            assert np.float32(row.start_s) == record.start_s
            other_end += np.float32(row.end_s) != record.end_s
            compared += 1
        return compared, other_end

    def test_a_miniature(self, made_audioset: Path, tmp_path: Path) -> None:
        """200 rows of the evaluation list, with files under those ids."""
        with (made_audioset / "eval_segments.csv").open() as file:
            lines = list(islice(file, 203))
        (tmp_path / "segments.csv").write_text("".join(lines))
        rows = list(read_segments(str(tmp_path / "segments.csv")))
        assert [row.id for row in rows] == [row.id for row in small_audioset.rows_of("eval", 1)[:200]]
        audio = tmp_path / "audio"
        audio.mkdir()
        for row in rows[:-5]:
            (audio / f"{row.id}.wav").write_bytes(b"some audio")
        found = find(
            audio,
            segments=str(tmp_path / "segments.csv"),
            class_labels=str(made_audioset / "class_labels_indices.csv"),
        )
        assert [clip.id for clip in found.clips] == [row.id for row in rows[:-5]]
        assert reasons(found) == {row.id: "no_audio" for row in rows[-5:]}
        for clip, record in zip(found.clips, read_records(str(made_audioset / "eval.tfrecord")), strict=False):
            assert (clip.id, clip.labels) == (record.id, record.labels)
            assert np.float32(clip.start_s) == record.start_s


def test_manifests_are_read_row_by_row(write: Write) -> None:
    listing = write("list.csv", "uri\n" + "a.wav\n" * 10 + '"unclosed\n')
    assert len(list(islice(read_manifest(str(listing)), 10))) == 10


def test_a_y_goes_before_the_ids_of_youtube_alone(write: Write) -> None:
    """One file, `Yes`: it is no audio of `es`; and a file that a row names exactly is that row's alone."""
    for name in ("Yes", "Yabcdefghij-", "Y0123456789_", "abcdefghij-"):
        write(f"audio/{name}.wav")
    rows = [f"{name}, 0, 10, x" for name in ("es", "Yes", "abcdefghij-", "0123456789_", "Y0123456789_")]
    segments = write("list.csv", COLUMNS + "\n".join(rows) + "\n")
    labels = write("labels.csv", "index,mid,display_name\n0,x,X\n")
    corpus = find(segments.parent / "audio", segments=str(segments), class_labels=str(labels))
    found = {clip.id: Path(clip.uri).stem for clip in corpus.clips}
    assert found == {"Yes": "Yes", "abcdefghij-": "abcdefghij-", "Y0123456789_": "Y0123456789_"}
    assert reasons(corpus) == {"es": "no_audio", "0123456789_": "no_audio", "Yabcdefghij-": "no_row"}


def test_a_name_in_another_unicode_form_is_pointed_at(write: Write) -> None:
    write("audio/Cafe\u0301.wav")
    write("audio/b.wav")
    segments = write("list.csv", COLUMNS + "Caf\u00e9, 0, 10, x\nb, 0, 10, x\n")
    labels = write("labels.csv", "index,mid,display_name\n0,x,X\n")
    corpus = find(segments.parent / "audio", segments=str(segments), class_labels=str(labels))
    (message,) = [failure.message for failure in corpus.failures if failure.reason == "no_audio"]
    assert "Cafe\u0301.wav looks alike" in message


IDS = "import sys, pipeline; print(ascii([clip.id for clip in pipeline.find_corpus(sys.argv[1:]).clips]))"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_ids_are_names_as_utf_8_whatever_the_locale(write: Write, tmp_path: Path, locale: str) -> None:
    write("audio/Gr\u00fc\u00dfe.wav")
    write("audio/\u65e5\u672c.flac")
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", IDS, str(tmp_path / "audio")]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(["Gr\u00fc\u00dfe", "\u65e5\u672c"])


def test_clips_of_one_id_can_fail_alone(write: Write) -> None:
    for name in ("a.wav", "a.flac", "b.wav"):
        write(f"audio/{name}")
    folder = write("audio/c.wav").parent
    with pytest.raises(SourceError, match=r"two inputs have the id 'a': .*a\.flac and .*a\.wav"):
        find(folder)
    corpus = find(folder, duplicate_ids="fail")
    assert [clip.id for clip in corpus.clips] == ["b", "c"]
    assert reasons(corpus) == {f"a ({folder}/a.{end})": "duplicate_id" for end in ("wav", "flac")}
    assert all("a.flac and " in failure.message for failure in corpus.failures)
    rows = "uri,id,start_seconds,end_seconds\na.wav,x,0,10\na.wav,x,10,20\nb.wav,y,,\nc.wav,y,,\nc.wav,y,,\n"
    listing = write("audio/list.csv", rows)
    corpus = find(manifest=str(listing), duplicate_ids="fail")
    assert [(clip.id, clip.start_s) for clip in corpus.clips] == [("x", 0.0), ("x", 10.0)]
    own = [failure.clip.id for failure in corpus.failures]
    assert own == [f"y ({folder}/b.wav)", f"y ({folder}/c.wav)", f"y ({folder}/c.wav) 2"]
    assert len({failure.clip.key for failure in corpus.failures}) == 3
    assert all("line 4, line 5, line 6 are the same clip" in failure.message for failure in corpus.failures)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that an ordinary user, whom the test is meanwhile, may look into: permissions do not bind root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
            for folder in Path(name).rglob("*"):
                folder.chmod(0o755)


def fill(folder: Path, *names: str) -> None:
    user = os.geteuid()
    os.seteuid(os.getuid())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    os.seteuid(user)


def shut(*folders: Path) -> None:
    user = os.geteuid()
    os.seteuid(os.getuid())
    for folder in folders:
        folder.chmod(0o000)
    os.seteuid(user)


def test_hidden_folders_are_not_looked_into(as_nobody: Path) -> None:
    fill(as_nobody, "a.wav", ".Trashes/b.wav", "d/.git/c.wav", "d/e.wav")
    shut(as_nobody / ".Trashes", as_nobody / "d" / ".git")
    for pattern in ("", "/**", "/**/*.wav"):
        found = clips_from_patterns([f"{as_nobody}{pattern}"])
        assert ([clip.id for clip in found.clips], found.failures) == (["a", "d/e"], [])
    with pytest.raises(storage.StorageError, match=r"\.Trashes"):
        clips_from_patterns([f"{as_nobody}/.Trashes/*"])


def test_a_folder_that_may_not_be_listed_is_one_failure(as_nobody: Path) -> None:
    fill(as_nobody, "a.wav", "shut/b.wav", "shut.wav", "d/e.wav")
    shut(as_nobody / "shut")
    found = clips_from_patterns([str(as_nobody), f"{as_nobody}/**"])
    assert [clip.id for clip in found.clips] == ["a", "d/e", "shut"]
    (failure,) = found.failures
    assert (failure.clip.id, failure.reason) == ("shut/", "unreadable")
    assert "Permission denied" in failure.message
    shut(as_nobody / "d")
    with pytest.raises(storage.StorageError, match="Permission denied"):
        clips_from_patterns([f"{as_nobody}/d"])


def test_files_of_a_list_that_may_not_be_read_fail_by_themselves(as_nobody: Path) -> None:
    fill(as_nobody, "shut/b.wav", "a.wav")
    shut(as_nobody / "shut")
    user = os.geteuid()
    os.seteuid(os.getuid())
    (as_nobody / "list.csv").write_text("uri\na.wav\nshut/b.wav\n")
    os.seteuid(user)
    found = clips_from_manifest(str(as_nobody / "list.csv"), None, "whole")
    assert [(clip.id, clip.size_bytes) for clip in found.clips] == [("a", 5), ("shut/b", 0)]


def test_a_look_tells_what_info_tells(tmp_path: Path, as_nobody: Path) -> None:
    fill(as_nobody, "shut/b.wav", "a.wav", "d/c.wav")
    shut(as_nobody / "shut")
    paths = [
        *(str(as_nobody / name) for name in ("a.wav", "d/c.wav", "d", "b.wav", "gone/a.wav", "shut/b.wav", "a.wav/c")),
        *(str(as_nobody / name) for name in ("a\0b", "x" * 300, "\udcff.wav", "gone/\0/a", "y" * 5000)),
        *("/", "/dev/null", "/nothing.wav", "/dev/nothing"),
    ]
    look = storage.local_look()
    for path in paths * 2:
        try:
            known = storage.info(path)
        except storage.StorageError:
            known = None
        assert look(path) == known, path


def test_a_look_waits_for_what_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    stat, errors = os.stat, [OSError(errno.ESTALE, "stale"), OSError(errno.ESTALE, "stale")]

    def stale(path: Any, **how: Any) -> os.stat_result:
        if str(path).endswith("a.wav") and errors:
            raise errors.pop()
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", stale)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    found = storage.local_look()(str(tmp_path / "a.wav"))
    assert found is not None
    assert (found.size_bytes, errors) == (5, [])


PARTS = st.text(st.sampled_from("a.é \udcff*%"), min_size=1, max_size=3) | st.sampled_from(
    ["", ".", "..", "file://", "s3://b"]
)


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda target: target.strip()))
def test_a_row_names_the_file_that_its_uri_leads_to(target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.jsonl"
        path.write_text(json.dumps({"uri": target}))
        (row,) = read_manifest(str(path))
        if row.fault is None:
            local = as_path(target) if storage.is_local(target) else target
            assert row.uri == storage.absolute(storage.join(folder, local))


def test_what_is_wrong_with_a_list_is_reported_before_what_is_wrong_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('uri\na.wav\na.wav\nb.wav\nb.wav\n"c.wav\nd.wav\n')
    with pytest.raises(SourceError, match="line 6: an unclosed quote runs to"):
        clips_from_manifest(str(path), None, "whole")
    path.write_text("uri\na.wav\na.wav\nb.wav\nb.wav\n")
    with pytest.raises(SourceError, match="line 2 and line 3 are the same clip"):
        clips_from_manifest(str(path), None, "whole")


def test_failed_rows_are_listed_without_their_files_sizes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "list.csv").write_text("uri,start_seconds,end_seconds\na.wav,,\na.wav,5,4\n")
    found = clips_from_manifest(str(tmp_path / "list.csv"), None, "whole")
    assert [clip.size_bytes for clip in found.clips] == [5]
    assert [failure.clip.size_bytes for failure in found.failures] == [0]
