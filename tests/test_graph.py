"""The graph as runners see it, and what a real run of it encodes; and that graphs which would cost dearly are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.portability.common_urns import resource_hints

import pipeline
from pipeline.analysis import moments, sums
from pipeline.checking import transforms as checking
from pipeline.checking.checks import Rules
from pipeline.corpus import plan, plan_file, units
from pipeline.embedding import embed, models
from pipeline.output import commit, resume
from pipeline.output.journal.writer import RowPlace
from pipeline.running import transforms
from pipeline.running.coders import Local, Travelling
from pipeline.running.engines import graphs, hints, runners, template
from pipeline.running.steps import WriteRowsDoFn
from pipeline.settings import Job
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Failure, Removal, RowsRef, StagedShard, UnitRef
from tests import graph, outputs

Build = Callable[..., Any]
OUTLINE = [
    ("impulse", ("Start",)),
    ("stage", ("Parts of the plan",)),
    ("reshuffle", ("Shuffle parts",)),
    ("stage", ("Read the plan",)),
    ("reshuffle", ("ExtractExamples/Shuffle headers",)),
    ("stage", ("ExtractExamples/Split long",)),
    ("reshuffle", ("ExtractExamples/Shuffle units",)),
    ("stage", ("ExtractExamples/Extract", "EmbedExamples/Embed", "Write rows", "WriteShards/Key by shard")),
    ("group by key", ("WriteShards/Group by shard",)),
    ("stage", ("WriteShards/Write shard", "CommitShards/All together")),
    ("group by key", ("CommitShards/Group all",)),
    ("stage", ("CommitShards/Commit",)),
]
"""Users see these names in their engine's pages, and engines match them when a job is updated: they stay."""


def job_pipeline(
    build: Build = transforms.build, flags: tuple[str, ...] = (), runner: str = "DirectRunner"
) -> beam.Pipeline:
    """The pipeline that a job constructs, as the command does it."""
    engine = runners.choose(runner, flags)
    pipeline = beam.Pipeline(options=engine.options(hints.of(engine)))
    build(pipeline, ["plan/part-0.jsonl", "plan/part-1.jsonl"], outputs.job("out"), "attempt", place("out"), END)
    return pipeline


END = transforms.Commit(2, "token")


def place(directory: str | Path) -> RowPlace:
    return RowPlace(str(directory), "f" * 64, 3, 60.0)


def test_only_stages_that_every_runner_knows_are_left() -> None:
    root = job_pipeline()
    assert graph.lower(root).outline() == OUTLINE
    assert graph.faults(root) == []


DATAFLOW = (
    "--project", "proj-ect1", "--region", "us-central1", "--temp_location", "gs://bucket/tmp",
    "--staging_location", "gs://bucket/staging", "--sdk_location", "container", "--dry_run", "True",
)  # fmt: skip
FLEXRS = ("--flexrs_goal", "COST_OPTIMIZED")
GPU = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
SMALL_GPU = "accelerator=type:nvidia-l4;count:1"
NONE = "Resource hints: none, because of FlexRS or a GPU."
URNS = {"min_ram": resource_hints.MIN_RAM_BYTES.urn, "accelerator": resource_hints.ACCELERATOR.urn}


@pytest.mark.parametrize(
    ("runner", "flags", "asked", "said"),
    [
        ("DirectRunner", (), {}, ""),
        ("FlinkRunner", (), {}, ""),
        ("FlinkRunner", ("--resource_hint", "min_ram=16GB"), {"min_ram": b"16000000000"}, ""),
        ("DataflowRunner", (), {"min_ram": b"4000000000"}, "Resource hints: min_ram=4GB."),
        ("DataflowRunner", FLEXRS, {}, NONE),
        pytest.param("DataflowRunner", ("--dataflow_service_options", GPU), {}, NONE, marks=pytest.mark.ci),
        pytest.param("DataflowRunner", ("--experiments", GPU), {}, NONE, marks=pytest.mark.ci),
        (
            "DataflowRunner",
            ("--resource_hint", "min_ram=16GB"),
            {"min_ram": b"16000000000"},
            "Resource hints: min_ram=16GB, as given.",
        ),
        pytest.param(
            "DataflowRunner",
            (*FLEXRS, "--resource_hint", SMALL_GPU),
            {"accelerator": b"type:nvidia-l4;count:1"},
            f"Resource hints: {SMALL_GPU}, as given.",
            marks=pytest.mark.ci,
        ),
    ],
)
def test_memory_is_asked_for_where_hints_do_no_harm(
    runner: str, flags: tuple[str, ...], asked: dict[str, bytes], said: str
) -> None:
    """By every step alike, in what is handed to the engine; Dataflow's is the job that a dry run builds."""
    if runner == "DataflowRunner":
        flags = (*DATAFLOW, *flags)
        engine = runners.choose(runner, flags)
        built = template._construct(outputs.job("gs://bucket/out"), engine, ["gs://bucket/plan"], "attempt", END)
        proto = built.job.proto_pipeline
    else:
        proto = job_pipeline(flags=flags, runner=runner).to_runner_api()
    used = {t.environment_id for t in proto.components.transforms.values() if not t.subtransforms} - {""}
    found = [dict(proto.components.environments[name].resource_hints) for name in used]
    assert found == [{URNS[name]: value for name, value in asked.items()}]
    assert hints.announced(runners.choose(runner, flags)) == said


SEEN = beam.DoFn.StateParam(beam.transforms.userstate.BagStateSpec("seen", beam.coders.BytesCoder()))


class _Stateful(beam.DoFn):
    def process(self, element: Any, seen: Any = SEEN) -> Any:
        yield element[1]


def shuffled_examples(root: Any, parts: Any, job: Job, attempt: str, rows: RowPlace, end: transforms.Commit) -> Any:
    """The graph with its first shuffle where examples cross it."""
    return (
        root
        | beam.Impulse()
        | beam.FlatMap(transforms.parts_of, list(parts)).with_output_types(str)
        | beam.FlatMap(plan_file.read).with_output_types(Travelling)
        | "Extract" >> beam.ParDo(transforms.ExtractDoFn(job.front_end, job.decoding)).with_output_types(Local)
        | "Shuffle" >> beam.Reshuffle()
        | transforms.EmbedExamples(job.model)
        | "Write rows" >> beam.ParDo(WriteRowsDoFn(rows)).with_output_types(Travelling)
        | transforms.WriteShards(job.output, attempt)
        | transforms.CommitShards(job.output, end)
    )


def hinted_network(root: Any, parts: Any, job: Job, attempt: str, rows: RowPlace, end: transforms.Commit) -> Any:
    """The graph with a hint on the network's step alone."""
    embed_examples = transforms.EmbedExamples(job.model).with_resource_hints(min_ram="16GB")
    return (
        root
        | beam.Create(list(parts))
        | beam.FlatMap(plan_file.read).with_output_types(Travelling)
        | transforms.ExtractExamples(job.front_end, job.decoding)
        | embed_examples
        | "Write rows" >> beam.ParDo(WriteRowsDoFn(rows)).with_output_types(Travelling)
        | transforms.WriteShards(job.output, attempt)
    )


def with_more(step: Callable[[Any], Any]) -> Build:
    """The graph and something that hangs on its end."""

    def build(root: Any, *arguments: Any) -> None:
        step(transforms.build(root, *arguments))

    return build


def side_input(staged: Any) -> Any:
    return staged | "Compare" >> beam.Map(lambda one, every: one, beam.pvalue.AsList(staged))


def state(staged: Any) -> Any:
    keyed = staged | beam.Map(lambda one: (b"", one)).with_output_types(tuple[bytes, Any])
    return keyed | "Remember" >> beam.ParDo(_Stateful())


def exceptions_handled(staged: Any) -> Any:
    return staged | "Check" >> beam.Map(lambda one: one).with_exception_handling()


def pickled_keys(staged: Any) -> Any:
    pairs = staged | beam.Map(lambda one: (one, 1)).with_output_types(tuple[Any, int])
    return pairs | "By anything" >> beam.GroupByKey()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (shuffled_examples, "Shuffle is given"),
        (hinted_network, "examples cross from"),
        (hinted_network, "2 environments"),
        (with_more(side_input), "a side input in ('Compare'"),
        (with_more(state), "state or timers in"),
        (with_more(exceptions_handled), "Check handles exceptions"),
        (with_more(pickled_keys), "keys of By anything"),
        (with_more(pickled_keys), "is pickled by Deterministic"),
    ],
    ids=["examples shuffled", "hint on a step", "environments", "side input", "state", "exceptions", "keys", "pickle"],
)
def test_a_graph_that_some_engine_would_not_run_is_reported(build: Build, said: str) -> None:
    found = graph.faults(job_pipeline(build))
    assert any(said in fault for fault in found), found


def task(root: Any) -> Any:
    return transforms.build(root, ["plan/part-0.jsonl"], outputs.job("out"), "attempt", place("out"), None)


def embed_audio(root: Any) -> Any:
    return root | beam.Create(["a.wav"]) | pipeline.EmbedAudio("standin", "standin")


def write_embeddings(root: Any) -> Any:
    step = pipeline.EmbedAudio("standin", "standin")
    return root | beam.Create(["a.wav"]) | step | pipeline.WriteEmbeddings("out", step, num_shards=2)


def verifying(root: Any) -> Any:
    return checking.build(root, [("a.tfrecord", Rules()), ("b.tfrecord", Rules())], "reports")


def summing(root: Any) -> Any:
    """As `fit_pca` and `fad` do."""
    return sums.build(root, [("a.tfrecord", None)], lambda file: iter(()), moments.nothing(), "sums")


@pytest.mark.parametrize(
    "build",
    [
        task,
        embed_audio,
        lambda root: root | beam.Create(["a.wav"]) | pipeline.LogMelExamples(),
        lambda root: root | pipeline.ReadEmbeddings("out"),
        write_embeddings,
        verifying,
        summing,
    ],
    ids=["task", "EmbedAudio", "LogMelExamples", "ReadEmbeddings", "WriteEmbeddings", "verify", "fit_pca, fad"],
)
@pytest.mark.usefixtures("standin_weights")
def test_no_element_of_ours_is_pickled(build: Callable[[Any], Any]) -> None:
    root = beam.Pipeline()
    build(root)
    assert list(graph.pickled(graph.lower(root))) == []


def floats(examples: np.ndarray) -> np.ndarray:
    """Examples [k, 96, 64] -> float32 [k, 128], as large as the network's raw embeddings."""
    return examples.reshape(len(examples), 128, 48).sum(axis=2)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Build], graph.Sizes]:
    """A function that runs a graph on clips whose elements are as large as they come, and gives what was encoded."""
    monkeypatch.setattr(models, "load", lambda model, check=False: models.finished(floats))
    monkeypatch.setattr(embed, "_workers", {})
    folder = tmp_path.joinpath(*("a long name of a folder " * 8 for _ in range(4)))
    folder.mkdir(parents=True)
    long = str(folder / "long.wav")
    soundfile.write(long, np.random.default_rng(0).normal(0, 0.1, 300 * 16000), 16000)
    cuts = [
        Clip(
            f"{'an id as long as they come ' * 8}{n}", long, n, n + 1, tuple(range(50)), cut=True, size_bytes=9_600_044
        )
        for n in range(2 * plan.CLIPS_OF_A_READING)
    ]
    clips = [Clip("whole", long), *cuts, Clip("gone", str(folder / "gone.wav"))]
    listed = Failure(Clip("listed", ""), "plan", "no_audio", "a row without audio")

    def run(build: Build) -> graph.Sizes:
        job = outputs.job(tmp_path / "out", num_shards=2, embeddings="raw")
        opened = resume.start(job.output.directory, job)
        made = units.units(clips, 2, job.decoding.segment_seconds, job.front_end.hop_frames)
        items = [*made, listed, Removal(Clip("dropped", ""))]
        parts = plan_file.write(str(tmp_path / "plan"), items)
        engine = runners.choose("DirectRunner", [])
        attempt = commit.attempt_name(opened.manifest)
        with graph.encoded_sizes() as sizes:
            rows, end = place(tmp_path / "out"), transforms.Commit(len(clips) + 1, "")
            graphs.run(engine, lambda root: build(root, parts, job, attempt, rows, end))
        return sizes

    return run


def test_no_large_element_crosses_a_shuffle(measured: Callable[[Build], graph.Sizes]) -> None:
    sizes = measured(transforms.build)
    assert set(sizes) == {UnitRef, DecodeRequest, Failure, Removal, RowsRef, StagedShard}
    assert max(sizes[DecodeRequest]) > 20_000  # as many segments as a request has, of a recording that seeks
    assert max(sizes[UnitRef]) < 2_000
    assert graph.oversized(sizes) == []


def test_every_stage_that_reads_files_has_a_shuffle_of_its_own() -> None:
    """Parts of the plan, headers and units are read by as many workers as there are."""
    stages = [steps for kind, steps in OUTLINE if kind == "stage"]
    for reading in ("Read the plan", "ExtractExamples/Split long", "ExtractExamples/Extract"):
        (stage,) = (steps for steps in stages if reading in steps)
        assert stage[0] == reading


def test_examples_that_cross_a_shuffle_are_found_by_a_run_too(measured: Callable[[Build], graph.Sizes]) -> None:
    sizes = measured(shuffled_examples)
    assert max(sizes[ExampleBlock]) > 96 * 64 * 4
    assert "ExampleBlock crossed a shuffle" in graph.oversized(sizes)
