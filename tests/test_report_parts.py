"""What one does with a report: listen, search, compare labels, see which clips failed; and that nothing is markup."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import read_records, storage
from pipeline.analysis.similar.duplicates import copies, duplicates
from pipeline.analysis.sources import find
from pipeline.cli import report as command
from pipeline.decoding import excerpts
from pipeline.decoding.protocol import ExcerptRequest
from pipeline.output import provenance
from pipeline.output.ledger import LedgerEntry
from pipeline.output.records import Record, to_sequence_example, write_tfrecord
from pipeline.reporting import clips, embeddings, labels, listening, page, parts, report, source, spectrograms
from pipeline.reporting.options import ClassScore, Options, Trained
from pipeline.reporting.sample import Sample
from pipeline.training.data import Classes
from pipeline.training.metrics import Ranking
from pipeline.training.report import write_metrics
from pipeline.training.saved_model import NETWORK, Description
from pipeline.types import Clip
from tests import outputs
from tests.browser import Browser, chromium
from tests.test_report import Page

RATE = 16_000
NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?")


def tone(path: Path, hz: float, seconds: float = 1.0, rate: int = RATE) -> Path:
    """Writes a file of one tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate))), rate)
    return path


def clip_of(path: Path, number: int, label: int) -> Clip:
    found = storage.info(str(path))
    clip_id = f"{path.parent.name}/clip {number:03d}"
    return Clip(clip_id, str(path), labels=(label,), size_bytes=found.size_bytes, version=found.version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 44 clips, in two folders and of three labels, whose audio is there."""
    root = tmp_path_factory.mktemp("heard")
    files = [tone(root / ("low", "high")[n % 2] / f"{n}.wav", 200 + 40 * n) for n in range(44)]
    outputs.write(outputs.job(root / "out"), [clip_of(path, n, n % 3) for n, path in enumerate(files)])
    report.write(str(root / "out"), {0: "Dog", 1: "Rain", 2: "Siren"})
    return root / "out"


def sounds(source: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r"data:audio/mpeg;base64,([^\"]+)", source)]


def test_clips_and_their_neighbours_can_be_heard(folder: Path) -> None:
    found = Page(folder / "report.html")
    heard = sounds(found.source)
    assert len(heard) >= embeddings.QUERIES * (1 + embeddings.NEIGHBOURS)
    assert sum(map(len, re.findall(r"base64,([^\"]+)", found.source))) < listening.MOST_CHARACTERS
    for data in heard[:3]:
        samples, rate = soundfile.read(io.BytesIO(data))
        assert rate == RATE
        assert len(samples) == pytest.approx(RATE, abs=0.15 * RATE)  # MP3 pads
    assert "cannot be:" not in found.text


def test_an_excerpt_is_the_sound_of_its_place(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "two.flac",
        np.concatenate([np.sin(2 * np.pi * hz / 44100 * np.arange(88200)) / 2 for hz in (300, 2000)]),
        44100,
    )
    found = excerpts.take(ExcerptRequest(str(tmp_path / "two.flac"), 2.0, 1.0), lambda: None)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(found.mp3)))
    loudest = np.fft.rfftfreq(len(samples), 1 / rate)[np.abs(np.fft.rfft(samples)).argmax()]
    assert loudest == pytest.approx(2000, abs=5)
    assert len(samples) == pytest.approx(RATE, abs=0.15 * RATE)


def test_what_cannot_be_heard_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    for uri, why in ((tmp_path / "gone.wav", "missing: no such file"), (tmp_path / "text.wav", "not_audio")):
        found = excerpts.take(ExcerptRequest(str(uri), 0.0, 1.0), lambda: None)
        assert found.mp3 == ""
        assert why in found.missing
    late = excerpts.take(ExcerptRequest(str(tone(tmp_path / "short.wav", 300)), 5.0, 1.0), lambda: None)
    assert late.missing == "its file ends before it"


def entries_of(paths: list[Path]) -> list[LedgerEntry]:
    clips = [clip_of(path, n, 0) for n, path in enumerate(paths)]
    return [
        LedgerEntry(c.id, c.uri, 0.0, None, 1.0, (0,), False, c.size_bytes, c.version, "written", audio_seconds=1.0)
        for c in clips
    ]


def test_the_page_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = entries_of([tone(tmp_path / f"{n}.wav", 300) for n in range(4)])
    entries[3] = replace(entries[3], size_bytes=1)
    with spectrograms.pool(False) as pool:
        whole = listening.of(entries, pool)
        size = max(map(len, whole.audio.values()))
        monkeypatch.setattr(listening, "MOST_CHARACTERS", size * 4)
        some = listening.of([entries[0], *entries], pool)  # the first one twice, so there is place for three of four
    assert len(whole.audio) == 3
    assert whole.missing == {"the file was changed": 1}
    assert len(some.audio) == 3
    monkeypatch.setattr(listening, "MOST_CHARACTERS", size * 2)
    with spectrograms.pool(False) as pool:
        few = listening.of([entries[0], *entries], pool)
    assert set(few.audio) == {entries[0].key}
    assert few.missing["the page would be too large"] == 2


def test_without_audio_another_page_is_due(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    names = {0: "Dog", 1: "Rain", 2: "Siren"}
    assert source.is_current(str(out), names, audio=True)
    assert not source.is_current(str(out), names, audio=False)
    report.write(str(out), names, options=Options(audio=False))
    assert sounds((out / "report.html").read_text()) == []
    assert source.is_current(str(out), names, audio=False)
    assert command.main([str(out), "--report_audio", "off", "--to", str(tmp_path / "again.html")]) == 0
    assert sounds((tmp_path / "again.html").read_text()) == []


def test_only_its_own_style_and_script_may_run(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    for directive in ("default-src &#39;none&#39;", "img-src data:", "media-src data:", "sha256-"):
        assert directive in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"<[^>]+ (style|on\w+)=", text.split("<script>")[0])
    assert f"<style>{parts.text(parts.STYLE)}</style>" in text
    assert text.index("Content-Security-Policy") < text.index("<style>")


class Skeleton(Page):
    """A page's tags and the names of their attributes, in order."""

    def __init__(self, path: Path) -> None:
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        super().__init__(path)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def made_page(to: Path, words: list[str]) -> Skeleton:
    """A page all of whose names and messages are of the given words, of one letter or more."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (12, 2, 128)).astype(np.uint8)
    every = [words[n % len(words)] for n in range(12)]
    records = [Record(f"{word}/{n}", 0.5, 1.5, (n % 2, 2), values[n], "audioset") for n, word in enumerate(every)]
    failures = [{"id": word, "uri": word, "reason": word, "message": word, "stage": "extract"} for word in every]
    sample = Sample(every[0], totals={"written": 12, "examples": 24, "audio_seconds": 12.0}, files=1, files_read=1)
    sample.records, sample.failures = records, failures
    classes = {0: ClassScore(every[1], 3, 0.5), 5: ClassScore(every[2], 0, None)}
    trained = Trained(every[0], every[1], every[2], {"mAP": 0.5, "AUC": None, "d_prime": None}, classes)
    names = {0: f"{every[3]}a", 1: f"{every[4]}b", 2: f"{every[5]}c"}
    to.write_text(page.page(sample, names, options=Options(trained=trained)).encode("utf-8", "replace").decode())
    return Skeleton(to)


HOSTILE = st.text(st.sampled_from("<>&\"'`=/ ;:{}%\\-!ax\n\u2028é"), min_size=1, max_size=20)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        HOSTILE
        | st.sampled_from(
            ["</script><script>alert(1)</script>", '" onload="alert(1)', "--><img src=x onerror=alert(1)>", "{{ 7*7 }}"]
        ),
        min_size=6,
        max_size=6,
    )
)
def test_nothing_from_data_is_markup(tmp_path: Path, words: list[str]) -> None:
    """Tags and attributes are those of a page of harmless words with the same folders."""
    same = [f"w{[word.split('/')[0] for word in words].index(word.split('/')[0])}" for word in words]
    hostile = made_page(tmp_path / "hostile.html", words)
    harmless = made_page(tmp_path / "harmless.html", same)
    assert hostile.scripts == harmless.scripts == 1
    assert hostile.tags == harmless.tags
    assert hostile.references == [ref for ref in hostile.references if ref.startswith(("data:", "#"))]


def test_failures_are_a_table_that_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.reporting import sample

    monkeypatch.setattr(sample, "FAILURES_SHOWN", 4)  # two of each reason
    outputs.write(outputs.job(tmp_path), [outputs.clip(number) for number in range(60)])
    found = Page(report.write(str(tmp_path)))
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert found.source.count("<tr data-kind=") == 4
    assert f"{len(lines) - 4} more are not on this page" in found.text


def test_records_find_their_ledger_entries_in_large_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.reporting import sample

    clips = [replace(outputs.clip(n), id=f'a ",\\"uri":é {n:03d}', start_s=n / 3, end_s=n / 3 + 99) for n in range(60)]
    outputs.write(outputs.job(tmp_path), clips)
    monkeypatch.setattr(sample, "ENTRIES", 4)
    found = sample.of_output(str(tmp_path))
    assert len(found.entries) < 20
    assert len(found.sources) == len(found.records) > 40
    for record in found.records:
        assert found.sources[record.id, record.start_s].id == record.id


def test_labels_are_counted_with_those_they_occur_with() -> None:
    values = np.zeros((1, 128), np.uint8)
    carried = [(0, 1), (0, 1), (0,), (2, 0), ()]
    sample = Sample("s", records=[Record(str(n), None, None, c, values, "youtube8m") for n, c in enumerate(carried)])
    trained = Trained("m", "t", "e", {}, {1: ClassScore("Rain", 7, 0.25), 9: ClassScore("Siren", 0, None)})
    found = labels.table(sample, {0: "Dog"}, trained)
    assert found is not None
    assert [(row["name"], row["clips"]) for row in found["rows"]] == [
        ("Dog", 4), ("Rain", 2), ("class 2", 1), ("Siren", 0),
    ]  # fmt: skip
    assert [(pair["names"], pair["clips"], pair["share"]) for pair in found["pairs"]] == [
        (["Dog", "Rain"], 2, 1.0), (["Dog", "class 2"], 1, 1.0),
    ]  # fmt: skip
    assert labels.table(Sample("s", records=sample.records[-1:]), {}, None) is None


def test_a_model_s_classes_are_beside_the_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = Classes((0, 1, 2), ("Dog", "Rain", "Siren"), ("", "", ""))
    made = provenance.of(str(folder))
    training = {"patterns": {"train": "some records", "eval": "other records"}}
    Description("logistic", classes, made, 10, training).save(tmp_path)
    scores = np.array([0.9125, 0.5, np.nan])
    write_metrics(tmp_path, classes, Ranking(scores, scores, np.array([31, 4, 0])), {})
    arguments = [str(folder), "--model", str(tmp_path), "--to", str(tmp_path / "report.html")]
    assert command.main(arguments) == 2
    assert "its training did not end" in capsys.readouterr().err
    (tmp_path / NETWORK).touch()
    assert command.main(arguments) == 0
    text = Page(tmp_path / "report.html").text
    for what in ("0.912", "31", "some records", "mAP 0.706"):
        assert what in text, what
    content = json.loads((tmp_path / "metrics.json").read_text())
    del content["per_class"]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert command.main(arguments) == 2
    other = replace(made, settings={**made.settings, "hop_seconds": 0.5})
    Description("logistic", classes, other, 10, training).save(tmp_path)
    assert command.main(arguments) == 2
    assert "was trained on other embeddings" in capsys.readouterr().err


def test_near_identical_clips_are_those_that_duplicates_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    values = {f"own/{n}": rng.integers(0, 250, (10, 128)).astype(np.uint8) for n in range(12)}
    values |= {f"copy/{n}": values["own/3"] + np.uint8(n) for n in range(1, 4)}
    values["longer"] = np.concatenate([values["own/5"], values["own/5"]])  # alike by its mean, and twice as long
    with (tmp_path / "a.tfrecord").open("wb") as file:
        write_tfrecord(file, (to_sequence_example(i, 7.5, 17.5, [], v) for i, v in values.items()))
    source = find(str(tmp_path / "a.tfrecord"))
    assert source is not None
    whole = [each for each in duplicates(source).found if each.kind == "clip"]
    records = list(read_records(str(tmp_path / "a.tfrecord")))
    assert list(copies(records, source.made).found) == whole
    assert {end for each in whole for end in (each.first, each.second)} == {"own/3", "copy/1", "copy/2", "copy/3"}

    monkeypatch.setattr(clips, "COPIES_SHOWN", 2)
    page = Page(report.write_files([str(tmp_path / "a.tfrecord")], to=str(tmp_path / "report.html")))
    table = re.search(r'<table class="rows" id="copies">.*?</table>', page.source, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr><td>.*?</tr>", table[0])
    for row, each in zip(rows, whole[:2], strict=True):
        for what in (f"<code>{each.first}</code>", f"<code>{each.second}</code>", "7.5–17.1 s", f"{each.score:.4f}"):
            assert what in row, what
    assert "The first 2 of 3 pairs" in page.text


def test_without_near_identical_clips_there_is_no_table_of_them(folder: Path) -> None:
    page = Page(folder / "report.html")
    assert "Furthest from the rest" in page.text
    assert "Near-identical" not in page.text


def test_the_furthest_clip_is_the_odd_one() -> None:
    means = np.random.default_rng(0).normal(size=(50, 128))
    means[17] += 40
    found = embeddings.furthest(means)
    assert len(found) == embeddings.FURTHEST
    assert found[0][0] == 17
    assert found[0][1] > 5 > found[1][1]
    assert embeddings.furthest(means[:9]) == []
    assert embeddings.furthest(np.ones((20, 128)))[0][1] == 0.0


def test_umap_gives_the_same_map_each_time() -> None:
    pytest.importorskip("umap")
    means = np.random.default_rng(0).normal(size=(40, 128))
    first, second = embeddings.umap_plane(means), embeddings.umap_plane(means)
    assert first is not None
    assert second is not None
    assert first.points.shape == (40, 2)
    assert (first.points == second.points).all()
    assert embeddings.umap_plane(means[:15]) is None


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found  # type: ignore[misc]


SEARCH = """
(async () => {
  const filter = document.querySelector('.filter[data-of=TABLE]');
  const words = filter.querySelector('input');
  words.value = 'WORDS';
  words.dispatchEvent(new Event('input'));
  return [...document.querySelectorAll('#TABLE tbody tr')].filter((row) => row.checkVisibility()).length;
})()
"""
PLAYS = """
new Promise((done) => {
  const sound = document.querySelector('audio');
  sound.onloadedmetadata = () => done(sound.duration);
  sound.onerror = () => done(sound.error.message);
  sound.load();
})
"""
CLICK = """
(() => {
  const drawing = document.querySelector('.view svg');
  const rows = [...document.querySelectorAll('#sample tbody tr')];
  const places = rows.map((row) => row.dataset.at.split('|')[0].split(' ').map(Number));
  // The dot that is furthest from all others: of two at one place either may be meant.
  const apart = places.map(([x, y], index) =>
    Math.min(...places.filter((_, other) => other !== index).map(([left, top]) => Math.hypot(left - x, top - y))));
  const row = rows[apart.indexOf(Math.max(...apart))];
  const box = drawing.getBoundingClientRect();
  const [x, y] = row.dataset.at.split('|')[0].split(' ').map((v) => v * box.width / drawing.viewBox.baseVal.width);
  const at = {clientX: box.left + x, clientY: box.top + y};
  drawing.dispatchEvent(new PointerEvent('pointermove', at));
  drawing.dispatchEvent(new MouseEvent('click', at));
  return [row.querySelector('code').textContent, document.querySelector('.pointed').textContent,
          document.querySelector('.filter[data-of=sample] input').value];
})()
"""


def test_one_listens_searches_and_points(browser: Browser, folder: Path) -> None:
    browser.visit(folder / "report.html", 390, dark=False)
    assert browser.evaluate(PLAYS) == pytest.approx(1.0, abs=0.15)
    every = browser.evaluate(SEARCH.replace("TABLE", "sample").replace("WORDS", ""))
    dogs = browser.evaluate(SEARCH.replace("TABLE", "sample").replace("WORDS", "DOG low"))
    assert 0 < dogs < every
    marked = browser.evaluate("document.querySelector('.view .chosen').getAttribute('d').split('M').length - 1")
    assert marked == dogs
    assert browser.evaluate(SEARCH.replace("TABLE", "failed").replace("WORDS", "byte 17")) > 0
    assert browser.evaluate(SEARCH.replace("TABLE", "classes").replace("WORDS", "siren")) == 1
    by_folder = "document.querySelector('#map-2').click(), document.querySelector('.view-2').checkVisibility()"
    assert browser.evaluate(by_folder)
    browser.evaluate("document.querySelector('#map-1').click()")
    clip_id, pointed, searched = browser.evaluate(CLICK)
    assert searched == clip_id
    assert clip_id in pointed
    assert browser.complaints == []


def test_what_the_policy_forbids_is_not_run(browser: Browser, folder: Path, tmp_path: Path) -> None:
    text = (folder / "report.html").read_text()
    added = '<script>document.title = "run"</script><img src="data:," onerror="document.title = 1">'
    (tmp_path / "changed.html").write_text(text.replace("</main>", f"{added}</main>"))
    browser.visit(tmp_path / "changed.html", 1280, dark=False)
    assert "VGGish" in browser.evaluate("document.title")
    assert any("Content Security Policy" in line for line in browser.complaints)


def test_without_scripts_all_is_there(browser: Browser, folder: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.visit(folder / "report.html", 390, dark=True)
        shown = "(s) => [...document.querySelectorAll(s)].filter((e) => e.checkVisibility()).length"
        assert browser.evaluate(f"({shown})('.filter')") == 0
        assert browser.evaluate(f"({shown})('#sample tbody tr')") == 36
        assert browser.evaluate(f"({shown})('.view')") == 1
        assert browser.evaluate(f"({shown})('audio')") > 20
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
