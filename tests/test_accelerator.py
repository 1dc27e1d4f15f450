import os
from pathlib import Path

import pytest

from pipeline.embedding import accelerator
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
