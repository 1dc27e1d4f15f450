"""The command's flags among Beam's options: the same names, values and defaults."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.cli import options
from pipeline.cli.beam.options import BEAMS, VggishOptions, shown

GIVEN = ["--input", "gs://a/**", "gs://b/**", "--output", "gs://b/out", "--hop_seconds", "0.5", "--task", "1/3"]


def test_beam_knows_every_flag_of_the_command() -> None:
    found = PipelineOptions([*GIVEN, "--project", "proj-ect1"]).get_all_options()
    flags, _ = options.parser().parse_known_args(GIVEN)
    ours = {name: value for name, value in vars(flags).items() if f"--{name}" not in BEAMS and name != "version"}
    assert {name: found[name] for name in ours} == ours
    assert found["project"] == "proj-ect1"
    view = PipelineOptions(GIVEN).view_as(VggishOptions)
    assert (view.hop_seconds, view.input, view.short_clips) == (0.5, ["gs://a/**", "gs://b/**"], "skip")


def test_engines_are_told_what_was_given() -> None:
    flags, _ = options.parse([*GIVEN, "--runner", "DataflowRunner", "--verbose"])
    arguments = shown(flags)
    assert arguments == ["--input=gs://a/**", "--input=gs://b/**", "--output=gs://b/out", "--hop_seconds=0.5"]
    found = PipelineOptions(arguments).to_runner_api()
    assert found["beam:option:hop_seconds:v1"] == "0.5"
    assert list(found["beam:option:input:v1"]) == ["gs://a/**", "gs://b/**"]
    assert "beam:option:short_clips:v1" not in found  # a default
