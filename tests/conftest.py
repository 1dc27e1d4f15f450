"""Fixtures that many tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.storage import scratch
from tests import beam_asks_once
from tests.in_process import decoders_stay, embed_here, summed_examples  # noqa: F401 - fixtures
from tests.made_audio import example_audio, made_formats  # noqa: F401
from tests.made_clips import made_clips  # noqa: F401
from tests.made_once import once  # noqa: F401
from tests.reference_data import audioset_data, esc10, real_formats, shared_data  # noqa: F401
from tests.small_audioset import made_audioset  # noqa: F401

os.environ.setdefault("NO_GCE_CHECK", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANGUAGE", "C")  # or argparse looks for translations for each of the parsers that Beam makes

ROOT = Path(__file__).resolve().parents[1]
# What is made once (stand-in weights, compiled kernels) is kept between sessions, apart from the user's own cache.
CACHE = os.environ.setdefault("VGGISH_CACHE", str(ROOT / ".pytest_cache" / "vggish"))

# A busy machine is no fault of what is tested, and a commit is not red for what another one's dice would have found.
settings.register_profile("quick", deadline=None, derandomize=True)
settings.register_profile("full", deadline=None, max_examples=300)
FULL_TIMEOUT_S = 3600


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="tests that scale take all that they can: make test-full")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if config.getoption("full") else "quick")


@pytest.hookimpl(tryfirst=True)  # before marks are selected, after tests/engines has set its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with long tests come first, or a process works on one of them at the end while the others have none."""
    long = {item.path for item in items if item.get_closest_marker("ci") or item.get_closest_marker("full")}
    items.sort(key=lambda item: (item.path not in long, item.path))
    for item in items:
        if item.get_closest_marker("full") or item.config.getoption("full"):
            item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S))


def pytest_runtest_setup() -> None:
    if "apache_beam.transforms.userstate" in sys.modules:  # or nothing has run a pipeline in this process yet
        beam_asks_once.ask_once()


@pytest.fixture(scope="session", autouse=True)
def _temporary_files_go() -> Iterator[None]:
    """Beam leaves a folder for each pipeline that is run in a test's own process."""
    with scratch.temporary_files() as folder:
        folder.chmod(0o711)  # a test takes another user's place
        yield


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether tests that scale take all that they can, or what .ci/run has time for."""
    return bool(request.config.getoption("full"))


@pytest.fixture(scope="session")
def standin_weights() -> Path:
    """The folder of the stand-in files: `vggish_model.ckpt` and `vggish_pca_params.npz`."""
    from vggish_core.weights import standin

    return standin.files()
