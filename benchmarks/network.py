"""Rows of the network: rates of the `Embedder` against a bare session, and distances from a float64 evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Row, interleaved, ratios, row, spent
from benchmarks.reference_model import BareSession, float64_embeddings

RATE, DISTANCE = "embedder", "distance"
WINOGRAD_BAR = 1.5
SEEDS = (1, 2, 3)
SPAN = 300.0
"""Largest over smallest eigenvalue of the PCA: as that of the stand-in weights, for networks as random as they."""
Variables = dict[str, np.ndarray]


def rate_rows(checkpoint: Path, rounds: int, count: int) -> list[Row]:
    """`Embedder.embed` on `count` examples in one call, both kernels, against `Session.run` in batches of 64."""
    from vggish_core.network.model import Embedder

    examples = made_examples(count)
    with BareSession(checkpoint) as bare:
        calls: dict[str, Callable[[np.ndarray], np.ndarray]] = {"bare": bare}
        calls |= {kernel: Embedder(checkpoint, convolutions=kernel).embed for kernel in ("winograd", "direct")}
        walls, cpus = _measured(rounds, calls, examples)
    detail = {f"{name}, examples a second": round(count / min(wall), 1) for name, wall in walls.items()}
    bars = {"winograd": WINOGRAD_BAR, "direct": None}  # it is for GPUs and for comparison
    return [
        row(
            RATE,
            f"Embedder ({kernel}) ÷ bare Session.run, rate over {count:,} examples",
            ratios(walls["bare"], walls[kernel]),
            bar,
            True,
            detail={**detail, "CPU time, bare ÷ this": float(np.median(ratios(cpus["bare"], cpus[kernel])))},
        )
        for kernel, bar in bars.items()
    ]


def distance_rows(folder: Path, count: int, seeds: int, training_steps: int) -> list[Row]:
    """Distance of both kernels from float64 on `count` examples, random checkpoints and one that was trained a while.

    Bytes are those after a PCA fitted to the float64 embeddings of these examples.
    """
    from vggish_core.network.checkpoints import read_variables, write_checkpoint
    from vggish_core.weights import standin

    result = []
    for seed in SEEDS[:seeds]:
        result += _distances(f"weight seed {seed}", dict(standin.variables(seed)), count)
    if training_steps:
        first = folder / "seed-0.ckpt"
        write_checkpoint(first, dict(standin.variables(0)))
        trained = _train(first, folder, training_steps)
        result += _distances(f"trained for {training_steps} steps", read_variables(trained), count)
    return result


def _distances(name: str, variables: Variables, count: int) -> list[Row]:
    from vggish_core.network.model import Embedder
    from vggish_core.network.postprocess import Postprocessor, whitening, write_pca_params
    from vggish_core.network.slim import SlimNetwork

    examples = made_examples(count)
    exact = float64_embeddings(variables, examples)
    plain = SlimNetwork(variables, 64)
    found = {
        "bare": np.concatenate([plain(part) for part in examples.reshape(-1, 64, *examples.shape[1:])]),
        "default": Embedder(variables).embed(examples),
    }
    plain.close()
    rms = {who: float(np.sqrt(np.mean((values - exact) ** 2))) for who, values in found.items()}
    with TemporaryDirectory() as scratch:
        pca = Path(scratch) / "pca.npz"
        write_pca_params(pca, whitening(np.cov(exact, rowvar=False, bias=True), SPAN), exact.mean(axis=0))
        postprocess = Postprocessor(pca).postprocess
        bytes_of = {who: _byte_distance(postprocess(values), postprocess(exact)) for who, values in found.items()}
    differ = {who: int((change > 0).sum()) for who, change in bytes_of.items()}
    detail: dict[str, float | str] = {f"RMS from float64, {who}": f"{value:.3g}" for who, value in rms.items()}
    detail |= {f"bytes that differ, {who}": f"{value} of {exact.size:,}" for who, value in differ.items()}
    title = f"{name}, {count} examples"
    compared: list[tuple[str, float, float, str]] = [
        ("RMS distance from float64, default ÷ bare", rms["default"] / rms["bare"], 1.0, "×"),
        ("bytes that differ from float64's, default − bare", differ["default"] - differ["bare"], 0.0, "bytes"),
        ("largest difference of a byte, default", bytes_of["default"].max(), 1.0, "steps"),
    ]
    rows = [
        row(DISTANCE, f"{what} ({title})", [float(value)], bar, False, unit=unit) for what, value, bar, unit in compared
    ]
    return [replace(rows[0], detail=detail), *rows[1:]]


def _train(checkpoint: Path, folder: Path, steps: int) -> Path:
    """A checkpoint after some steps of `train_demo` on its made classes."""
    from vggish_core import train_demo

    random = np.random.RandomState(0)
    trainer = train_demo.Trainer(str(checkpoint), len(train_demo.SYNTHETIC_CLASSES), True, 1e-4, 0)
    batches: Iterator[train_demo.Batch] = train_demo.synthetic_batches(random)
    losses = [trainer.train(next(batches)) for _ in range(steps)]
    print(f"  trained: loss {losses[0]:.3g} -> {losses[-1]:.3g}")
    path = trainer.save(folder / "trained", train_demo.SYNTHETIC_CLASSES)
    trainer.close()
    return path


def made_examples(count: int) -> np.ndarray:
    """Examples float32 [count, 96, 64] of varied made sounds."""
    from vggish_core.features.synthetic import synthetic_examples

    distinct = synthetic_examples(min(count, 256), seed=5)
    return np.ascontiguousarray(np.resize(distinct, (count, *distinct.shape[1:])))


def _measured(
    rounds: int, calls: dict[str, Callable[[np.ndarray], np.ndarray]], examples: np.ndarray
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds on the clock, and of the processor, of each call in each round."""
    for call in calls.values():
        call(examples[:64])
    costs = interleaved(rounds, {name: partial(spent, partial(call, examples)) for name, call in calls.items()})
    walls = {name: [cost.wall_s for cost in values] for name, values in costs.items()}
    return walls, {name: [cost.cpu_s for cost in values] for name, values in costs.items()}


def _byte_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(np.int16) - b.astype(np.int16))
