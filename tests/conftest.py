"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("NO_GCE_CHECK", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference data; the test is skipped, by this name, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("reference data ../shared/data is absent")
    return SHARED_DATA
