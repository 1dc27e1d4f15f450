"""Which runner a name means, and what its workers get."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipeline import engine
from pipeline.flags import FlagError


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "FnApiRunner"])
def test_the_direct_runner_is_the_in_process_one(name: str) -> None:
    chosen = engine.choose(name, [])
    assert (chosen.runner, chosen.local, chosen.workers) == ("FnApiRunner", True, 1)
    assert chosen.options().view_as(StandardOptions).runner == "FnApiRunner"


def test_worker_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cores", lambda: 8)
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers"]
    assert engine.cores_a_worker(engine.choose("DirectRunner", [*processes, "2"])) == 4
    assert engine.cores_a_worker(engine.choose("DirectRunner", [*processes, "0"])) == 1
    assert engine.cores_a_worker(engine.choose("DirectRunner", ["--direct_num_workers", "2"])) == 8


def test_other_runners_keep_their_name_and_flags() -> None:
    chosen = engine.choose("PrismRunner", ["--prism_location", "prism"])
    assert (chosen.runner, chosen.local) == ("PrismRunner", False)
    assert chosen.options().get_all_options()["prism_location"] == "prism"
    assert chosen.options().view_as(DirectOptions).direct_num_workers == 1


def test_a_runner_beam_does_not_have_is_refused() -> None:
    with pytest.raises(FlagError, match=r"'FlinkRuner'.*FlinkRunner"):
        engine.choose("FlinkRuner", [])


def test_errors_of_steps_are_told_without_the_engines_words() -> None:
    said = "a: no space. Make some."
    assert engine.told(OSError(f"{said} [while running 'Write/Shard']")) == said
    text = f'Traceback (most recent call last):\n  File "x.py", line 1\npipeline.layout.OutputError: {said}'
    assert engine.told(RuntimeError(text + " [while running 'W']\n")) == said
    assert engine.told(KeyError()) == "KeyError"
