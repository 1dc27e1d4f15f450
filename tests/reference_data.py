"""Reference data that is not part of this project: real files and released records, in ../shared/data.

Each part has a fixture. A test that needs it is skipped where it is absent, saying how to come by it; what it
asserts is asserted of made data too, by a test beside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
KEPT = "figures that the makers of this software keep; `make test-released` checks the published ones"
GOT: dict[str, str] = {
    "audio/reports": "files that the makers of this software keep; tests/test_wholeness.py makes others of the kinds",
    "audioset": "put there features.tar.gz, the segment lists and class_labels_indices.csv of "
    "research.google.com/audioset/download.html, records as one file: cat eval/*.tfrecord > eval.tfrecord",
    "audio/esc10": "git clone https://github.com/karoldvl/ESC-10 there",
    "audio/formats": "put there the files that tests/test_audio.py lists, of pydub, python-soundfile and the IETF",
    "cases": "rows and lists that the makers of this software keep; tests/test_odd_rows.py makes others of the kinds",
    "golden": KEPT,
    "smoke_test": KEPT,
    "pca": "put there vggish_pca_params.npz, from the address in docs/weights.md",
}
"""Parts of the folder -> what to put there."""


def part(name: str) -> Path:
    """A part of the reference data; skips the test where it is absent."""
    path = FOLDER / name
    if not path.is_dir():
        pytest.skip(f"../shared/data/{name} is absent: {GOT[name]}")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The whole folder, for tests that need several parts."""
    if not FOLDER.is_dir():
        pytest.skip("../shared/data is absent: tests/reference_data.py says what to put there")
    return FOLDER


@pytest.fixture(scope="session")
def audioset_data() -> Path:
    """AudioSet's released records and lists."""
    return part("audioset")


@pytest.fixture(scope="session")
def esc10() -> Path:
    """The 400 clips of ESC-10, in a folder a class."""
    return part("audio/esc10")


@pytest.fixture(scope="session")
def real_formats() -> Path:
    """Small real files of many formats."""
    return part("audio/formats")
