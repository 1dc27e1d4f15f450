"""The report: its numbers are those of verify, its words are safe, a browser shows all of it without a network."""

from __future__ import annotations

import re
import shutil
import time
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pipeline.checking import verify
from pipeline.output import history
from pipeline.output import manifest as manifests
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.reporting import report, sample
from pipeline.types import Clip, EmbeddingKind, RecordFormat
from tests import outputs
from tests.browser import Browser, chromium
from tests.command import run
from tests.in_process import Embed

CLIPS = [outputs.clip(number) for number in range(40)]
EVIL = '<script>alert("1")</script>&amp; "clip"'


class Page(HTMLParser):
    """A report as parsed.

    Attributes:
      numbers: id -> value of each <data>.
      references: what could be fetched: each src, href and url(...).
      scripts: how many <script>s.
      text: what is shown.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.numbers: dict[str, float] = {}
        self.references: list[str] = []
        self.scripts = 0
        self.text = ""
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)
        self.references += re.findall(r"url\(([^)]*)\)", self.source) + re.findall(r"@import[^;]*", self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        if tag == "data" and values.get("id"):
            self.numbers[str(values["id"])] = float(values["value"] or "nan")
        self.references += [str(values[name]) for name in ("src", "href", "xlink:href", "srcset") if name in values]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set with failures, skips and labels, and its report."""
    directory = tmp_path_factory.mktemp("output")
    job = outputs.job(directory)
    totals = outputs.write(job, CLIPS).totals
    sums = {name: float(totals.get(name, totals["clips_in"])) for name in history.SUMS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "STRETCH_S", 0.0)
        patch.setattr(history, "SHARE", 0.0)
        now = time.monotonic()
        log = history.Log(job, {"runner": "FnApiRunner", "workers": 1}, now - 2)
        log.begin(now - 1)
        log.look({name: value / 2 for name, value in sums.items()})
        log.end(sums, 0.0)
    report.write(str(directory))
    return directory


@pytest.fixture(scope="module")
def page(output: Path) -> Page:
    return Page(output / "report.html")


def share(found: verify.Report, byte: int) -> float:
    counts = sum((file.byte_counts for file in found.files), np.zeros(256, np.int64))
    return float(counts[byte] / counts.sum())


def test_its_numbers_are_those_of_verify(output: Path, page: Page) -> None:
    found = verify.verify_output(str(output))
    assert found.fault_count == 0  # with the report beside the records
    assert page.numbers["written"] == sum(file.records for file in found.files)
    assert page.numbers["examples"] == sum(file.examples for file in found.files)
    assert page.numbers["share_0"] == pytest.approx(share(found, 0), abs=1e-12)
    assert page.numbers["share_255"] == pytest.approx(share(found, 255), abs=1e-12)
    manifest = manifests.read(str(output))
    assert manifest is not None
    for name, value in manifest.totals.items():
        assert page.numbers.get(name, 0) == value, name
    assert manifest.fingerprint in page.text


def test_it_says_why_clips_failed_and_what_to_do(page: Page) -> None:
    for what in ("corrupt", "damaged at byte 17", "--damaged keep", "too_short", "--short_clips pad"):
        assert what in page.text, what


def test_it_refers_to_nothing_outside(page: Page) -> None:
    assert page.scripts == 1  # its own, which the policy names by its sha256
    assert page.references
    outside = [to for to in page.references if not to.startswith(("data:", "#"))]
    assert outside == []


def test_the_same_output_gives_the_same_report(output: Path, page: Page, tmp_path: Path) -> None:
    again = Page(report.write(str(output), to=str(tmp_path / "again.html")))
    made = re.compile(r"Made on \S+ at \S+")
    assert made.sub("", again.source) == made.sub("", page.source)


def test_names_and_messages_are_text_not_markup(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{EVIL}/{number}" for number in range(5)] + ["\udcff\udcfe.wav"]
    with (tmp_path / "records.tfrecord").open("wb") as file:
        values = [rng.integers(0, 256, (3, 128)).astype(np.uint8) for _ in ids]
        write_tfrecord(file, (to_sequence_example(i, 0.0, 2.9, (), v) for i, v in zip(ids, values, strict=True)))
    page = Page(report.write_files([str(tmp_path / "*.tfrecord")], to=str(tmp_path / "report.html")))
    assert page.scripts == 1
    assert '<script>alert("1")' in page.text  # shown as it is
    assert page.numbers["written"] == len(ids)


@pytest.mark.parametrize(
    ("embeddings", "layout"), [("pca", "youtube8m"), ("raw", "youtube8m"), ("quantized", "youtube8m_video")]
)
def test_float_embeddings_have_a_report_without_bytes(
    tmp_path: Path, embeddings: EmbeddingKind, layout: RecordFormat
) -> None:
    job = outputs.job(tmp_path, embeddings=embeddings, record_format=layout)
    outputs.write(job, CLIPS[:12])
    page = Page(report.write(str(tmp_path)))
    assert "share_0" not in page.numbers
    assert "Values of each dimension" in page.text
    assert "Bytes at the ends" not in page.text


@pytest.mark.parametrize("clips", [[], CLIPS[:1], CLIPS[:2], CLIPS[9:10]], ids=["none", "one", "two", "one failed"])
def test_small_outputs_have_a_report(tmp_path: Path, clips: list[Clip]) -> None:
    outputs.write(outputs.job(tmp_path), clips)
    page = Page(report.write(str(tmp_path)))
    assert page.numbers["clips_in"] == len(clips)
    assert "Infinity" not in page.source
    assert "nan" not in {word.strip(".,") for word in page.text.lower().split()}


def test_a_run_of_no_time_that_is_told_has_a_report(output: Path, tmp_path: Path) -> None:
    """Its stretches are below the half millisecond that is kept."""
    shutil.copytree(output, tmp_path / "out")
    (noted,) = (tmp_path / "out" / "_state").glob("run-*.json")
    content, count = re.subn(r'"seconds": [\d.]+', '"seconds": 0.0', noted.read_text(encoding="utf-8"))
    assert count == 2
    noted.write_text(content, encoding="utf-8")
    assert "Speed over time" in Page(output / "report.html").text
    assert "Speed over time" not in Page(report.write(str(tmp_path / "out"))).text


def test_a_copy_without_state_has_a_report(output: Path, tmp_path: Path) -> None:
    for path in (*output.glob("embeddings-*"), output / "manifest.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    page = Page(report.write(str(tmp_path)))
    assert "which says where the audio is" in page.text


def test_the_sample_is_bounded_and_fair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = outputs.job(tmp_path, num_shards=8)
    outputs.write(job, [outputs.clip(number) for number in range(200)])
    monkeypatch.setattr(sample, "SAMPLE", 30)
    first = sample.of_output(str(tmp_path))
    assert len(first.records) == 30
    assert 1 <= first.files_read <= 3  # some 20 records a shard
    assert first.totals["clips_in"] == 200
    assert [record.id for record in first.records] == [r.id for r in sample.of_output(str(tmp_path)).records]
    numbers = [int(record.id.rpartition(" ")[2]) for record in first.records]
    assert min(numbers) < 60
    assert max(numbers) > 140


def test_records_without_a_manifest(made_audioset: Path, tmp_path: Path) -> None:
    folder = made_audioset
    names = ["--class_labels", folder / "class_labels_indices.csv"]
    files = folder / "eval.tfrecord"
    done = run("pipeline.report", "--manifest", "none", files, *names, "--to", tmp_path / "report.html")
    assert done.status == 0, done.err
    page = Page(tmp_path / "report.html")
    found = verify.verify_files([str(files)])
    assert page.numbers["written"] == sum(file.records for file in found.files) == 5000
    assert page.numbers["examples"] == sum(file.examples for file in found.files)
    assert page.numbers["share_0"] == pytest.approx(share(found, 0), abs=0.005)  # of the sample
    assert page.numbers["share_255"] == pytest.approx(share(found, 255), abs=0.005)
    assert "Speech" in page.text


def test_what_is_wrong_is_reported_in_two_lines(tmp_path: Path, output: Path) -> None:
    done = run("pipeline.report", tmp_path)
    assert (done.status, len(done.err.splitlines())) == (2, 2)
    assert "manifest.json" in done.err
    done = run("pipeline.report", "--manifest", "none", tmp_path / "*.tfrecord")
    assert (done.status, len(done.err.splitlines())) == (2, 2)
    assert run("pipeline.report", output, output).status == 2


def test_a_run_writes_it_and_does_not_fail_for_it(
    tmp_path: Path, example_audio: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--input", example_audio, "--max_failures", "100%"]
    done = embed_here(tmp_path / "out", *flags, "--report", "on")
    assert done.status == 0, done.err
    assert "report.html" in done.out
    page = Page(tmp_path / "out" / "report.html")
    assert page.source.count("<figcaption") >= 6
    assert "Log-mel" in page.text
    assert "No picture" not in page.text
    assert "× real time" in page.text

    def fails(*_: object, **__: object) -> str:
        raise ValueError("no report today")

    monkeypatch.setattr(report, "write", fails)
    done = embed_here(tmp_path / "out", *flags, "--report", "on", "--retry_failed")
    assert done.status == 0
    assert "no report today" in done.err
    assert "python -m pipeline.report" in done.err


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found  # type: ignore[misc]


BROKEN = """
(() => {
  const wrong = [];
  for (const image of document.images) if (!image.naturalWidth) wrong.push('image ' + image.src.slice(0, 80));
  for (const element of document.querySelectorAll('main *')) {
    const box = element.getBoundingClientRect();
    if (element.ownerSVGElement || !box.width) continue;
    if (box.left < -0.5 || box.right > innerWidth + 0.5) wrong.push(element.tagName + ' reaches ' + box.right);
  }
  for (const drawing of document.querySelectorAll('figure svg')) {
    if (!drawing.checkVisibility()) continue;  // a map of which another is shown
    const box = drawing.getBoundingClientRect();
    if (box.width < 100 || box.height < 50) wrong.push('svg ' + box.width + ' x ' + box.height);
    for (const text of drawing.querySelectorAll('text')) {
      const inner = text.getBoundingClientRect();
      if (inner.left < box.left - 2 || inner.right > box.right + 2) wrong.push('cut off: ' + text.textContent);
      if (inner.height < 7) wrong.push('too small: ' + text.textContent);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page is wider than the window');
  return wrong;
})()
"""
CONTRASTS = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  };
  const light = (colour) => { const [r, g, b] = rgb(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const style = getComputedStyle(document.documentElement);
  const value = (name) => light(style.getPropertyValue(name));
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return Object.fromEntries(['--ink', '--muted', '--accent', '--second', '--alarm']
    .map((name) => [name, Math.min(ratio(value(name), value('--surface')), ratio(value(name), value('--ground')))]));
})()
"""


def test_a_browser_shows_all_of_it(browser: Browser, output: Path) -> None:
    path = output / "report.html"
    for width, dark in product([360, 768, 1280], [False, True]):
        browser.visit(path, width, dark)
        assert browser.evaluate(BROKEN) == [], (width, dark)
        assert browser.complaints == [], (width, dark)
        assert browser.requests == [path.resolve().as_uri()]
        ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 380) == dark
        contrasts = browser.evaluate(CONTRASTS)
        assert min(contrasts["--ink"], contrasts["--muted"], contrasts["--alarm"]) >= 4.5, contrasts
        assert min(contrasts["--accent"], contrasts["--second"]) >= 3, contrasts


def test_the_check_for_broken_elements_finds_them(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        '<!DOCTYPE html><main><img src="gone.png"><img src="https://example.org/a.png">'
        '<p style="width:2000px">wide</p></main><script>console.error("no")</script>'
    )
    browser.visit(page, 360, dark=False)
    wrong = browser.evaluate(BROKEN)
    assert sum(line.startswith("image") for line in wrong) == 2
    assert any("reaches" in line for line in wrong)
    assert len(browser.requests) == 3
    assert any("no" in line for line in browser.complaints)


def test_it_prints(browser: Browser, output: Path) -> None:
    browser.visit(output / "report.html", 1280, dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.paper().startswith(b"%PDF")
