"""The whole graph in Beam's in-process runner: its counters and distributions, by the names of `pipeline.counters`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline import counters as counters_of_ours
from pipeline.corpus import plan_file, units
from pipeline.embedding import embed
from pipeline.output import commit, resume
from pipeline.running import transforms
from pipeline.running.engines import graphs, runners
from pipeline.running.job import row_place
from pipeline.types import Clip, Failure
from tests import interrupted_run, outputs

NAMESPACES = {named.namespace for named in counters_of_ours.ALL}


def metrics_of(result: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """A finished run -> counters and distributions by "namespace/name"."""
    found = result.metrics().query()
    named = [
        {f"{m.key.metric.namespace}/{m.key.metric.name}": m.committed for m in found[kind]}
        for kind in ("counters", "distributions")
    ]
    return named[0], named[1]


def test_metrics_are_beams_own_and_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, value in interrupted_run.replacements(lambda line: None):
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr(embed, "_workers", {})
    rng = np.random.default_rng(0)
    clips = []
    for name, seconds in (("two", 2), ("ten", 10), ("hundred", 100), ("short", 0.5)):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, round(seconds * 16000)), 16000)
        clips.append(Clip(name, str(tmp_path / f"{name}.wav")))
    clips.append(Clip("gone", str(tmp_path / "gone.wav")))
    job = outputs.job(tmp_path / "out", num_shards=2)
    opened = resume.start(job.output.directory, job)
    listed = Failure(Clip("listed", ""), "plan", "no_audio", "a row without audio")
    made = units.units(clips, 2, job.decoding.segment_seconds, job.front_end.hop_frames)
    parts = plan_file.write(str(tmp_path / "plan"), [*made, listed])
    engine, attempt = runners.choose("DirectRunner", []), commit.attempt_name(opened.manifest)
    place, end = row_place(job, engine, 60.0), transforms.Commit(6, "")
    result = graphs.run(engine, lambda root: transforms.build(root, parts, job, attempt, place, end))
    counters, distributions = metrics_of(result)
    assert counters.pop("extract/decode_ms") > 0
    batches = counters.pop("embed/batches")
    assert counters.pop("rows/parts") > 0
    assert {name: count for name, count in counters.items() if name.split("/")[0] in ("extract", "embed")} == {
        "extract/clips": 5,
        "extract/examples": 2 + 10 + 104,
        "extract/audio_ms": 112_000,
        "extract/failed_missing": 1,
        "extract/skipped_too_short": 1,
        "embed/examples": 2 + 10 + 104,
    }
    fill = distributions["embed/batch_fill"]
    assert (fill.sum, fill.count) == (116, batches)
    assert fill.max <= 64
    assert distributions["embed/inference_ms"].count == batches
    known = {"/".join(named.key) for named in counters_of_ours.ALL}
    for name in (*counters, *distributions):
        if name.split("/")[0] in NAMESPACES:
            assert re.sub("_(missing|too_short)$", "_REASON", name) in known
    assert {named.kind for named in counters_of_ours.ALL if "/".join(named.key) in distributions} == {"distribution"}
