"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.in_process import embed_here, summed_examples  # noqa: F401 - fixtures
from tests.made_audio import made_formats  # noqa: F401
from tests.made_clips import made_clips  # noqa: F401
from tests.reference_data import audioset_data, esc10, real_formats, shared_data  # noqa: F401
from tests.small_audioset import made_audioset  # noqa: F401

os.environ.setdefault("NO_GCE_CHECK", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[1]
# What is made once (stand-in weights, compiled kernels) is kept between sessions, apart from the user's own cache.
os.environ.setdefault("VGGISH_CACHE", str(ROOT / ".pytest_cache" / "vggish"))


@pytest.fixture(scope="session")
def standin_weights() -> Path:
    """The folder of the stand-in files: `vggish_model.ckpt` and `vggish_pca_params.npz`."""
    from vggish_core import standin

    return standin.files()
