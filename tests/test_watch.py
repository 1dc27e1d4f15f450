"""The state of a running job: counters of real runs, read while they run, and the engines' pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.running.counts import Counts
from pipeline.running.engines import graphs, runners, watch


class _Counting(beam.DoFn):
    """Counts as the extracting and embedding steps do."""

    def process(self, seconds: int) -> Iterator[int]:
        Metrics.counter("extract", "clips").inc()
        Metrics.counter("extract", "audio_ms").inc(seconds * 1000)
        Metrics.counter("embed", "examples").inc(seconds)
        if seconds == 3:
            Metrics.counter("extract", "failed_corrupt").inc()
        Metrics.counter("extract", "decode_ms").inc(99)
        yield seconds


def _graph(root: beam.Pipeline) -> Any:
    return root | beam.Create([1, 2, 3]) | beam.ParDo(_Counting())


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["FnApiRunner"], id="in process"),
        pytest.param(["PortableRunner", "--job_endpoint", "embed"], id="job service", marks=pytest.mark.ci),
    ],
)
def test_counters_of_a_job_are_seen(flags: list[str]) -> None:
    seen = watch.Watch(poll_s=0)
    assert seen.stage == "planning"
    engine = runners.Engine(
        flags[0], (*flags[1:], *(["--environment_type", "LOOPBACK"] if flags[1:] else [])), False, 1
    )
    graphs.run(replace(engine, watch=seen), _graph)
    assert seen.stage == "embedding"
    assert seen.counts() == Counts(3, 1, 6, 6.0)


def test_an_engine_without_metrics_is_waited_for() -> None:
    class Result:
        def metrics(self) -> None:
            raise NotImplementedError

    seen = watch.Watch(poll_s=0)
    seen.running(Result())
    assert seen.counts() == Counts()


@pytest.mark.parametrize(
    ("flags", "page"),
    [
        (["--runner=FlinkRunner", "--flink_master=localhost:8081"], "http://localhost:8081/#/job/running"),
        (["--runner=FlinkRunner", "--flink_master=[local]"], ""),
        (
            ["--runner=DataflowRunner", "--project=proj-ect1", "--region=europe-west1"],
            "https://console.cloud.google.com/dataflow/jobs/europe-west1/2026-11-22_01?project=proj-ect1",
        ),
        (["--runner=PrismRunner"], ""),
        (["--runner=FnApiRunner"], ""),
    ],
)
def test_the_page_of_a_job(flags: list[str], page: str) -> None:
    class Result:
        def job_id(self) -> str:
            return "2026-11-22_01"

    assert watch.page_of(Result(), PipelineOptions(flags)) == page
