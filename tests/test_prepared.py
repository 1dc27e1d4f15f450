from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.embedding import models
from pipeline.settings import Model
from vggish_core import weights
from vggish_core.network import prepared
from vggish_core.network.winograd import Factors, WinogradNetwork
from vggish_core.weights import standin


@pytest.fixture(scope="module")
def checkpoint(standin_weights: Path) -> weights.Weights:
    return weights.resolve(standin_weights / standin.CHECKPOINT_FILE, "checkpoint")


@pytest.fixture(scope="module")
def kept(checkpoint: weights.Weights) -> Factors:
    return prepared.factors(checkpoint.path, checkpoint.sha256)


@pytest.mark.ci
def test_factors_are_those_of_the_checkpoint(kept: Factors, checkpoint: weights.Weights):
    assert prepared.is_known(checkpoint.sha256)
    network = WinogradNetwork(dict(standin.variables()), threads=1)
    for kind in ("weights", "biases"):
        made, found = getattr(network.factors, kind), getattr(kept, kind)
        assert list(made) == list(found)
        for name in made:
            np.testing.assert_array_equal(made[name], found[name])
            assert found[name].ctypes.data % 64 == 0
    examples = np.random.default_rng(0).standard_normal((3, 96, 64)).astype(np.float32)
    np.testing.assert_array_equal(WinogradNetwork(kept, threads=1)(examples), network(examples))


def test_a_second_start_needs_no_tensorflow(kept: Factors):
    code = (
        "import sys; from pipeline.embedding import models; from pipeline.settings import Model;"
        "m = models.resolve_checkpoint(Model('standin', '', embeddings='raw')); models.load(m, check=True);"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("damage", ["bit", "short", "index", "gone"])
def test_damage_is_noticed(tmp_path: Path, damage: str):
    made = Factors({"conv1": np.arange(100, dtype=np.float32)}, {"conv1": np.ones(7, np.float32)})
    prepared.write(tmp_path, made)
    found = prepared._mapped(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found.weights["conv1"], made.weights["conv1"])
    np.testing.assert_array_equal(found.biases["conv1"], made.biases["conv1"])
    data, index = tmp_path / "factors.bin", tmp_path / "index.json"
    content = bytearray(data.read_bytes())
    if damage == "bit":
        content[50] ^= 1
        data.write_bytes(content)
    elif damage == "short":
        data.write_bytes(content[:-4])
    elif damage == "index":
        index.write_text(index.read_text()[:-5])
    else:
        data.unlink()
    assert prepared._mapped(tmp_path) is None


def test_only_the_last_used_are_kept(tmp_path: Path):
    for age in range(prepared.KEPT + 2):
        made = tmp_path / f"new.{age}"
        made.mkdir()
        os.utime(made, (1000 + age, 1000 + age))
        prepared._put(made, tmp_path / f"key-{age}")
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"key-{age}" for age in range(2, prepared.KEPT + 2)]


@pytest.mark.full
def test_refusal_and_a_broken_checkpoint_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: weights.Weights
):
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(prepared.PreparationError, match=r"broken\.ckpt cannot be read as a TensorFlow checkpoint"):
        prepared.factors(broken, "0" * 64)
    assert not prepared.is_known("0" * 64)
    assert not list((tmp_path / "cache" / "prepared").iterdir())


@pytest.mark.ci
def test_a_distant_kernel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    from vggish_core.network import model, preparing

    monkeypatch.setattr(model, "KERNEL_TOLERANCE", 1e-9)
    monkeypatch.setattr(sys, "argv", ["prepared", str(standin.files() / standin.CHECKPOINT_FILE), str(tmp_path)])
    assert preparing.main() == prepared.REFUSED
    assert "--convolutions direct" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_cache_the_checkpoint_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, checkpoint: weights.Weights
):
    """Stopped before TensorFlow reads it: the reason is reported, and the slow way is taken."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("VGGISH_CACHE", str(file))
    taken = []

    def network(examples: np.ndarray) -> np.ndarray:
        return examples.sum(axis=2)

    monkeypatch.setattr(models, "_embedder", lambda model, path, check: taken.append((path, check)) or network)
    values, finite = models.load(Model(checkpoint.path, "", embeddings="raw"), check=True)(np.ones((2, 96, 64)))
    assert (values.tolist(), finite.tolist()) == ([[64.0] * 96] * 2, [True, True])
    assert taken == [(checkpoint.path, True)]
    assert "cannot be written" in caplog.text
