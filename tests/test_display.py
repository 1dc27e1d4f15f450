"""What an engine's page shows of our steps: the settings that decide what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as protos

from pipeline import EmbedAudio, LogMelExamples
from tests.test_graph import job_pipeline
from vggish_core import weights


def shown(pipeline: beam.Pipeline) -> dict[str, dict[str, Any]]:
    """A constructed pipeline -> its composites' display data, by name, as engines get them."""
    found = {}
    for transform in pipeline.to_runner_api().components.transforms.values():
        payloads = [protos.LabelledPayload.FromString(item.payload) for item in transform.display_data]
        found[transform.unique_name] = {
            payload.key: getattr(payload, payload.WhichOneof("value")) for payload in payloads
        }
    return found


def test_the_steps_of_a_job_say_what_decides_its_bytes() -> None:
    steps = shown(job_pipeline())
    assert steps["ExtractExamples"] == {"hop_seconds": 0.96, "short_clips": "skip", "damaged": "fail"}
    model = steps["EmbedExamples"]
    assert {"checkpoint", "checkpoint_sha256", "pca", "pca_sha256"} <= set(model)
    assert (model["convolutions"], model["embeddings"], model["batch_size"]) == ("winograd", "quantized", 64)
    assert steps["WriteShards"]["shards"] == 3
    assert steps["WriteShards"]["record_format"] == "audioset"
    assert steps["CommitShards"]["clips"] == 2


@pytest.mark.usefixtures("standin_weights")
def test_steps_in_other_pipelines_show_their_weights() -> None:
    root = beam.Pipeline("FnApiRunner")
    audio = root | beam.Create([str(Path("a.wav"))])
    audio | EmbedAudio("standin", "standin", hop_seconds=0.5, max_duration_seconds=60)
    audio | "raw" >> EmbedAudio("standin", "standin", embeddings="raw")
    audio | LogMelExamples(damaged="keep")
    steps = shown(root)
    quantized, raw, examples = steps["EmbedAudio"], steps["raw"], steps["LogMelExamples"]
    checkpoint, pca = (weights.resolve("standin", kind).sha256 for kind in ("checkpoint", "pca_params"))
    assert (quantized["checkpoint_sha256"], quantized["pca_sha256"]) == (checkpoint, pca)
    assert "standin" in quantized["checkpoint"] or "stand-in" in quantized["checkpoint"]
    assert (quantized["hop_seconds"], quantized["max_duration_seconds"]) == (0.5, 60)
    assert raw["checkpoint_sha256"] == checkpoint
    assert "pca_sha256" not in raw
    assert examples["damaged"] == "keep"
