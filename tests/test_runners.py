"""Which runner a name means, and what its workers get."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipeline.cli.console import messages
from pipeline.errors import FlagError
from pipeline.machine import cores
from pipeline.running.engines import runners


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "FnApiRunner"])
def test_the_direct_runner_is_the_in_process_one(name: str) -> None:
    chosen = runners.choose(name, [])
    assert (chosen.runner, chosen.local, chosen.workers) == ("FnApiRunner", True, 1)
    assert chosen.options().view_as(StandardOptions).runner == "FnApiRunner"
    assert str(chosen) == name  # as messages call it


def test_worker_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "cores", lambda: 8)
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers"]
    assert runners.cores_a_worker(runners.choose("DirectRunner", [*processes, "2"])) == 4
    assert runners.cores_a_worker(runners.choose("DirectRunner", [*processes, "0"])) == 1
    assert runners.cores_a_worker(runners.choose("DirectRunner", ["--direct_num_workers", "2"])) == 8


def test_other_runners_keep_their_name_and_flags() -> None:
    chosen = runners.choose("PrismRunner", ["--prism_location", "prism"])
    assert (chosen.runner, chosen.local) == ("PrismRunner", False)
    assert chosen.options().get_all_options()["prism_location"] == "prism"
    assert chosen.options().view_as(DirectOptions).direct_num_workers == 1


def test_a_runner_beam_does_not_have_is_refused() -> None:
    with pytest.raises(FlagError, match=r"'FlinkRuner'.*FlinkRunner"):
        runners.choose("FlinkRuner", [])


def test_errors_of_steps_are_reported_without_the_engines_words() -> None:
    said = "a: no space. Make some."
    assert runners.message_of(OSError(f"{said} [while running 'Write/Shard']")) == said
    text = f'Traceback (most recent call last):\n  File "x.py", line 1\npipeline.output.layout.OutputError: {said}'
    assert runners.message_of(RuntimeError(text + " [while running 'W']\n")) == said
    assert runners.message_of(KeyError()) == "KeyError"


def test_portable_engines_get_what_suits_them() -> None:
    def chosen(runner: str, *flags: str) -> tuple[str, int]:
        engine = runners.choose(runner, flags)
        return engine.environment, runners.cores_a_worker(engine)

    here = cores()
    assert chosen("DirectRunner") == ("", here)
    assert chosen("PrismRunner", "--prism_location", "p") == ("LOOPBACK", here)
    assert chosen("PortableRunner", "--job_endpoint", "localhost:8099") == ("LOOPBACK", here)
    assert chosen("PortableRunner", "--job_endpoint", "far.example:8099") == ("DOCKER", 0)
    assert chosen("FlinkRunner") == ("LOOPBACK", here)
    assert chosen("FlinkRunner", "--flink_master", "far.example:8081") == ("DOCKER", 0)
    assert chosen("FlinkRunner", "--environment_type", "EXTERNAL") == ("EXTERNAL", 0)
    assert chosen("DataflowRunner") == ("", 0)


def test_dataflow_gets_one_worker_process_a_machine_unless_asked_otherwise() -> None:
    assert runners.choose("DataflowRunner", []).arguments == ("--experiments", runners.ONE_PROCESS)
    given = ("--experiments", "use_multiple_sdk_containers")
    assert runners.choose("DataflowRunner", given).arguments == given


def test_what_was_chosen_is_reported_in_a_line() -> None:
    prism = runners.choose("PrismRunner", ["--prism_location", "p"])
    assert prism.announced(2, 4, 120.0) == (
        "PrismRunner (LOOPBACK): one process with 2 decoders, 4 threads and one model; finished rows are kept "
        "at least every 120 s"
    )
    flink = runners.choose("FlinkRunner", ["--environment_type", "EXTERNAL"])
    assert flink.announced(0, 0, 120.0) == (
        "FlinkRunner (EXTERNAL): each process with as many decoders, as many threads as it has cores and one model; "
        "finished rows are kept at least every 120 s"
    )


def test_a_lost_worker_is_reported_with_what_to_do() -> None:
    error = runners.WorkerLostError("PrismRunner", "SDK worker disconnected")
    assert messages.parts(error) == (error.found, error.remedy)
    assert "Run the same command again" in error.remedy
