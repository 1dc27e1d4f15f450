"""`pipeline.fad` on a job service: the numbers that one process computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import fad
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
