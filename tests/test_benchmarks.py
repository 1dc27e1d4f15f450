from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import corpus, loader, measure, reference_front_end, report, run, whole
from benchmarks.measure import Row, Spent
from pipeline.output.loading.dataset import load_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("value", "at_least", "reached"), [(2, True, True), (1.9, True, False), (2.1, False, False)])
def test_bars(value: float, at_least: bool, reached: bool):
    assert Row("g", "n", value, 2.0, at_least).reached is reached


def test_nothing_reaches_a_bar_by_being_no_number():
    assert not Row("g", "n", float("nan"), 1.0, True).reached
    assert not Row("g", "n", float("nan"), 1.0, False).reached


def test_a_row_is_its_rounds_median():
    made = measure.row("g", "n", [3.0, 100.0, 2.0], 2.5, True)
    assert (made.value, made.reached, made.rounds) == (3.0, True, (3.0, 100.0, 2.0))
    assert measure.ratios([6.0, 9.0], [3.0, 2.0]) == [2.0, 4.5]
    assert Spent(5, 8) - Spent(1, 2) == Spent(4, 6)
    assert Spent(5, 8) * 2 == Spent(10, 16)


def test_rounds_go_forwards_and_backwards():
    order: list[str] = []
    results = measure.interleaved(3, {name: lambda name=name: order.append(name) or len(order) for name in "ab"})
    assert "".join(order) == "abbaab"
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_commands_cost_processor_time_and_tell_why_they_fail():
    (cost,) = measure.python("-c", "for _ in range(3_000_000): pass")
    assert cost.cpu_s > 0
    with pytest.raises(measure.CommandError, match="no way"):
        measure.python("-c", "raise SystemExit('no way')")


def test_memory_is_that_of_all_processes():
    hold = "import time; held = bytearray(100_000_000); time.sleep({})"
    parent = f"import subprocess, sys; {hold.format(0)}; subprocess.run([sys.executable, '-c', '''{hold.format(2)}'''])"
    assert 2e8 < measure.peak_memory("-c", parent) < 3e8


def test_speed_rows_are_ratios_of_what_was_spent():
    costs = {
        "bare": [Spent(60, 120)],
        "loop": [Spent(300, 400)],
        "winograd whole": [Spent(45, 80)],
        "winograd start": [Spent(5, 10)],
    }
    scale = whole.Scale(1, 600, 60, 6000, 1024)
    rate, cpu, loop = whole._speed_rows("winograd", costs, scale)
    assert rate.value == pytest.approx(60 * 594 / 600 / 40)
    assert cpu.value == pytest.approx(70 / (120 * 594 / 600))
    assert cpu.detail["start-up included"] == pytest.approx(80 / 120, abs=1e-3)
    assert cpu.detail["CPU s an hour of audio"] == pytest.approx(70 / 5940 * 3600, abs=1e-2)
    assert loop.value == pytest.approx(300 / 45)
    table = report.Table([cpu], "2026-01-01", "p", 2, {}, False, 1)
    assert report.core_hours_an_hour(table, "winograd") == pytest.approx(70 / 5940, rel=1e-3)
    assert "350,000 h | 4,124" in report.as_cost(table)


@pytest.mark.ci
def test_corpus_is_of_the_formats_it_names(tmp_path: Path):
    import soundfile

    for name, (container, subtype, rate_hz) in corpus.FORMATS.items():
        (path,) = corpus.clips(tmp_path / container, name, 1)
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == (container, subtype, rate_hz, 2)
        assert len(reference_front_end.file_to_examples(path)) == corpus.EXAMPLES_A_CLIP
    assert len(list(corpus.flac_corpus(tmp_path, 3).iterdir())) == 3


def test_a_row_without_a_bar_is_shown_and_not_judged():
    row = measure.row("g", "what", [0.5], None, True)
    assert row.reached
    assert "MISSED" not in report.line(row)
    table = report.Table([row], "2026-01-01", "p", 2, {}, False, 1)
    assert "| what | 0.5 × |  |  |" in report.as_markdown(table)


def test_the_command_prints_writes_and_renews_documents(tmp_path: Path, capsys: pytest.CaptureFixture):
    file = tmp_path / "table.json"
    assert run.main(["--quick", "--only", "help", "--json", str(file), "--folder", str(tmp_path)]) == 0
    assert "pipeline.run --help" in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert content["quick"]
    assert content["versions"]["numpy"] == np.__version__
    assert [row["group"] for row in content["rows"]] == ["help"]
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- benchmark:table -->\nold\n<!-- end -->\nafter\n")
    report.main([str(file), str(document)])
    text = document.read_text()
    assert "pipeline.run --help" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    report.main([str(file), str(document)])
    assert document.read_text() == text
    report.main([str(file), str(file), str(document)])
    assert document.read_text().count("pipeline.run --help") == 2


def test_tables_of_different_machines_are_not_joined():
    here = report.Table([], "2026-01-01", "p", 2, {"numpy": "2.4"}, False, 5)
    there = dataclasses.replace(here, versions={"numpy": "2.3"})
    with pytest.raises(ValueError, match=r"versions: .*2\.4.* in one table, .*2\.3.* in another"):
        report.joined([here, there])


def test_the_loaders_that_are_compared_read_the_same(tmp_path: Path):
    speed, cpu = loader.rows(tmp_path, 1, 150)
    assert speed.value > 0
    assert cpu.value > 0
    ours = list(load_dataset(str(tmp_path / "loader.tfrecord")))
    theirs = list(loader.by_hand(tmp_path / "loader.tfrecord"))
    assert len(ours) == len(theirs) == 150
    for batch, record in zip(ours, theirs, strict=True):
        assert (batch.id, batch.start, batch.end) == record[:3]
        np.testing.assert_allclose(batch.embeddings, record[3], atol=1e-6)
        np.testing.assert_array_equal(batch.labels, record[4])


def test_groups_have_one_list(tmp_path: Path):
    assert tuple(run._groups(tmp_path, run.QUICK)) == run.GROUPS


def test_documents_hold_the_parts_that_are_generated():
    for name, part in (("performance", "table"), ("cost", "cost")):
        assert f"<!-- benchmark:{part} -->" in (ROOT / "docs" / f"{name}.md").read_text()
