"""Data sets written from PCollections and read into them: the command's bytes, and nothing lost on the way."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import schema_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints import schemas

from examples import make_audio
from pipeline import EmbedAudio, EmbeddedClip, FailedClip, ReadEmbeddings, WriteEmbeddings, to_sequence_example
from pipeline.checking.verify import verify_output
from pipeline.corpus.ids import id_of
from pipeline.output import manifest as manifests
from pipeline.output import tfrecord
from pipeline.output.ledger import read as read_ledger
from pipeline.output.lock import Lock
from pipeline.output.records import read_records
from pipeline.running.clips.elements import AskedClip, Totals, embedded, values_of
from pipeline.running.clips.rows import outcomes, seconds_of
from pipeline.settings import FrontEnd
from pipeline.types import Failure
from tests import command, outputs
from tests.in_process import CHEAP_NETWORK, Embed, decoders_stay, embed_here  # noqa: F401

STANDIN = {"checkpoint": "standin", "pca": "standin"}
FAILURES = [
    FailedClip("a", "/a.wav", "empty", "no bytes", False),
    FailedClip("b", "", "too_short", "0.5 s", True, 1.0, 1.5),
]
SOME = ("tones/chirp fast.wav", "machines/clock slow.opus", "too short.wav", make_audio.BROKEN)


def pipeline() -> Any:
    return test_pipeline.TestPipeline(runner="FnApiRunner")


def clip_of(number: int, frames: int = 3, **fields: Any) -> EmbeddedClip:
    """A clip whose embeddings follow from its number."""
    values = np.random.default_rng(number).integers(0, 256, (frames, 128)).astype(np.uint8)
    found = embedded(f"clip {number}", f"/audio/{number}.wav", 0.0, frames * 0.96 + 0.1, (1, 7), values)
    return found._replace(**fields)


def write(directory: Path, clips: Iterable[Any], made_with: Any = STANDIN, **settings: Any) -> None:
    """Elements of any kind -> a data set."""
    elements = list(clips)
    with pipeline() as root:
        given = root | beam.Create([0]) | beam.FlatMap(lambda _: elements).with_output_types(Any)
        given | WriteEmbeddings(str(directory), made_with, **settings)


def faults(directory: Path) -> list[str]:
    report = verify_output(str(directory))
    return [*report.faults, *(fault for file in report.files for fault in file.faults)]


def entries(directory: Path) -> dict[str, Any]:
    """Id -> entry, of all ledgers of an output."""
    files = sorted((directory / "_state").glob("ledger-*.jsonl"))
    return {entry.id: entry for file in files for entry in read_ledger(str(file))}


class TestElements:
    @pytest.mark.parametrize("kind", [EmbeddedClip, FailedClip, Totals, AskedClip])
    def test_they_are_rows_of_fields_that_every_language_has(self, kind: type) -> None:
        coder = beam.coders.registry.get_coder(kind)
        assert coder.to_runner_api(None).spec.urn == common_urns.coders.ROW.urn
        for field in coder.schema.fields:
            assert field.type.WhichOneof("type_info") in ("atomic_type", "array_type"), field
        assert [name for name, _ in schemas.named_fields_from_element_type(kind)] == list(kind._fields)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_they_are_decoded_as_what_they_were(self, dtype: type) -> None:
        values = np.arange(384).reshape(3, 128).astype(dtype)
        clip = embedded("é", "gs://b/é.wav", 1.5, None, (3, 74), values)
        coder = beam.coders.registry.get_coder(EmbeddedClip)
        found = coder.decode(coder.encode(clip))
        assert type(found) is EmbeddedClip
        assert found == clip
        assert found.values.dtype == dtype
        assert np.array_equal(found.values, values)
        failed = FailedClip("a", "", "empty", "no bytes", False)
        coder = beam.coders.registry.get_coder(FailedClip)
        assert coder.decode(coder.encode(failed)) == failed

    @pytest.mark.ci
    def test_their_schemas_are_the_same_in_every_process(self) -> None:
        code = "import apache_beam as b, pipeline; print(b.coders.registry.get_coder(pipeline.EmbeddedClip).schema.id)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == beam.coders.registry.get_coder(EmbeddedClip).schema.id

    @pytest.mark.parametrize(
        "element", [embedded("é", "", 1.5, None, (3, 74), np.eye(2, 128, dtype=np.float32)), *FAILURES]
    )
    def test_their_schemas_alone_tell_how_to_read_them(self, element: Any) -> None:
        """Which is what `SqlTransform` and others in Java have of them: the row coder's schema, none of our classes."""
        ours = beam.coders.registry.get_coder(type(element))
        payload = ours.to_runner_api(PipelineContext()).spec.payload
        schema = schema_pb2.Schema.FromString(payload)
        assert schema == schemas.named_tuple_to_schema(type(element))
        schema.id = str(uuid.uuid4())  # this process knows our class by the schema's own
        theirs = beam.coders.RowCoder(schema)
        row = theirs.decode(ours.encode(element))
        assert type(row) is not type(element)
        assert row._asdict() == element._asdict()
        assert theirs.encode(row) == ours.encode(element)

    @pytest.mark.ci
    def test_they_are_rows_of_dataframes(self) -> None:
        from apache_beam.dataframe import convert

        clips = [clip_of(0, embeddings=bytes(3 * 128)), *(clip_of(n, n + 1, labels=[]) for n in (1, 2, 3))]

        def fields(row: Any) -> Any:
            padded = row.embeddings.ljust(row.frames * 128, b"\0")  # NumPy's bytes lose zeros at their end
            return {**row._asdict(), "labels": list(row.labels), "embeddings": padded}

        with pipeline() as root:
            embeddings = convert.to_dataframe(root | "Clips" >> beam.Create(clips), label="of clips")
            long = convert.to_pcollection(embeddings[embeddings.frames > 2], label="long")
            found = long | "fields" >> beam.Map(fields)
            assert_that(found, equal_to([clips[n]._asdict() for n in (0, 2, 3)]), "clips")
            failed = convert.to_dataframe(root | "Failures" >> beam.Create(FAILURES), label="of failures")
            assert_that(convert.to_pcollection(failed, label="failed"), equal_to(FAILURES), "failures")
            counts = convert.to_pcollection(failed.groupby("reason").skipped.sum(), label="counts")
            assert_that(counts, equal_to([0, 1]), "counts")

    @pytest.mark.parametrize("fields", [{"dtype": "float16"}, {"frames": 4}, {"dtype": "float32"}])
    def test_fields_that_contradict_each_other(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="clip 1: "):
            values_of(clip_of(1)._replace(**fields))


@pytest.mark.parametrize(
    "record_format",
    ["audioset", *(pytest.param(name, marks=pytest.mark.full) for name in ("youtube8m", "youtube8m_video"))],
)
def test_embedded_and_written_is_what_the_command_writes(
    tmp_path: Path,
    example_audio: Path,
    embed_here: Embed,  # noqa: F811
    record_format: str,
) -> None:
    for name in SOME:
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(example_audio / name, tmp_path / "audio" / name)
    flags = ["--max_failures", "9", "--num_shards", "3", "--record_format", record_format]
    done = embed_here(tmp_path / "command", "--input", tmp_path / "audio", *flags)
    assert done.status == 0, done.err
    embed = EmbedAudio(**STANDIN)
    with pipeline() as root:
        clips = [(id_of(name), str(tmp_path / "audio" / name)) for name in SOME]
        totals = (
            root
            | beam.Create(clips)
            | embed
            | WriteEmbeddings(str(tmp_path / "beam"), embed, record_format=record_format, num_shards=3)
        )
        wanted = manifests.read(str(tmp_path / "command")).totals
        assert_that(totals, equal_to([Totals(**wanted)]))
    assert command.shard_bytes(tmp_path / "beam") == command.shard_bytes(tmp_path / "command")
    ours, theirs = (manifests.read(str(tmp_path / name)) for name in ("beam", "command"))
    assert ours.complete
    assert ours.fingerprint == theirs.fingerprint
    assert {**command.failures(tmp_path / "beam")} == {**command.failures(tmp_path / "command")}
    assert faults(tmp_path / "beam") == []
    assert not list((tmp_path / "beam" / "_state" / "rows").iterdir())


@pytest.mark.parametrize("kind", ["quantized", "raw"])
def test_a_data_set_that_is_read_and_written_is_the_same(tmp_path: Path, kind: Any) -> None:
    job = outputs.job(tmp_path / "out", embeddings=kind)
    outputs.write(job, map(outputs.clip, range(40)))
    with pipeline() as root:
        (
            root
            | ReadEmbeddings(str(tmp_path / "out"))
            | WriteEmbeddings(str(tmp_path / "again"), str(tmp_path / "out"), num_shards=3)
        )
    assert command.shard_bytes(tmp_path / "again") == command.shard_bytes(tmp_path / "out")
    before, after = (manifests.read(str(tmp_path / name)) for name in ("out", "again"))
    assert (after.fingerprint, after.models) == (before.fingerprint, before.models)
    assert after.totals["clips_in"] == before.totals["written"]


class TestReading:
    @pytest.mark.parametrize("record_format", ["audioset", "youtube8m", "youtube8m_video"])
    def test_elements_are_the_records(self, tmp_path: Path, record_format: Any) -> None:
        job = outputs.job(tmp_path / "out", record_format=record_format)
        outputs.write(job, map(outputs.clip, range(20)))
        expected = [
            (r.id, r.start_s, r.end_s, r.labels, r.values.tobytes()) for r in read_records(str(tmp_path / "out"))
        ]

        def fields(clip: EmbeddedClip) -> Any:
            return clip.id, clip.start_seconds, clip.end_seconds, tuple(clip.labels), clip.values.tobytes()

        with pipeline() as root:
            found = root | ReadEmbeddings([f"{tmp_path}/out/*.tfrecord"]) | beam.Map(fields)
            assert_that(found, equal_to(expected))

    def test_what_is_damaged_or_not_there_is_said(self, tmp_path: Path) -> None:
        job = outputs.job(tmp_path / "out")
        outputs.write(job, map(outputs.clip, range(20)))
        shard = next((tmp_path / "out").glob("embeddings-*"))
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(Exception, match=r"bytes, .* in manifest\.json"), pipeline() as root:
            root | ReadEmbeddings(str(tmp_path / "out"))
        with pytest.raises(Exception, match="no file matches"), pipeline() as root:
            root | ReadEmbeddings(str(tmp_path / "nothing"))

    def test_an_id_that_no_row_can_hold_is_named(self, tmp_path: Path) -> None:
        record = to_sequence_example("\udcff", 0.0, 1.0, (), np.zeros((1, 128), np.uint8))
        with (tmp_path / "a.tfrecord").open("wb") as file:
            tfrecord.write_tfrecord(file, [record])
        with pytest.raises(Exception, match="is not UTF-8"), pipeline() as root:
            root | ReadEmbeddings(str(tmp_path / "a.tfrecord"))


class TestWriting:
    def test_every_element_is_a_record_or_a_failure(self, tmp_path: Path) -> None:
        bad = [
            (clip_of(2, dtype="int8"), "bad_element"),
            (clip_of(3, frames=0, embeddings=b""), "bad_element"),
            (clip_of(4, labels=[3, 3]), "bad_element"),
            (clip_of(5, start_seconds=5.0, end_seconds=5.0), "bad_times"),
            (FailedClip("clip 6", "/6.wav", "empty", "no bytes", False), "empty"),
            (FailedClip("clip 7", "/7.wav", "too_short", "0.5 s", True), "too_short"),
            (FailedClip("clip 8", "/8.wav", "unheard of", "?", False), "bad_element"),
            (b"nothing of the kind", "bad_element"),
        ]
        good = [clip_of(0, labels=[7, 1]), clip_of(1, start_seconds=None, end_seconds=None)]
        write(tmp_path / "out", [*good, *(element for element, _ in bad)], num_shards=2)
        found = entries(tmp_path / "out")
        ids = [getattr(element, "id", repr(element)) for element, _ in bad]
        assert {name: found[name].reason for name in ids} == dict(zip(ids, (reason for _, reason in bad), strict=True))
        records = {record.id: record for record in read_records(str(tmp_path / "out"))}
        assert sorted(records) == ["clip 0", "clip 1"]
        assert records["clip 0"].labels == (1, 7)
        assert (records["clip 1"].start_s, records["clip 1"].end_s) == (0.0, pytest.approx(2 * 0.96 + 0.975))
        totals = manifests.read(str(tmp_path / "out")).totals
        assert [totals[name] for name in ("clips_in", "written", "failed", "skipped")] == [10, 2, 7, 1]
        assert faults(tmp_path / "out") == []

    def test_nothing_given_is_an_empty_data_set(self, tmp_path: Path) -> None:
        write(tmp_path / "out", [], num_shards=2)
        assert manifests.read(str(tmp_path / "out")).complete
        assert faults(tmp_path / "out") == []

    def test_a_data_set_grows_and_clips_are_replaced(self, tmp_path: Path) -> None:
        write(tmp_path / "out", map(clip_of, range(10)), num_shards=3)
        before = command.shard_bytes(tmp_path / "out")
        write(tmp_path / "out", [clip_of(3)._replace(labels=[9]), clip_of(11)], num_shards=3)
        records = {record.id: record for record in read_records(str(tmp_path / "out"))}
        assert set(records) == {f"clip {number}" for number in [*range(10), 11]}
        assert records["clip 3"].labels == (9,)
        write(tmp_path / "out", map(clip_of, range(10)), num_shards=3)
        write(tmp_path / "other", map(clip_of, [*range(10), 11]), num_shards=3)
        assert command.shard_bytes(tmp_path / "out") == command.shard_bytes(tmp_path / "other")
        assert command.shard_bytes(tmp_path / "out") != before

    @pytest.mark.parametrize(
        ("clips", "settings", "said"),
        [
            ([clip_of(1), clip_of(1)], {}, "'clip 1'.* was given more than once"),
            (
                [clip_of(1), FailedClip("clip 1", "", "empty", "", False, *clip_of(1)[2:4])],
                {},
                "was given more than once",
            ),
            ([clip_of(1), clip_of(1, start_seconds=1.0)], {"record_format": "youtube8m"}, "given more than once"),
            ([clip_of(1)], {"made_with": {**STANDIN, "embeddings": "raw"}}, "has embeddings of uint8"),
        ],
        ids=["twice", "and failed", "no times", "kind"],
    )
    def test_what_ends_the_pipeline(self, tmp_path: Path, clips: list[Any], settings: Any, said: str) -> None:
        with pytest.raises(Exception, match=said):
            write(tmp_path / "out", clips, **settings)
        found = manifests.read(str(tmp_path / "out"))
        assert found is None or not found.complete

    def test_a_directory_of_somebody_else_is_left_alone(self, tmp_path: Path) -> None:
        write(tmp_path / "out", [clip_of(1)])
        before = outputs.content(tmp_path / "out")
        with pytest.raises(Exception, match="was made with other settings"):
            write(tmp_path / "out", [clip_of(2)], record_format="youtube8m")
        with Lock(str(tmp_path / "out")), pytest.raises(Exception, match="is being written by process"):
            write(tmp_path / "out", [clip_of(2)])
        assert outputs.content(tmp_path / "out") == before
        (tmp_path / "letters").mkdir()
        (tmp_path / "letters" / "a.txt").write_text("Dear")
        with pytest.raises(Exception, match=r"is not empty and has no manifest\.json"):
            write(tmp_path / "letters", [clip_of(1)])

    def test_what_is_refused_at_once(self, tmp_path: Path) -> None:
        step = WriteEmbeddings(str(tmp_path / "out"), STANDIN)
        with pytest.raises(beam.typehints.decorators.TypeCheckError, match="WriteEmbeddings takes EmbeddedClips"):
            pipeline() | beam.Create([1]) | step
        with pytest.raises(ValueError, match="unbounded"):
            pipeline() | test_stream.TestStream() | step
        with pytest.raises(ValueError, match="num_shards is 0"):
            WriteEmbeddings("out", STANDIN, num_shards=0)


@pytest.mark.parametrize("frames", [1, 2, 10, 3750])
@pytest.mark.parametrize("hop_seconds", [0.96, 1.0, 0.48])
def test_seconds_fit_the_frames(frames: int, hop_seconds: float) -> None:
    """Where nothing is known, the least; where times are, those."""
    least = (frames - 1) * hop_seconds + 0.975
    front_end = FrontEnd(hop_seconds)
    assert seconds_of(frames, None, front_end) == pytest.approx(least)
    assert seconds_of(frames, least + 0.9 * hop_seconds, front_end) == least + 0.9 * hop_seconds
    assert seconds_of(frames, least + 1.1 * hop_seconds, front_end) == pytest.approx(least)
    padded = FrontEnd(hop_seconds, short_clips="pad")
    assert seconds_of(1, 0.5, padded) == 0.5


def test_values_that_are_not_finite_are_a_failure() -> None:
    values = np.zeros((2, 128), np.float32)
    values[1, 3] = np.nan
    (found,) = outcomes(embedded("a", "", 0.0, 2.0, (), values), FrontEnd(), "raw")
    assert isinstance(found, Failure)
    assert found.reason == "not_finite"


def test_the_page_in_python(
    tmp_path: Path,
    example_audio: Path,
    embed_here: Embed,  # noqa: F811
) -> None:
    """docs/pipelines.md embeds, writes and reads, with a folder in the bucket's place."""
    (tmp_path / "audio").mkdir()
    for name in SOME:
        shutil.copy(example_audio / name, tmp_path / "audio")
    page = (command.REPOSITORY / "docs" / "pipelines.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```", page, re.S)
    blocks = [block for block in found if "RunInference" not in block]  # test_model_handler.py has its pipeline
    assert len(blocks) == 3
    names: dict[str, Any] = {"options": PipelineOptions(["--runner", "FnApiRunner"])}
    for block in blocks:
        exec(block.replace("gs://bucket", str(tmp_path)).replace('"released"', '"standin"'), names)
    written, loud = (manifests.read(str(tmp_path / name)) for name in ("embeddings", "loud"))
    assert written.totals["clips_in"] == len(SOME)
    assert loud.totals["written"] == written.totals["written"] == 2
    assert faults(tmp_path / "embeddings") == faults(tmp_path / "loud") == []


@pytest.mark.ci
def test_beam_yaml(
    tmp_path: Path,
    example_audio: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The example as it stands, in a folder of its own."""
    from apache_beam.yaml import main

    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "audio").symlink_to(example_audio)
    monkeypatch.chdir(tmp_path)
    main.run(["--yaml_pipeline_file", str(command.REPOSITORY / "examples" / "embed.yaml")])
    found = manifests.read("demo/from_yaml")
    assert found.complete
    assert found.totals["clips_in"] == sum(path.is_file() for path in example_audio.rglob("*"))
    assert found.totals["written"] > 5
    assert faults(tmp_path / "demo" / "from_yaml") == []
    again = json.dumps(
        {
            "providers": [{"include": str(command.REPOSITORY / "pipeline" / "providers.yaml")}],
            "pipeline": {
                "type": "chain",
                "transforms": [
                    {"type": "ReadEmbeddings", "config": {"pattern": "demo/from_yaml"}},
                    {
                        "type": "WriteEmbeddings",
                        "config": {"directory": "demo/again", "made_with": "demo/from_yaml", "num_shards": 2},
                    },
                ],
            },
        }
    )
    main.run(["--yaml_pipeline", again, "--runner", "FnApiRunner"])
    names = ("from_yaml", "again")
    ours, theirs = (command.shard_bytes(tmp_path / "demo" / name) for name in names)
    assert ours == theirs
