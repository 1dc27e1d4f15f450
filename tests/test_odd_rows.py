"""Odd rows of lists cost themselves: whatever one says, the others have their records, and a line tells why."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.corpus import class_labels, plan
from pipeline.corpus.sources import SourceError, clips_from_manifest
from pipeline.output.records import read_records
from pipeline.training.data import read_classes
from pipeline.types import Clip
from tests.command import failures, manifest, shard_bytes
from tests.in_process import Embed
from tests.reference_data import part

SECONDS = 3
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXTS = [
    *("a.wav", "", "a\0.wav", "a\n.wav", "no\\such.wav", "foo://x", "s3://", "gs://", "file:///", "/", "/dev/zero"),
    *("\ud83d", "caf\udce9", "e\u0301", "0x10", " 1 ", "١", "1;1", "9" * 5000, "1e999", "NaN", "-Infinity", '"'),
]
NUMBERS = [10**30, -(10**400), 2**63, 2**63 - 1, -1, 1.7976931348623157e308, 1e39, 5e-324, float("inf")]
ODD = JSON | st.sampled_from([*TEXTS, *NUMBERS, [2**64], [1, 1], {"a": 1}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording of three seconds."""
    path = tmp_path_factory.mktemp("odd rows")
    soundfile.write(path / "a.wav", np.random.default_rng(0).normal(0, 0.1, SECONDS * 16_000), 16_000)
    return path


def written(output: Path) -> list[str]:
    """Ids of an output's records, after its counts were found to add up."""
    totals = manifest(output)["totals"]
    assert totals["clips_in"] == totals["written"] + totals["failed"] + totals["skipped"]
    assert totals["failed"] + totals["skipped"] == len((output / "failures.jsonl").read_text().splitlines())
    records = list(read_records(f"{output}/*.tfrecord"))
    assert totals["written"] == len(records)
    return [record.id for record in records]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a case would take minutes
    max_examples=settings().max_examples // 20,  # each is a run
)
@given(data=st.data())
def test_any_row_gives_a_record_or_a_failure_and_the_others_their_records(
    kind: str, folder: Path, embed_here: Embed, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    columns = st.fixed_dictionaries(
        {"uri": ODD | st.just("a.wav")},
        optional={"id": ODD, "start_seconds": ODD, "end_seconds": ODD, "labels": ODD},
    )
    rows = data.draw(st.lists(columns if kind == "csv" else columns | JSON, min_size=3, max_size=12))
    # As many as the odd ones: of a list in which most rows name their labels, the table of names is asked for.
    good = [{"uri": "a.wav", "id": f"good {n}", "start_seconds": n % 2, "end_seconds": 2} for n in range(len(rows))]
    rows = [good[0], *rows, *good[1:]]
    listing = folder / f"list.{kind}"
    listing.write_bytes(as_csv(rows) if kind == "csv" else as_json(rows))
    output = tmp_path_factory.mktemp("out") / "out"

    done = embed_here(output, "--manifest", listing, "--max_failures", "100%", "--duplicate_ids", "fail")
    assert done.status == 0, done.err
    assert {row["id"] for row in good} <= set(written(output))
    empty = [
        row
        for row in rows
        if kind == "csv" and not "".join("" if value is None else str(value) for value in row.values()).strip()
    ]
    assert manifest(output)["totals"]["clips_in"] == len(rows) - len(empty)
    assert len(shard_bytes(output)) == 1


def as_json(rows: list[object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list[dict[str, object]]) -> bytes:
    columns = ["uri", "id", "start_seconds", "end_seconds", "labels"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(column, "") for column in columns])
    return text.getvalue().encode("utf-8", "surrogatepass")


SOUND = '{"uri": "a.wav", "id": "fine"}'
ROWS: dict[str, tuple[str, str, str]] = {
    "half a surrogate pair": ('{"uri": "a.wav", "id": "cat \\ud83d"}', "bad_row", "id is 'cat \\ud83d'"),
    "an id that is a list": ('{"uri": "a.wav", "id": ["x"]}', "bad_row", "id is"),
    "an index beyond int64": ('{"uri": "a.wav", "id": "x", "labels": [9223372036854775808]}', "unknown_label", "9223"),
    "an index of 5,000 digits": (f'{{"uri": "a.wav", "id": "x", "labels": "{"9" * 5000}"}}', "unknown_label", "999"),
    "the largest double": ('{"uri": "a.wav", "id": "x", "end_seconds": 1.7976931348623157e308}', "past_end", "1.79"),
    "the largest doubles": (
        '{"uri": "a.wav", "id": "x", "start_seconds": 1e308, "end_seconds": 1.7e308}', "bad_times", "1e+308"
    ),
    "an infinite end": ('{"uri": "a.wav", "id": "x", "end_seconds": Infinity}', "bad_times", "inf"),
    "an end beyond floats": (f'{{"uri": "a.wav", "id": "x", "end_seconds": 1{"0" * 400}}}', "bad_times", "inf"),
    "a sentinel": ('{"uri": "a.wav", "id": "x", "end_seconds": -1}', "bad_times", "-1"),
    "no number": ('{"uri": "a.wav", "id": "x", "end_seconds": "end"}', "bad_times", "'end'"),
    "a zero byte": ('{"uri": "a\\u0000.wav", "id": "x"}', "bad_row", "zero byte"),
    "a new line": ('{"uri": "a\\n.wav", "id": "x"}', "missing", "no such file"),
    "no uri": ('{"id": "x"}', "bad_row", "uri is None"),
    "another storage": ('{"uri": "foo://a/b.wav", "id": "x"}', "unreadable", "there is no storage for foo://"),
    "an address that is none": ('{"uri": "http://[::1", "id": "x"}', "unreadable", "is no address: Invalid IPv6 URL"),
    "a server's that is none": ('{"uri": "ftp://[x/a.wav", "id": "x"}', "unreadable", "is no address: Invalid IPv6"),
    "no object": ('["a.wav"]', "bad_row", "no JSON object"),
    "half an object": ('{"uri": "a.w', "bad_row", "no JSON"),
    "brackets": ("[" * 100_000, "bad_row", "no JSON"),
    "a folder": ('{"uri": ".", "id": "x"}', "unreadable", "a folder, not a file"),
    "a device": ('{"uri": "/dev/zero", "id": "x"}', "unreadable", "a device, not a file"),
}  # fmt: skip
"""Rows, with the reason of their failure and what its message says."""


@pytest.mark.parametrize("name", ROWS)
def test_an_odd_row_costs_itself(name: str, folder: Path, embed_here: Embed, tmp_path: Path) -> None:
    row, reason, said = ROWS[name]
    (folder / "list.jsonl").write_text(f"{SOUND}\n{row}\n")
    done = embed_here(tmp_path / "out", "--manifest", folder / "list.jsonl", "--max_failures", "1")
    assert done.status == 0, done.err
    assert written(tmp_path / "out") == ["fine"]
    (failure,) = failures(tmp_path / "out").values()
    assert failure["reason"] == reason, failure
    assert said in failure["message"]
    if reason == "bad_row":
        assert failure["message"].startswith("line 2: ")


def test_a_pipe_that_is_named_as_audio_fails_at_once(folder: Path, embed_here: Embed, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (folder / "list.jsonl").write_text(f'{SOUND}\n{{"uri": "{tmp_path}/pipe.wav", "id": "x"}}\n')
    done = embed_here(tmp_path / "out", "--manifest", folder / "list.jsonl", "--max_failures", "1")
    assert done.status == 0, done.err
    assert written(tmp_path / "out") == ["fine"]
    assert failures(tmp_path / "out")["x"]["message"] == "it is a pipe, not a file"


def test_rows_without_times_of_one_recording_do_not_stop_each_other(folder: Path) -> None:
    (folder / "list.csv").write_text("uri,id,start_seconds,end_seconds\na.wav,x,soon,2\na.wav,x,,\na.wav,x,2,nan\n")
    found = clips_from_manifest(str(folder / "list.csv"), None, "whole")
    assert [clip.id for clip in found.clips] == ["x"]
    assert [(failure.clip.id, failure.reason) for failure in found.failures] == [
        ("x, line 2", "bad_times"),
        ("x", "bad_times"),
    ]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ('a.wav,a\na.wav,"b\na.wav,c\na.wav,d\n', (3, 5)),
        ('a.wav,a\na.wav,"b\na.wav,"c"\na.wav,d\n', (3, 4)),
        ('a.wav,a\na.wav,b,"\na.wav,"\na.wav,d\n', (3, 4)),
    ],
)
def test_rows_that_are_lost_in_a_quote_are_reported(rows: str, lines: tuple[int, int], folder: Path) -> None:
    (folder / "list.csv").write_text(f"uri,id\n{rows}")
    with pytest.raises(SourceError, match=rf"line {lines[0]}: an unclosed quote .* line {lines[1]}"):
        clips_from_manifest(str(folder / "list.csv"), None, "whole")


def test_a_quote_in_a_line_is_the_matter_of_that_line(folder: Path) -> None:
    (folder / "list.csv").write_text('uri,id\n"a.wav" , 5" disc\na.wav,"b"c\na.wav,"d\n')
    found = clips_from_manifest(str(folder / "list.csv"), None, "whole").clips
    assert [clip.id for clip in found] == ['5" disc', "bc", "d"]


def test_a_name_of_a_file_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "list.csv").write_bytes(b"uri\ncaf\xe9.wav\n")
    (clip,) = clips_from_manifest(str(tmp_path / "list.csv"), None, "whole").clips
    assert (clip.size_bytes, clip.id) == (1, "caf\udce9")


# Costs.


def test_times_that_no_file_holds_make_no_shards() -> None:
    gone = Clip("x", "/gone.wav", 0.0, 99_999_999.0, cut=True)
    there = Clip("y", "/a.wav", 0.0, 1e300, cut=True, size_bytes=10**6)
    assert plan.default_num_shards(2, plan.cost_bytes(gone) + plan.cost_bytes(there)) == 1
    assert plan.most_seconds(gone) <= plan.UNSEEN_S
    assert plan.examples_in(1e300, 96) == plan.examples_in(plan.MOST_S, 96) > 10**8


# Lists that can be read once.


def through_a_pipe(path: Path, content: bytes) -> threading.Thread:
    """A pipe at a path, into which somebody writes once."""
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


def test_lists_may_be_pipes(folder: Path, embed_here: Embed, tmp_path: Path) -> None:
    rows = [{"uri": str(folder / "a.wav"), "id": f"x{n}", "labels": "Dog"} for n in range(4)]
    writers = [
        through_a_pipe(tmp_path / "list", as_json(rows)),
        through_a_pipe(tmp_path / "classes", b"index,mid,display_name\n3,/m/a,Dog\n"),
    ]
    flags = ["--manifest", tmp_path / "list", "--class_labels", tmp_path / "classes", "--report", "on"]
    done = embed_here(tmp_path / "out", *flags)
    assert done.status == 0, done.err
    assert "report was not made" not in done.err
    assert {record.labels for record in read_records(f"{tmp_path}/out/*.tfrecord")} == {(3,)}
    assert "Dog" in (tmp_path / "out" / "report.html").read_text()
    for writer in writers:
        writer.join(10)


# Tables of classes.


@pytest.mark.parametrize("read", [class_labels.read_class_labels, read_classes], ids=["run and report", "train"])
@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("index,mid,display_name\n0,a,Dog\n1,b\n2,c,Rain\n", 3),
        ("mid,display_name,index\na,Dog,0\nb\nc,Rain,2\n", 3),
        ("index,display_name\n0,Dog\n9223372036854775808,Cat\n", 3),
        (f"index,display_name\n{'9' * 5000},Cat\n", 2),
        ("index,display_name\n-1,Cat\n", 2),
        ("index,mid,display_name\n0,a,Dog\n1,a,Cat\n", 3),
        ("index,name\n0,Dog\n", 1),
        ("index,display_name\n", 1),
        ("", 1),
    ],
)
def test_a_table_is_refused_with_its_line(read: object, table: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text(table)
    with pytest.raises(SourceError, match=rf"classes\.csv, line {line}: "):
        read(str(tmp_path / "classes.csv"))  # type: ignore[operator]


def test_names_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text('index,mid,display_name\n0,a,Dog\x85bark\n1,b,"Cat\nmeow"\n2,c,A$$AP\n')
    names = ("Dog\x85bark", "Cat\nmeow", "A$$AP")
    assert read_classes(str(tmp_path / "classes.csv")).names == names
    assert class_labels.read_class_labels(str(tmp_path / "classes.csv")).names == dict(enumerate(names))


# The cases of public reports.


def test_reported_rows(embed_here: Embed, tmp_path: Path) -> None:
    right = {
        "lone_surrogate.jsonl": ("bad_row", "line 2"),
        "largest_double_end.csv": ("past_end", "1.79769"),
        "sentinel_end.csv": ("missing", "no such file"),
    }
    rows = part("cases") / "rows"
    assert {path.name for path in rows.iterdir()} - {"a.wav"} == set(right)
    for name, (reason, said) in right.items():
        output = tmp_path / name
        done = embed_here(output, "--manifest", rows / name, "--max_failures", "1")
        assert done.status == 0, done.err
        assert written(output) == ["fine"]
        (failure,) = failures(output).values()
        assert failure["reason"] == reason
        assert said in failure["message"]
        assert len(shard_bytes(output)) == 1


def test_the_reported_sentinel_is_estimated_as_what_is_there(embed_here: Embed, tmp_path: Path) -> None:
    done = embed_here(tmp_path / "out", "--manifest", part("cases") / "rows" / "sentinel_end.csv", "--check")
    assert done.status == 0, done.err
    assert "estimate   2 s of audio" in done.out


def test_reported_tables_of_classes(tmp_path: Path) -> None:
    lists = part("cases") / "class-lists"
    for name in ("short_row.csv", "index_column_last.csv"):
        for read in (class_labels.read_class_labels, read_classes):
            with pytest.raises(SourceError, match="line 3: "):
                read(str(lists / name))
    assert read_classes(str(lists / "name_over_two_lines.csv")).names == ("Dog", "Cat\nmeow", "Rain")
    assert read_classes(str(lists / "next_line_in_name.csv")).names == ("Dog\x85bark", "Cat", "Rain")
