"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.in_process import embed_here, summed_examples  # noqa: F401 - fixtures

os.environ.setdefault("NO_GCE_CHECK", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[1]
# What is made once (stand-in weights, compiled kernels) is kept between sessions, apart from the user's own cache.
os.environ.setdefault("VGGISH_CACHE", str(ROOT / ".pytest_cache" / "vggish"))

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference data; the test is skipped, by this name, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("reference data ../shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def standin_weights() -> Path:
    """The folder of the stand-in files: `vggish_model.ckpt` and `vggish_pca_params.npz`."""
    from vggish_core import standin

    return standin.files()
