import os
from pathlib import Path

import pytest

from pipeline.embedding import accelerator
from pipeline.embedding.models import resolve_checkpoint
from pipeline.running.engines.runners import Engine
from pipeline.running.resolve import load_network
from pipeline.settings import Model
from vggish_core.network import gpus


@pytest.mark.skipif(any(map(os.path.exists, gpus.DEVICES)), reason="there is a GPU's device file")
def test_without_a_device_there_is_no_gpu():
    assert gpus.gpu() == ""


def test_tensorflow_decides_where_there_is_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A device file alone is no GPU: the build may lack its kernels."""
    import tensorflow as tf

    device = tmp_path / "device"
    device.touch()
    monkeypatch.setattr(gpus, "DEVICES", (str(device),))
    assert bool(gpus.gpu()) == bool(tf.config.list_physical_devices("GPU"))


def test_a_gpu_gets_its_own_settings():
    model = Model("released", "released", threads=8)
    given = accelerator.on_gpu(model)
    assert (given.convolutions, given.batch_size, given.threads) == ("direct", accelerator.BATCH_SIZE, 1)
    assert "winograd" in accelerator.announced("A")


@pytest.mark.skipif(bool(gpus.gpu()), reason="there is a GPU")
def test_a_network_for_gpus_is_loaded_where_it_computes(standin_weights: Path):
    model = resolve_checkpoint(Model("standin", "", embeddings="raw", precision="bfloat16", convolutions="direct"))
    load_network(model, Engine("DataflowRunner", (), local=False, workers=1))
    load_network(model, Engine("FlinkRunner", (), local=False, workers=1, environment="DOCKER"))
    for engine in (
        Engine("FnApiRunner", (), local=True, workers=1),
        Engine("PrismRunner", (), local=False, workers=1, environment="LOOPBACK"),
        None,
    ):
        with pytest.raises(gpus.NoGpuError):
            load_network(model, engine)
