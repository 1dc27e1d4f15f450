"""`pipeline.fad` and `pipeline.duplicates` on a job service: the numbers that one process computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import duplicates, fad
from pipeline.analysis.similar import pairs
from tests import outputs
from tests.engines.conftest import Running


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Two data sets of a few clips in several shards each."""
    for name, first in (("a", 0), ("b", 200)):
        items = [outputs.clip(number) for number in range(first, first + 60)]
        outputs.write(outputs.job(tmp_path / name, 3, embeddings="raw"), items)
    return [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.mark.parametrize("engine", ["jobs-loopback"], indirect=True)
def test_distances_are_the_same_on_a_job_service(engine: Running, sets: list[str], tmp_path: Path) -> None:
    options = ["--bootstrap", "20", "--kad", "200"]

    def found(name: str, *flags: str) -> dict[str, Any]:
        path = tmp_path / f"{name}.json"
        clips = tmp_path / f"{name}.csv"
        assert fad.main([*sets, *options, "--json", str(path), "--per_clip", str(clips), *flags]) == 0
        return {**json.loads(path.read_text())["sets"][0], "clips": clips.read_text()}

    here, there = found("here"), found("there", *engine.flags)
    assert here["fad"] == pytest.approx(there["fad"], rel=1e-9)
    assert here["kernel"]["value"] == pytest.approx(there["kernel"]["value"], rel=1e-9)
    for end in ("low", "high"):
        assert here["interval"][end] == pytest.approx(there["interval"][end], rel=1e-9)
    assert here["clips"] == there["clips"]


@pytest.mark.parametrize("engine", ["jobs-loopback"], indirect=True)
@pytest.mark.parametrize("against", [False, True])
def test_duplicates_are_the_same_on_a_job_service(
    engine: Running, sets: list[str], against: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [sets[0], *(["--against", sets[1]] if against else []), "--threshold", "0.1"]

    def found(name: str, *flags: str) -> tuple[list[dict[str, Any]], list[float], list[str]]:
        path = tmp_path / f"{name}.json"
        assert duplicates.main([*arguments, "--json", str(path), *flags]) == 0
        content = json.loads(path.read_text())
        return content["found"], [each.pop("score") for each in content["found"]], content["notes"]

    here = found("here")
    monkeypatch.setattr(pairs, "ROWS", 40)  # of several blocks
    there = found("there", *engine.flags)
    assert len(here[0]) >= 10
    assert there[1] == pytest.approx(here[1], abs=1e-6)
    assert (there[0], there[2]) == (here[0], here[2])
