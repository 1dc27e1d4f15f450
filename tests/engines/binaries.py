"""Engines for tests that pip cannot install: Prism, from its Go module, and Flink, from its PyPI wheels.

`python -m tests.engines.binaries prism flink` gets both once, into a folder under the user's cache; $VGGISH_ENGINES
names another. Nothing here needs an installed package: Prism can be built while packages are fetched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
FLINK_VERSION = "2.2.1"
FLINK_WHEELS = ("apache-flink-libraries", "apache-flink")
"""Unzipped over one folder they are a whole Flink; never installed, since apache-flink pins an old Beam."""


def folder() -> Path:
    """Where engines are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("VGGISH_ENGINES") or cache / "vggish-engines")


def beam_version() -> str:
    """The version of Beam that is tested."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("apache-beam=="))


def prism() -> Path:
    """The Prism binary of Beam's version, whether it is there or not."""
    return folder() / f"prism-{beam_version()}" / "prism"


def flink() -> Path:
    """Flink's home, whether it is there or not."""
    return folder() / f"flink-{FLINK_VERSION}" / "pyflink"


def build_prism() -> None:
    """Builds Prism, some minutes of a core, if it is not there."""
    if prism().exists():
        return
    if not shutil.which("go"):
        print("The Go tool chain is missing: no Prism, its tests will be skipped.", flush=True)
        return
    module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam_version()}"
    print(f"Building Prism, once, some 2 minutes: {module}", flush=True)
    with tempfile.TemporaryDirectory(dir=_made(folder())) as built:
        subprocess.run(["go", "install", module], env={**os.environ, "GOBIN": built}, check=True)
        _made(prism().parent)
        Path(built, "prism").replace(prism())


def unpack_flink() -> None:
    """Fetches and unpacks Flink's wheels, 310 MB, if they are not there."""
    if flink().is_dir():
        return
    print(f"Fetching Flink {FLINK_VERSION}", flush=True)
    with tempfile.TemporaryDirectory(dir=_made(folder())) as fetched:
        names = [f"{name}=={FLINK_VERSION}" for name in FLINK_WHEELS]
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fetched]
        subprocess.run([*download, *names], check=True)
        unpacked = Path(fetched, "flink")
        for wheel in sorted(Path(fetched).glob("*.whl")):
            with zipfile.ZipFile(wheel) as content:
                content.extractall(unpacked)
        for script in unpacked.glob("pyflink/bin/*.sh"):  # which zip files are unpacked without
            script.chmod(0o755)
        unpacked.replace(flink().parent)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


if __name__ == "__main__":
    for name in sys.argv[1:]:
        {"prism": build_prism, "flink": unpack_flink}[name]()
