"""The flex template's parameters: what Dataflow is told of them, and what becomes of the values that it gives."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.cli import options
from pipeline.cli.beam import flex_template
from pipeline.errors import FlagError

WRITTEN = "--template_location=gs://b/job_object"


def test_dataflow_knows_every_field() -> None:
    dataflow = pytest.importorskip("google.cloud.dataflow_v1beta3")
    text = json.dumps(flex_template.metadata())
    told = dataflow.TemplateMetadata.from_json(text, ignore_unknown_fields=False)
    assert [each.name for each in told.parameters if not each.is_optional] == ["output"]
    assert len({each.name for each in told.parameters}) == len(told.parameters) > 25


def test_a_parameter_is_a_flag_and_its_default_the_flags() -> None:
    parser = options.parser()
    defaults = vars(parser.parse_known_args([])[0])
    for each in flex_template.metadata()["parameters"]:
        name, default = each["name"], each.get("defaultValue")
        assert name in defaults
        if default is None:
            assert not defaults[name]
            continue
        assert flex_template.arguments([f"--{name}={default}", WRITTEN])[0] == f"--{name}={default}"
        assert vars(parser.parse_known_args([f"--{name}={default}"])[0])[name] == defaults[name]
        if "enumOptions" in each:
            assert default in [option["value"] for option in each["enumOptions"]]
        assert all(re.match(regex, default) for regex in each.get("regexes", ()))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--overwrite=true", ["--overwrite"]),
        ("--overwrite=False", []),
        ("--overwrite=", []),
        ("--manifest=", []),
        ("--manifest=gs://b/a=b.csv", ["--manifest=gs://b/a=b.csv"]),
        ("--input=gs://b/a, b/**", ["--input=gs://b/a, b/**"]),
        ('--input=["gs://b/a/**", "gs://b/c/**"]', ["--input=gs://b/a/**", "--input=gs://b/c/**"]),
        ("--exclude=[ab]*.wav", ["--exclude=[ab]*.wav"]),
        ("--exclude=[1]", ["--exclude=[1]"]),
        ('--labels={\n "a": "b"\n}', ['--labels={\n "a": "b"\n}']),
        ("--gcs_anonymous", ["--gcs_anonymous"]),
    ],
)
def test_values_are_texts(given: str, meant: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(flex_template.IMAGE, raising=False)
    assert flex_template.arguments([given, WRITTEN]) == [*meant, WRITTEN, "--progress=off"]


def test_what_is_no_truth_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FlagError, match="retry_failed: 'maybe' is neither true nor false"):
        flex_template.arguments(["--retry_failed=maybe"])
    assert flex_template.main(["--retry_failed=maybe"]) == 2
    assert "Write retry_failed=true, or leave it out" in capsys.readouterr().err


def test_workers_run_the_image_that_the_launcher_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(flex_template.IMAGE, "a/b:1")
    image = ["--sdk_container_image=a/b:1", "--sdk_location=container"]
    assert flex_template.arguments([WRITTEN]) == [WRITTEN, *image, "--progress=off"]
    other = "--sdk_container_image=c"
    assert flex_template.arguments([WRITTEN, other]) == [WRITTEN, other, "--progress=off"]


def test_nobody_waits_for_a_job_that_is_started_without_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(flex_template.IMAGE, raising=False)
    assert flex_template.arguments(["--output=gs://b/out"]) == ["--output=gs://b/out", "--no_wait", "--progress=off"]
