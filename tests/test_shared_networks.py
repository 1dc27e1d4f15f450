"""How often a network is loaded: once for all steps of a process that use it, whatever they make of its values."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from pipeline import EmbedAudio
from pipeline.embedding import embed, models
from pipeline.settings import Model
from vggish_core import weights

FIRST = Model(checkpoint="a", checkpoint_sha256="1" * 64, pca_sha256="2" * 64, threads=1)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checkpoints of the networks that are loaded from here on; a network adds up examples."""
    found: list[str] = []

    def load_network(model: Model, check: bool = False) -> Callable[[np.ndarray], np.ndarray]:
        found.append(model.checkpoint)
        return lambda examples: np.repeat(examples.sum(axis=(1, 2))[:, None] + len(model.checkpoint), 128, axis=1)

    monkeypatch.setattr(models, "load_network", load_network)
    monkeypatch.setattr(models, "resolve_checkpoint", lambda model: replace(model, checkpoint_sha256=model.checkpoint))
    for module, name in ((embed, "_workers"), (models, "_networks")):
        monkeypatch.setattr(module, name, type(getattr(module, name))())
    monkeypatch.setattr(embed, "_latest", None)
    return found


@pytest.fixture
def clip(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    return str(tmp_path / "clip.wav")


@pytest.mark.usefixtures("standin_weights")
def test_models_with_one_network_share_it(loads: list[str]) -> None:
    standin = weights.resolve("standin", "pca_params")
    pca = replace(FIRST, pca_params="standin", pca_sha256=standin.sha256)
    same = [
        replace(FIRST, embeddings="raw"),
        pca,
        replace(pca, embeddings="pca"),
        replace(FIRST, embeddings="raw", threads=2),
        replace(FIRST, checkpoint="another path of the same file", embeddings="raw"),
    ]
    held = [embed.shared_worker(model) for model in same]
    assert loads == ["a"]
    assert len({id(worker) for worker in held}) == len(same)
    kinds = [worker.embed(np.ones((1, 96, 64), np.float32))[0].dtype.name for worker in held]
    assert kinds == ["float32", "uint8", "float32", "float32", "float32"]
    other = [replace(FIRST, **change) for change in ({"checkpoint_sha256": "3" * 64}, {"convolutions": "direct"})]
    held += [embed.shared_worker(replace(model, embeddings="raw")) for model in other]
    assert loads == ["a", "a", "a"]


def test_a_network_is_kept_while_it_is_held_and_the_last_one_beyond(loads: list[str]) -> None:
    one, two = (replace(FIRST, checkpoint_sha256=sha256, embeddings="raw") for sha256 in ("1", "2"))
    embed.shared_worker(one)
    embed.shared_worker(one)
    held = embed.shared_worker(one)
    embed.shared_worker(two)
    embed.shared_worker(one)
    assert len(loads) == 2
    del held
    gc.collect()
    embed.shared_worker(two)  # nobody held it
    embed.shared_worker(two)
    gc.collect()
    embed.shared_worker(one)
    assert len(loads) == 4


@pytest.mark.usefixtures("decoders_stay")
@pytest.mark.parametrize(("checkpoints", "expected"), [(("a", "a"), ["a"]), (("a", "bb"), ["a", "bb"])])
def test_steps_of_one_stage_load_each_network_once(
    loads: list[str], clip: str, checkpoints: tuple[str, str], expected: list[str]
) -> None:
    """Two steps on the same audio, of which one has more threads."""
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        audio = root | beam.Create([clip] * 3)
        for number, checkpoint in enumerate(checkpoints, 1):
            step = EmbedAudio(checkpoint, embeddings="raw", threads=number, decoders=1, reshuffle=False)
            result = audio | f"step {number}" >> step
            count = result.embeddings | f"count {number}" >> beam.combiners.Count.Globally()
            assert_that(count, equal_to([3]), f"all of {number}")
    assert sorted(loads) == expected


@pytest.mark.usefixtures("loads")
def test_what_waits_for_a_network_is_dropped_and_the_next_run_has_another() -> None:
    model = replace(FIRST, embeddings="raw")
    worker = embed.shared_worker(model)
    examples, begun, goes_on = np.ones((1, 96, 64), np.float32), Event(), Event()
    compute = worker.embed

    def held(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        begun.set()
        goes_on.wait(60)
        return compute(batch)

    worker.embed = held
    at_work = worker.submit(examples)
    assert begun.wait(60)
    waiting = [worker.submit(examples) for _ in range(3)]
    embed.drop_waiting()
    assert all(future.cancelled() for future in waiting)
    goes_on.set()
    assert at_work.result(60).finite.all()  # what had begun ends
    assert embed.shared_worker(model).submit(examples).result(60).finite.all()
