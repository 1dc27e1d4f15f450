"""Lists of other projects: each is recognised by its header or content, and one bad row is one failed clip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus.lists.found import Numbering
from pipeline.corpus.sources import SourceError, find_corpus
from pipeline.errors import FlagError
from pipeline.types import Clip, Corpus
from tests.command import failures
from tests.in_process import Embed

Write = Callable[[str, str], Path]
TABLE = "index,mid,display_name\n0,/m/a,Speech\n1,/m/b,Dog\n2,/m/c,Acoustic guitar\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def function(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return function


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def shown(clips: Iterable[Clip]) -> list[tuple[object, ...]]:
    return [(c.id, Path(c.uri).name, c.start_s, c.end_s, c.labels, c.cut) for c in clips]


def find(manifest: Path, *patterns: Path, **flags: object) -> Corpus:
    return find_corpus(list(map(str, patterns)), manifest=str(manifest), **flags)  # type: ignore[arg-type]


def messages(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [(failure.clip.id, failure.reason, failure.message) for failure in corpus.failures]


class TestNemo:
    ROWS = (
        {"audio_filepath": "a.wav", "duration": 2.0, "label": "yes", "text": "yes please"},
        {"audio_filepath": "d/b.wav", "offset": 1.1, "duration": 2.2, "command": "no", "speaker": 7},
        {"audio_filepath": "d/b.wav", "offset": 5, "duration": None, "label": "no"},
        {"audio_filepath": "c.wav", "duration": 1},
    )

    def test_rows_become_clips_and_names_are_numbered(self, write: Write, tmp_path: Path) -> None:
        found = find(write("list.json", lines(*self.ROWS)))
        assert shown(found.clips) == [
            ("a", "a.wav", 0.0, None, (1,), False),
            ("d/b", "b.wav", 1.1, 3.3, (0,), True),
            ("d/b", "b.wav", 5.0, None, (0,), True),
            ("c", "c.wav", 0.0, None, (), False),
        ]
        assert (found.names, found.numbers_classes) == ({0: "no", 1: "yes"}, True)
        assert found.notes == (f"{tmp_path}/list.json: read as a list of NeMo's kind; unused columns: text, speaker",)

    def test_names_that_an_output_has_keep_their_numbers(self, write: Write) -> None:
        found = find(write("list.json", lines(*self.ROWS)), numbered={0: "yes", 5: "maybe"})
        assert [clip.labels for clip in found.clips] == [(0,), (6,), (6,), ()]
        assert found.names == {0: "yes", 5: "maybe", 6: "no"}

    def test_labels_of_a_table_are_names_mids_or_indices(self, write: Write) -> None:
        table = write("classes.csv", TABLE)
        rows = [{"audio_filepath": f"{n}.wav", "label": each} for n, each in enumerate(["Dog", "/m/c", 0, "2", "cat"])]
        rows += [{"audio_filepath": "t.wav", "text": "Speech"}, {"audio_filepath": "u.wav", "text": "how are you"}]
        found = find(write("list.json", lines(*rows)), class_labels=str(table))
        assert [clip.labels for clip in found.clips] == [(1,), (2,), (0,), (2,), (0,), ()]
        ((clip_id, reason, _),) = messages(found)
        assert (clip_id, reason) == ("4", "unknown_label")
        assert not found.numbers_classes

    def test_labels_that_are_all_whole_numbers_are_indices(self, write: Write) -> None:
        rows = [{"audio_filepath": "a.wav", "label": "7"}, {"audio_filepath": "b.wav", "label": [12, 3, 3]}]
        found = find(write("list.json", lines(*rows)))
        assert [clip.labels for clip in found.clips] == [(7,), (3, 12)]
        assert (found.names, found.numbers_classes) == ({}, False)

    def test_a_bad_row_costs_itself(self, write: Write) -> None:
        good = {"audio_filepath": "a.wav", "label": "yes"}
        bad = [{"text": "no audio"}, {"audio_filepath": ["l.wav", "r.wav"]}, {"audio_filepath": 3}, {"uri": "b.wav"}]
        times = {"audio_filepath": "b.wav", "offset": "soon", "duration": 1}
        odd = {"audio_filepath": "c.wav", "label": "cat \ud83d"}
        found = find(write("list.json", lines(good, *bad, times, odd) + '{"audio_f\n'))
        assert [clip.id for clip in found.clips] == ["a"]
        reasons = [reason for _, reason, _ in messages(found)]
        assert sorted(reasons) == ["bad_row"] * 5 + ["bad_times", "unknown_label"]


class TestLhotse:
    RECORDING: ClassVar[dict[str, object]] = {
        "id": "rec", "sources": [{"type": "file", "channels": [0], "source": "a.flac"}],
        "sampling_rate": 16000, "num_samples": 160000, "duration": 10.0,
    }  # fmt: skip

    def cut(self, **other: object) -> dict[str, object]:
        plain = {"id": "cut", "start": 0.0, "duration": 10.0, "channel": 0, "type": "MonoCut"}
        return {**plain, "supervisions": [], "recording": self.RECORDING, **other}

    def test_cuts(self, write: Write, tmp_path: Path) -> None:
        said = [{"id": "s", "text": "hello", "custom": {"label": ["Dog", "Cat, wild"]}}, {"id": "t", "text": "x"}]
        path = tmp_path / "cuts.jsonl.gz"
        path.write_bytes(gzip.compress(lines(self.cut(), self.cut(id="2", start=2.5, duration=1.25)).encode()))
        assert shown(find(path).clips) == [
            ("cut", "a.flac", 0.0, None, (), False),
            ("2", "a.flac", 2.5, 3.75, (), True),
        ]
        labelled = find(write("cuts.jsonl", lines(self.cut(supervisions=said))))
        assert (labelled.clips[0].labels, labelled.names) == ((0, 1), {0: "Cat, wild", 1: "Dog"})

    def test_recordings(self, write: Write) -> None:
        found = find(write("recordings.jsonl", lines(self.RECORDING)))
        assert shown(found.clips) == [("rec", "a.flac", 0.0, None, (), False)]
        assert found.notes[0].endswith("read as Lhotse's recordings")

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"type": "MixedCut"}, "not a MonoCut"),
            ({"recording": None}, "recording is None"),
            ({"recording": {**RECORDING, "sources": [{"type": "command", "source": "rm a"}]}}, "commands are not run"),
            ({"recording": {**RECORDING, "sources": []}}, "0 sources"),
            ({"recording": {**RECORDING, "sources": [1]}}, "a source is 1"),
            ({"recording": {**RECORDING, "transforms": [{"name": "Speed"}]}}, "transforms"),
            (
                {"recording": {**RECORDING, "sources": [{"type": "file", "channels": [0, 1], "source": "a"}]}},
                "one of the 2 channels",
            ),
            ({"supervisions": ["x"]}, "a supervision is 'x'"),
            ({"duration": None}, "start or duration is missing"),
        ],
    )
    def test_what_is_not_one_plain_file_costs_itself(self, write: Write, row: dict[str, object], said: str) -> None:
        found = find(write("cuts.jsonl", lines(self.cut(), self.cut(id="odd", **row))))
        assert [clip.id for clip in found.clips] == ["cut"]
        ((_, _, message),) = messages(found)
        assert said in message


class TestKaldi:
    def test_recordings_and_no_command_is_run(self, write: Write, tmp_path: Path) -> None:
        touched = tmp_path / "touched"
        scp = write("wav.scp", f"u1 a b.wav\nu2\t/x/c.flac\nu3 touch {touched} |\n\nu4 -\nu5\n")
        found = find(scp)
        assert [(clip.id, clip.uri) for clip in found.clips] == [("u1", f"{tmp_path}/a b.wav"), ("u2", "/x/c.flac")]
        assert not touched.exists()
        (pipe, stdin, alone) = messages(found)
        assert pipe[:2] == ("u3", "bad_row")
        assert f"the output of a command, which is not run: 'touch {touched} |'" in pipe[2]
        assert stdin[0] == "u4"
        assert alone[0] == "wav.scp, line 6"
        assert found.notes == (f"{tmp_path}/wav.scp: read as Kaldi's wav.scp",)

    def test_segments_of_the_recordings_beside_them(self, write: Write, tmp_path: Path) -> None:
        write("wav.scp", "r1 /audio/r1.wav\nr2 sph2pipe r2.sph |\n")
        segments = write("segments", "r1-0 r1 0.5 2.25\nr1-1 r1 3 -1\nr2-0 r2 0 1\nx r3 0 1\nr1-2 r1 2\n")
        found = find(segments)
        assert shown(found.clips) == [
            ("r1-0", "r1.wav", 0.5, 2.25, (), True),
            ("r1-1", "r1.wav", 3.0, None, (), True),
        ]
        assert sorted(failure[:2] for failure in messages(found)) == [
            ("r2-0", "bad_row"), ("segments, line 5", "bad_row"), ("x", "no_audio"),
        ]  # fmt: skip
        assert "there are segments beside it" in find(tmp_path / "wav.scp").notes[1]

    def test_segments_alone_are_refused(self, write: Write, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=f"names recordings of {tmp_path}/wav.scp, which is not there"):
            find(write("segments", "r1-0 r1 0.5 2.25\n"))

    def test_the_content_says_so_under_any_name(self, write: Write) -> None:
        assert [clip.uri for clip in find(write("list.txt", "u1 /x/a.wav\n")).clips] == ["/x/a.wav"]


class TestFsd50k:
    LIST = 'fname,labels,mids,split\n1,"Dog,Acoustic_guitar","/m/b,/m/c",train\n2,Speech,/m/a,val\n3,Dog,/m/b,train\n'

    def test_audio_of_input_by_name_and_names_numbered(self, write: Write, tmp_path: Path) -> None:
        for name in ("audio/1.wav", "audio/2.wav", "audio/1.txt"):
            write(name, "x")
        found = find(write("lists/dev.csv", self.LIST), tmp_path / "audio")
        assert shown(found.clips)[:2] == [
            ("1", "1.wav", 0.0, None, (0, 1), False),
            ("2", "2.wav", 0.0, None, (2,), False),
        ]
        assert found.names == {0: "Acoustic_guitar", 1: "Dog", 2: "Speech"}
        assert messages(found) == [("3", "no_audio", "line 4: no input is called 3")]

    def test_audio_where_the_data_set_has_it_and_mids_of_a_table(self, write: Write) -> None:
        for n in (1, 2, 3):
            write(f"FSD50K.dev_audio/{n}.wav", "x")
        listing = write("FSD50K.ground_truth/dev.csv", self.LIST)
        found = find(listing, class_labels=str(write("classes.csv", TABLE)))
        assert [clip.labels for clip in found.clips] == [(1, 2), (0,), (1,)]
        assert found.notes == (f"{listing}: read as FSD50K's list",)


class TestEsc50:
    LIST = (
        "filename,fold,target,category,esc10,src_file,take,mood\n"
        "1-1-A-5.wav,1,5,cat,False,1,A,good\n1-2-A-0.wav,1,0,dog,True,2,A,bad\n"
    )

    def test_targets_number_the_categories(self, write: Write, tmp_path: Path) -> None:
        for name in ("1-1-A-5", "1-2-A-0"):
            write(f"audio/{name}.wav", "x")
        listing = write("meta/esc50.csv", self.LIST)
        found = find(listing)
        assert [(clip.id, clip.labels) for clip in found.clips] == [("1-1-A-5", (5,)), ("1-2-A-0", (0,))]
        assert found.names == {0: "dog", 5: "cat"}
        assert found.notes == (f"{listing}: read as ESC-50's list; unused columns: mood",)
        with pytest.raises(SourceError, match="has dog for class 0, which is cow"):
            find(listing, numbered={0: "cow"})

    def test_two_files_of_a_name_cost_their_row(self, write: Write, tmp_path: Path) -> None:
        for name in ("a/1-1-A-5.wav", "b/1-1-A-5.wav", "b/1-2-A-0.wav"):
            write(f"audio/{name}", "x")
        found = find(write("esc50.csv", self.LIST), tmp_path / "audio")
        assert "1-2-A-0" in [clip.id for clip in found.clips]
        ((_, reason, message),) = messages(found)
        assert (reason, "two files are called 1-1-A-5.wav" in message) == ("bad_row", True)


class TestAudioSetStrong:
    LIST = (
        "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
        "b0RFKhbpFJA_30000\t0.000\t5.000\t/m/a\n"
        "b0RFKhbpFJA_30000\t1.500\t2.750\t/m/b\n"
        "b0RFKhbpFJA_30000\t1.500\t2.750\t/m/c\n"
        "-0RWZT-miFs_420000\t0.5\t8\t/m/b\n"
        "xxxxxxxxxxx_0\t0\t1\t/m/b\n"
        "b0RFKhbpFJA_30000\tlate\t1\t/m/b\n"
    )

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("b0RFKhbpFJA_30000.wav", "Y-0RWZT-miFs.flac"),
            ("Yb0RFKhbpFJA_30.000_40.000.wav", "-0RWZT-miFs.flac"),
        ],
    )
    def test_events_in_segments_and_in_whole_recordings(
        self, write: Write, tmp_path: Path, first: str, second: str
    ) -> None:
        write(f"audio/{first}", "x")
        write(f"audio/{second}", "x")
        table = write("classes.csv", TABLE)
        listing = write("strong.tsv", self.LIST)
        found = find(listing, tmp_path / "audio", class_labels=str(table), segment_audio="cut")
        assert shown(found.clips)[:3] == [
            ("b0RFKhbpFJA_30000", first, 0.0, 5.0, (0,), True),
            ("b0RFKhbpFJA_30000", first, 1.5, 2.75, (1, 2), True),
            ("-0RWZT-miFs", second, 420.5, 428.0, (1,), True),
        ]
        assert [failure[1] for failure in messages(found)] == ["no_audio", "bad_times"]
        assert found.notes[1].endswith("1 rows have the times of the row before: their labels are one clip's")


def test_columns_of_our_own_manifests_that_are_not_used_are_named(write: Write, tmp_path: Path) -> None:
    found = find(write("list.csv", "uri,fold,split\na.wav,1,x\n"))
    assert found.notes == (f"{tmp_path}/list.csv: unused columns: fold, split",)
    assert find(write("list.csv", "uri,labels\na.wav,3\n")).notes == ()


def test_columns_and_rows_that_a_spreadsheet_adds_are_not_used(write: Write, tmp_path: Path) -> None:
    found = find(write("list.csv", "uri,id,x,x,,\na.wav,mine,1,2,,\n,,,,,\nb.wav,other,,,odd,\n"))
    assert [clip.id for clip in found.clips] == ["mine", "other"]
    assert found.notes == (f"{tmp_path}/list.csv: unused columns: x, those without a name",)
    write("audio/a.wav", "x")
    table = write("classes.csv", "index,display_name,,\n0,Speech,,\n,,,\n")
    rows = '# YTID,start_seconds,end_seconds,positive_labels,,\na,0,2,Speech,,\nb,0,2,"Other",,\n,,,,,\n'
    found = find_corpus([f"{tmp_path}/audio"], segments=str(write("segments.csv", rows)), class_labels=str(table))
    assert shown(found.clips) == [("a", "a.wav", 0.0, 2.0, (0,), True)]
    assert [failure.message for failure in found.failures] == [f"line 3: not in {table}: Other"]
    table = write("twice.csv", "index,display_name,index\n0,Speech,1\n")
    with pytest.raises(SourceError, match="line 1: column 'index' is there twice"):
        find(write("list.csv", "uri\na.wav\n"), class_labels=str(table))


@pytest.mark.parametrize("text", ["name,labels\na,1\n", "a.wav\n", "uri id\na.wav 1\n", "\n\n"])
def test_a_list_of_no_known_kind_is_refused(write: Write, text: str) -> None:
    with pytest.raises(SourceError):
        find(write("list.csv", text))


def test_the_classes_that_a_list_names_are_kept(embed_here: Embed, tmp_path: Path) -> None:
    listing = tmp_path / "list.json"
    for n in range(2):
        soundfile.write(tmp_path / f"{n}.wav", np.random.default_rng(n).normal(0, 0.1, 16_000), 16_000)
    listing.write_text(lines(*({"audio_filepath": f"{n}.wav", "label": f"c{n}"} for n in range(2))))
    done = embed_here(tmp_path / "out", "--manifest", listing)
    assert done.status == 0, done.err
    assert "list.json: read as a list of NeMo's kind" in done.err
    assert (tmp_path / "out/classes.csv").read_text() == "index,display_name\n0,c0\n1,c1\n"
    with listing.open("a") as file:
        file.write(lines({"audio_filepath": "gone.wav", "label": "b"}))
    done = embed_here(tmp_path / "out", "--manifest", listing, "--max_failures", "1")
    assert done.status == 0, done.err
    assert (tmp_path / "out/classes.csv").read_text() == "index,display_name\n0,c0\n1,c1\n2,b\n"
    assert [each["reason"] for each in failures(tmp_path / "out").values()] == ["missing"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None), max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
SOURCE = st.fixed_dictionaries({}, optional={"type": JSON | st.just("file"), "source": JSON, "channels": JSON})
RECORDING = st.fixed_dictionaries(
    {"sources": JSON | st.lists(SOURCE | JSON, max_size=2)}, optional={"id": JSON, "duration": JSON, "transforms": JSON}
)
ROWS = {
    "nemo": st.fixed_dictionaries(
        {"audio_filepath": JSON},
        optional={"offset": JSON, "duration": JSON, "label": JSON, "command": JSON, "text": JSON, "id": JSON},
    ),
    "cuts": st.fixed_dictionaries(
        {"recording": RECORDING | JSON},
        optional={"id": JSON, "start": JSON, "duration": JSON, "type": JSON | st.just("MonoCut"), "supervisions": JSON},
    ),
    "recordings": RECORDING,
}
GOOD = {
    "nemo": {"audio_filepath": "a.wav"},
    "cuts": {"id": "a", "start": 0, "duration": 1, "recording": TestLhotse.RECORDING},
    "recordings": TestLhotse.RECORDING,
}


@pytest.mark.parametrize("kind", ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_any_row_is_a_clip_or_a_failure(kind: str, write: Write, data: st.DataObject) -> None:
    rows = data.draw(st.lists(ROWS[kind] | JSON, max_size=6))
    found = find(write("list.jsonl", lines(GOOD[kind], *rows)), duplicate_ids="fail")
    assert len(found.clips) + len(found.failures) == 1 + len(rows)
    for name in found.names.values():
        name.encode("utf-8", "surrogateescape")


@settings(max_examples=60)
@given(
    labels=st.lists(st.lists(st.text("ab1 2", min_size=1, max_size=2), max_size=3), max_size=5),
    before=st.dictionaries(st.integers(0, 9), st.text("ab", min_size=1, max_size=2), max_size=3),
)
def test_numbers_do_not_depend_on_the_order_of_the_rows(labels: list[list[str]], before: dict[int, str]) -> None:
    before = {number: name for name, number in {name: number for number, name in before.items()}.items()}

    def named(rows: list[list[str]]) -> list[set[str]]:
        numbering = Numbering(before)
        first = [[numbering.index(label) for label in row] for row in rows]
        numbers, names = numbering.settled()
        assert all(names.get(number) == name for number, name in before.items()) or not names
        return [{names.get(numbers[each], str(numbers[each])) for each in row if each is not None} for row in first]

    plain = all(label.strip().isdigit() and label == label.strip() for row in labels for label in row)
    wanted = [{str(int(label)) if plain else label for label in row} for row in labels]
    assert named(labels) == wanted
    assert named(labels[::-1]) == wanted[::-1]


def test_labels_from_stays_for_files(write: Write) -> None:
    with pytest.raises(FlagError, match="--labels_from folder is for the files of --input"):
        find(write("list.json", lines({"audio_filepath": "a.wav"})), labels_from="folder")


def test_a_row_with_times_is_equal_however_it_is_said(write: Write) -> None:
    """The same stretch, named by five kinds of list."""
    write("wav.scp", "r a.wav\n")
    given_as = {
        "own.csv": "uri,id,start_seconds,end_seconds\na.wav,x,1.5,2.75\n",
        "nemo.json": lines({"audio_filepath": "a.wav", "id": "x", "offset": 1.5, "duration": 1.25}),
        "segments": "x r 1.5 2.75\n",
        "cuts.jsonl": lines(
            {
                "id": "x", "start": 1.5, "duration": 1.25,
                "recording": {"sources": [{"type": "file", "source": "a.wav"}], "duration": 9},
            }
        ),
    }  # fmt: skip
    clips: list[Clip] = [find(write(name, text)).clips[0] for name, text in given_as.items()]
    assert clips == [clips[0]] * len(clips)
    assert clips[0].key == ("x", 1.5, 2.75)
