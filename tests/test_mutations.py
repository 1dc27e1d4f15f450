"""Damaged files through the real decoders: each segment has one outcome, nothing dies, hangs or stays behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.decoders import DecoderPool
from pipeline.extract import extract
from pipeline.reasons import REASONS
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, Ending, ExampleBlock, Failure, Reading, Segment
from tests.mutations import mutated, sources

DECODING = Decoding(processes=2, timeout_s=30, memory_mb=512)


def readings(folder: Path, paths: list[Path], count: int, seed: int) -> Iterator[Reading]:
    """Damaged files, each read when it is needed: whole, and two clips cut from it."""
    for name, data in mutated(paths, count, seed):
        path = folder / name
        path.write_bytes(data)
        clips = [
            Clip(f"{name} whole", str(path)),
            Clip(f"{name} start", str(path), 0.0, 2.0, cut=True),
            Clip(f"{name} later", str(path), 3.0, 5.0, cut=True),
        ]
        yield Reading(str(path), tuple(Segment(clip) for clip in clips))


def run(shared_data: Path, folder: Path, count: int, seed: int) -> tuple[Counter[str], int]:
    """-> how often each outcome came, and the largest size of a decoder process that was seen, in bytes."""
    counts: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    over: set[str] = set()
    largest = 0
    with DecoderPool(FrontEnd(), DECODING) as pool:
        for item in extract(pool, readings(folder, sources(shared_data), count, seed), lookahead=4):
            if isinstance(item, ExampleBlock):
                assert item.segment.clip.id not in over
                examples[item.segment.clip.id] += len(item.examples)
                continue
            assert item.clip.id not in over
            over.add(item.clip.id)
            if isinstance(item, Ending):
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
    assert psutil.Process().children() == []
    return counts, largest


def test_damaged_files_have_one_outcome_each(shared_data: Path, tmp_path: Path) -> None:
    counts, _ = run(shared_data, tmp_path, 60, seed=1)
    assert counts["ended"] >= 30
    assert len(counts) >= 5
    assert counts["crashed"] + counts["timed_out"] + counts["too_large"] <= 9, counts


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_thousand_damaged_files_have_one_outcome_each(shared_data: Path, tmp_path: Path) -> None:
    counts, largest = run(shared_data, tmp_path, 3000, seed=2)
    print(counts, f"largest decoder {largest >> 20} MB")
    assert largest < 1 << 30
