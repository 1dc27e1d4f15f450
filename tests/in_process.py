"""The command within the test's own process, with digests of examples in place of VGGish. Not a test itself.

Everything else is the pipeline as it is: flags, lists, decoder processes, Beam's runner, shards, the commit. An example
that differs in one bit has another digest, so that equal outputs show equal examples more strictly than VGGish's eight
bits would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline import run
from pipeline.embedding import models
from pipeline.settings import Model
from tests.command import STANDIN, Done

Embed = Callable[..., Done]
"""(output, flags...) -> the finished command."""


def digests(examples: np.ndarray) -> np.ndarray:
    """Examples float32 [k, 96, 64] -> uint8 [k, 128]."""
    rows = [hashlib.sha512(example.tobytes()).digest() for example in np.ascontiguousarray(examples)]
    return np.array([list(row + row[::-1]) for row in rows], np.uint8)


def _resolved(model: Model) -> Model:
    return model


def _load(model: Model, check: bool = False) -> models.EmbedFunction:
    return models.finished(digests)


CHEAP_NETWORK = {"resolve_checkpoint": _resolved, "resolve_pca": _resolved, "load": _load}
"""Replacements for functions of `pipeline.embedding.models`."""


@pytest.fixture(scope="module")
def decoders_stay() -> Iterator[None]:
    """The runs of a module share decoder processes, which take half of a small run's time to start."""
    from pipeline.decoding import decoders

    with decoders.kept():
        yield


@pytest.fixture
def embed_here(decoders_stay: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Embed:
    """The command as a function; it writes no report unless asked to."""
    for name, function in CHEAP_NETWORK.items():
        monkeypatch.setattr(models, name, function)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})

    def embed(output: Path, *flags: str | Path) -> Done:
        capfd.readouterr()
        status = run.main(["--output", str(output), *STANDIN, "--progress", "off", "--report", "off", *map(str, flags)])
        return Done(status, *capfd.readouterr())

    return embed


@pytest.fixture
def summed_examples(decoders_stay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run.main` in this process with the network of `interrupted_run`, for tests that call it by themselves."""
    from tests import interrupted_run  # imports all of the pipeline

    for owner, name, value in interrupted_run.replacements(lambda line: None):
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr("pipeline.embedding.embed._workers", {})
