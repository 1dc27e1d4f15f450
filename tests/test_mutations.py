"""Damaged files through the real decoders: each segment has one outcome, nothing dies, hangs or stays behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.decoding.decoder_client import COMMAND
from pipeline.decoding.decoders import DecoderPool
from pipeline.decoding.extract import extract
from pipeline.output import records
from pipeline.reasons import REASONS
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Failure, Segment, SegmentEnd
from tests.command import failures, manifest
from tests.in_process import Embed
from tests.mutations import mutated, sources

DECODING = Decoding(processes=2, timeout_s=30, memory_mb=512)


def requests(folder: Path, paths: list[Path], count: int, seed: int) -> Iterator[DecodeRequest]:
    """Damaged files, each read when it is needed: whole, and two clips cut from it."""
    for name, data in mutated(paths, count, seed):
        path = folder / name
        path.write_bytes(data)
        clips = [
            Clip(f"{name} whole", str(path)),
            Clip(f"{name} start", str(path), 0.0, 2.0, cut=True),
            Clip(f"{name} later", str(path), 3.0, 5.0, cut=True),
        ]
        yield DecodeRequest(str(path), tuple(Segment(clip) for clip in clips))


def run(made_formats: Path, folder: Path, count: int, seed: int) -> tuple[Counter[str], int]:
    """-> how often each outcome came, and the largest size of a decoder process that was seen, in bytes."""
    counts: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    over: set[str] = set()
    largest = 0
    with DecoderPool(FrontEnd(), DECODING) as pool:
        for item in extract(pool, requests(folder, sources(made_formats), count, seed), lookahead=4):
            if isinstance(item, ExampleBlock):
                assert item.segment.clip.id not in over
                examples[item.segment.clip.id] += len(item.examples)
                continue
            assert item.clip.id not in over
            over.add(item.clip.id)
            if isinstance(item, SegmentEnd):
                assert item.examples == examples[item.clip.id]
                counts["ended"] += 1
            elif isinstance(item, Failure):
                assert item.reason in REASONS
                assert item.message
                assert "\n" not in item.message
                counts[item.reason] += 1
            if len(over) % 30 == 0:
                sizes = [child.memory_info().rss for child in psutil.Process().children() if child.is_running()]
                largest = max([largest, *sizes])
                for path in folder.iterdir():  # those that are over; the last few may still be wanted
                    if f"{path.name} later" in over and f"{path.name} start" in over and f"{path.name} whole" in over:
                        path.unlink()
    assert len(over) == 3 * count
    assert counts.total() == 3 * count
    assert [child for child in psutil.Process().children() if COMMAND[-1] in child.cmdline()] == []
    return counts, largest


def test_damaged_files_have_one_outcome_each(made_formats: Path, tmp_path: Path) -> None:
    counts, _ = run(made_formats, tmp_path, 40, seed=1)
    assert counts["ended"] >= 20
    assert len(counts) >= 4
    assert counts["crashed"] + counts["timed_out"] + counts["too_large"] <= 9, counts


@pytest.mark.ci
def test_hundreds_of_damaged_files_have_one_outcome_each(made_formats: Path, tmp_path: Path, full: bool) -> None:
    counts, largest = run(made_formats, tmp_path, 3000 if full else 300, seed=2)
    print(counts, f"largest decoder {largest >> 20} MB")
    assert largest < 1 << 30


def by_id(output: Path) -> dict[str, tuple[float | None, bytes]]:
    """The records of an output: id -> its end, and its embeddings' bytes."""
    found = records.read_records(f"{output}/embeddings-*")
    return {record.id: (record.end_s, record.values.tobytes()) for record in found}


def through_the_job(embed: Embed, paths: list[Path], folder: Path, count: int, seed: int) -> Counter[str]:
    """Embed damaged files whole, and in parts of a second -> how often each outcome came."""
    (folder / "audio").mkdir()
    for name, data in mutated(paths, count, seed):
        (folder / "audio" / name).with_suffix(".audio").write_bytes(data)
    outputs = {seconds: folder / f"out-{seconds}" for seconds in ("600", "1")}
    for seconds, output in outputs.items():
        flags = ["--input", f"{folder}/audio/**", "--segment_seconds", seconds, "--max_failures", "100%"]
        done = embed(output, *flags, "--decode_timeout_seconds", "30", "--num_shards", "2")
        assert done.status == 0, done.err
        totals = manifest(output)["totals"]
        assert totals["clips_in"] == count == totals["written"] + totals["failed"] + totals["skipped"]
        assert len(failures(output)) == totals["failed"] + totals["skipped"]
    whole, parts = ({name: line["reason"] for name, line in failures(out).items()} for out in outputs.values())
    # Where a stretch is there twice, parts find every sample, and reading on stumbles.
    assert all("repeat" in name for name in set(whole) - set(parts))
    assert set(parts) <= set(whole)
    of_whole, of_parts = (by_id(output) for output in outputs.values())
    assert all(of_parts[name] == values for name, values in of_whole.items())
    return Counter({"written": count - len(whole)}) + Counter(whole.values())


def test_a_job_accounts_for_damaged_files_whole_and_in_parts(
    made_formats: Path, tmp_path: Path, embed_here: Embed
) -> None:
    paths = [path for path in sources(made_formats) if path.suffix in (".flac", ".wav")]
    counts = through_the_job(embed_here, paths, tmp_path, 30, seed=3)
    assert counts["written"] >= 5
    assert len(counts) >= 4


@pytest.mark.full
def test_a_job_accounts_for_three_thousand_damaged_files(made_formats: Path, tmp_path: Path, embed_here: Embed) -> None:
    print(through_the_job(embed_here, sources(made_formats), tmp_path, 3000, seed=4))
