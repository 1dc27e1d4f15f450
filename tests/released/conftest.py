"""Fixtures: the released files, from the user's own cache, and released records if a file of them is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reference_data import FOLDER
from vggish_core import cache, weights
from vggish_core.weights.download import NoAnswerError

RECORDS_VARIABLE = "VGGISH_RECORDS"
"""Environment variable: released AudioSet records, a file or a pattern."""
AUDIO_VARIABLE = "VGGISH_AUDIO"
"""Environment variable: audio of some of these records' clips, whole or cut, named by their ids."""


@pytest.hookimpl(tryfirst=True)  # before marks are selected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All tests here are `released`, and are for those who ask for them by that name."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.released)
    if "released" not in config.option.markexpr:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]


@pytest.fixture(scope="session")
def users_cache() -> Iterator[None]:
    """Downloads stay for the user's runs; other tests have their own cache."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get(cache.CACHE_VARIABLE) == str(ROOT / ".pytest_cache" / "vggish"):
            patch.delenv(cache.CACHE_VARIABLE)
        yield


@pytest.fixture(scope="session")
def checkpoint(users_cache: None) -> Path:
    """The released checkpoint."""
    return fetched("checkpoint")


@pytest.fixture(scope="session")
def pca_params(users_cache: None) -> Path:
    """The released PCA parameters."""
    return fetched("pca_params")


def fetched(kind: weights.Kind) -> Path:
    """A released file; where it is not and no server answers, the test is skipped."""
    try:
        return Path(weights.resolve("released", kind).path)
    except weights.WeightsError as error:
        if isinstance(error.__cause__, NoAnswerError):
            given = f"{weights.RELEASED[kind].name} in a folder that {weights.HOME_VARIABLE} names"
            pytest.skip(f"needs a network for once, or {given}: {error.__cause__}")
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def records() -> str:
    """A pattern of released records."""
    here = FOLDER / "audioset" / "eval.tfrecord"
    if RECORDS_VARIABLE not in os.environ and not here.exists():
        pytest.skip(f"needs released AudioSet records: {RECORDS_VARIABLE}='audioset_v1_embeddings/eval/*.tfrecord'")
    return os.environ.get(RECORDS_VARIABLE, str(here))


@pytest.fixture(scope="session")
def audio() -> Path:
    """A folder with audio of clips whose records are released."""
    if AUDIO_VARIABLE not in os.environ:
        pytest.skip(f"needs audio of some of AudioSet's clips, named by their ids: {AUDIO_VARIABLE}=FOLDER")
    return Path(os.environ[AUDIO_VARIABLE])
