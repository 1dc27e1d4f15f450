"""Odd recordings as people report them, through the whole command: embedded whole, or reported by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.output import records
from tests.command import embed as run_command
from tests.command import failures, manifest
from tests.in_process import Embed
from tests.reference_data import part

RIGHT: dict[str, int | str] = {
    "wav-over-4gib/wrapped_small": 12,
    "wav-truncated/trunc": "truncated",
    "wav-truncated/off44": 12,
    "wav-truncated/ffmpeg_pipe": 12,
    "wav-truncated/sox_pipe": 12,
    "lossy-truncated/xing_vbr": "truncated",
    "lossy-truncated/info_cbr": "truncated",
    "lossy-truncated/vorbis": "truncated",
    "lossy-truncated/noxing": 5,
    "opus-header-rate/control": 12,
    "opus-header-rate/hdr0": 12,
    "opus-header-rate/hdr8000": 12,
    "opus-header-rate/hdr16000": 12,
    "opus-header-rate/hdr0_remuxed": 12,
    "opus-header-rate/voice16k": 12,
    "opus-header-rate/voice16k_remuxed": 12,
    "ogg-chained/vorbis2": 24,
    "ogg-chained/opus2": 24,
    "ogg-chained/vorbis_rate": "corrupt",
    "ogg-chained/vorbis_ch": "corrupt",
    "ogg-chained/opus_ch": "corrupt",
    "mp3-concatenated/concat": 25,
    "mp3-concatenated/tag_concat": 25,
    "mp3-concatenated/real_cover_concat": 25,
    "mp3-concatenated/cover_twice_concat": 25,
    "av-late-audio/late3_mkv": 12,
    "av-late-audio/late3_mp4": 12,
    "y-prefix/Yes": 12,
}
"""Clip -> examples of its record, or why it has none."""
EQUAL = {
    "opus-header-rate/hdr0": "opus-header-rate/control",
    "opus-header-rate/hdr8000": "opus-header-rate/control",
    "opus-header-rate/hdr16000": "opus-header-rate/control",
    "opus-header-rate/hdr0_remuxed": "opus-header-rate/control",
    "opus-header-rate/voice16k_remuxed": "opus-header-rate/voice16k",
}
"""Clips whose bytes are those of another one, give or take one, for 99 % of them."""
REPORTED = {
    "wav-truncated/trunc": "441000 of 1058400 bytes",
    "lossy-truncated/xing_vbr": "220079 of 529200 sample frames",
    "lossy-truncated/info_cbr": "209711 of 529200 sample frames",
    "ogg-chained/vorbis_rate": "44100 Hz, 1 channels become 22050 Hz, 1 channels",
    "ogg-chained/vorbis_ch": "44100 Hz, 1 channels become 44100 Hz, 2 channels",
}


@pytest.fixture(scope="module")
def reports() -> Path:
    return part("audio/reports")


def by_id(output: Path) -> dict[str, records.Record]:
    return {record.id: record for record in records.read_records(f"{output}/embeddings-*")}


@pytest.mark.ci
def test_every_report_comes_out_right(reports: Path, tmp_path: Path) -> None:
    flags = [flag for kind in ("*.wav", "*.mp3", "*.og*", "*.opus", "*.webm", "*.mk*", "*.mp4") for flag in
             ("--input", f"{reports}/*/{kind}")]  # fmt: skip
    done = run_command(tmp_path / "out", *flags, "--max_failures", "100")
    assert done.status == 0, done.err
    found = by_id(tmp_path / "out")
    failed = failures(tmp_path / "out")
    outcomes = {name: len(record.values) for name, record in found.items()}
    outcomes |= {name: line["reason"] for name, line in failed.items()}
    assert {name.removeprefix("reports/"): outcome for name, outcome in outcomes.items()} == RIGHT
    for name, words in REPORTED.items():
        assert words in failed[name]["message"]
    for name, other in EQUAL.items():
        difference = np.abs(found[name].values.astype(int) - found[other].values)
        assert np.mean(difference <= 1) >= 0.99, name


def test_times_of_late_sound(reports: Path, tmp_path: Path, embed_here: Embed) -> None:
    rows = (reports / "av-late-audio" / "list.csv").read_text().replace("in/", f"{reports}/av-late-audio/")
    listing = tmp_path / "list.csv"
    listing.write_text(rows)
    done = embed_here(tmp_path / "out", "--manifest", listing, "--max_failures", "1")
    assert done.status == 0, done.err
    assert {name: len(record.values) for name, record in by_id(tmp_path / "out").items()} == {
        "late_mkv": 5, "late_mp4": 5, "late_mp4_end": 5, "late_mkv_end": 5,
    }  # fmt: skip
    (line,) = failures(tmp_path / "out").values()
    assert (line["id"], line["reason"]) == ("before_audio", "before_sound")


def test_a_y_before_an_id_is_not_another_row_s_file(reports: Path, tmp_path: Path, embed_here: Embed) -> None:
    classes = tmp_path / "classes.csv"
    classes.write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/04rlf,"Music"\n')
    folder = reports / "y-prefix"
    flags = ["--input", folder / "*.wav", "--segments", folder / "list.csv", "--class_labels", classes]
    done = embed_here(tmp_path / "out", *flags, "--max_failures", "1")
    assert done.status == 0, done.err
    assert {name: record.labels for name, record in by_id(tmp_path / "out").items()} == {"Yes": (1,)}
    assert {name: line["reason"] for name, line in failures(tmp_path / "out").items()} == {"es": "no_audio"}


def test_what_decodes_of_damaged_files_is_kept_when_asked(tmp_path: Path, embed_here: Embed) -> None:
    import soundfile

    audio = tmp_path / "audio"
    audio.mkdir()
    for name in ("whole", "cut"):
        soundfile.write(audio / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 10 * 16000), 16000)
    content = (audio / "cut.wav").read_bytes()
    (audio / "cut.wav").write_bytes(content[: len(content) // 2])
    output = tmp_path / "out"
    done = embed_here(output, "--input", audio, "--max_failures", "1")
    assert (done.status, [line["reason"] for line in failures(output).values()]) == (0, ["truncated"])
    refused = embed_here(output, "--input", audio, "--damaged", "keep")
    assert refused.status == 2
    assert "damaged" in refused.err
    done = embed_here(output, "--input", audio, "--damaged", "keep", "--overwrite")
    assert done.status == 0, done.err
    assert "1 of the written" in done.out
    assert not failures(output)
    found = manifest(output)
    assert (found["totals"]["written"], found["totals"]["damaged"]) == (2, 1)
    values = {name: record.values for name, record in by_id(output).items()}
    assert np.array_equal(values["cut"], values["whole"][: len(values["cut"])])
    ledger = [line for path in (output / "_state").glob("ledger-*") for line in path.read_text().splitlines()]
    assert sorted('"damaged":"truncated: ' in line for line in ledger) == [False, True]
