"""What needs an extra says so in two lines where that is not installed; everything else does without."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline import extras, storage
from pipeline.cli import fit_pca, predict, report, train
from pipeline.cli import run as program
from pipeline.decoding.extract import ExtractDoFn
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, DecodeRequest, Segment
from tests.in_process import Embed


def take_away(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Has modules be as if they were not installed."""
    extras.needs_store.cache_clear()
    for name in modules:
        pytest.importorskip(name)
        monkeypatch.setitem(sys.modules, name, None)  # which is how Python notes that an import failed


def two_lines(for_: str, packages: str, extra: str) -> list[str]:
    return [
        f"error: {for_} needs packages that are not installed: {packages}",
        f"  Install them: pip install 'vggish-pipeline[{extra}]'.",
    ]


def _modules(scheme: str) -> tuple[str, ...]:
    return extras._STORES[scheme][1]


def _shown(scheme: str) -> str:
    return ", ".join(name.replace(".", "-") for name in _modules(scheme))


PROGRAMS = {
    "gs": (program, "--input gs://bucket/audio --output OUT", "--input: reading gs://", _shown("gs"), "gcp"),
    "s3": (program, "--input s3://bucket/audio --output OUT", "--input: reading s3://", _shown("s3"), "s3"),
    "report": (report, "OUT", "report.html", "jinja2", "report"),
    "train": (train, "--train a --eval b --classes c --model OUT", "pipeline.train", "matplotlib", "train"),
    "plots": (predict, "--model OUT --input a --plots b", "--plots", "matplotlib", "train"),
    "fit_pca": (fit_pca, "--input a --output b.npz", "the plot, which --no_plot leaves out,", "matplotlib", "train"),
    "dataflow": (
        program,
        "--input audio --output OUT --runner DataflowRunner",
        "--runner DataflowRunner",
        "google-auth, google-cloud-storage",
        "gcp",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_extra_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module, flags, for_, packages, extra = PROGRAMS[name]
    take_away(monkeypatch, *(package.replace("-", ".") for package in packages.split(", ")))
    assert module.main(flags.replace("OUT", str(tmp_path / "out")).split()) == 2
    assert capfd.readouterr().err.splitlines() == two_lines(for_, packages, extra)
    assert not (tmp_path / "out").exists()


@pytest.mark.ci
def test_a_run_without_the_reports_packages_is_whole(
    tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch, made_clips: Path
) -> None:
    take_away(monkeypatch, "jinja2")
    done = embed_here(tmp_path / "out", "--input", made_clips, "--report", "on")
    assert done.status == 0
    assert done.err.splitlines()[-1] == (
        "report.html needs packages that are not installed: jinja2. Install them: pip install "
        f"'vggish-pipeline[report]', then python -m pipeline.report {tmp_path / 'out'}"
    )
    assert (tmp_path / "out" / "manifest.json").exists()
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_worker_without_a_stores_packages_fails_no_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the job that cannot be done: clips would fail one by one, and be left out of the data set."""
    take_away(monkeypatch, *_modules("s3"))
    step = ExtractDoFn(FrontEnd(), Decoding(processes=1))
    reading = DecodeRequest("s3://bucket/clip.wav", (Segment(Clip("clip", "s3://bucket/clip.wav")),))
    with pytest.raises(extras.MissingPackagesError, match=r"reading s3:// needs packages"):
        list(step.process(reading))


def test_what_is_installed_meanwhile_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, *_modules("s3"))
    with pytest.raises(extras.MissingPackagesError):
        storage.exists("s3://bucket/clip.wav")
    monkeypatch.undo()
    extras.needs_store("s3")


def test_no_extra_is_for_other_schemes() -> None:
    extras.needs_store("abc")


def test_packages_of_packages_may_be_missing() -> None:
    with pytest.raises(extras.MissingPackagesError, match=r"it needs .*: no-such, no-such-thing"):
        extras.needs("gcp", "no.such", "no.such.thing", "json", for_="it")
