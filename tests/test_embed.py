"""Batches across clips: full, complete, in the clips' own order; and rows that depend on nothing but themselves."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedding.embed import Batcher, EmbeddingStream, Worker
from pipeline.output.assemble import assemble
from pipeline.types import Clip, Embedding, ExampleBlock, Failure, Outcome, Segment, SegmentEnd


def marked(count: int, first: int) -> np.ndarray:
    """Examples whose first number is their index in the clip."""
    examples = np.zeros((count, 96, 64), np.float32)
    examples[:, 0, 0] = np.arange(first, first + count)
    return examples


def index_of(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A stand-in for the network: every value of a row is the example's mark."""
    return np.repeat(examples[:, :1, 0], 128, axis=1), np.isfinite(examples[:, 0, 0])


def stream(blocks_of_clips: list[list[int]]) -> list[ExampleBlock | SegmentEnd]:
    items: list[ExampleBlock | SegmentEnd] = []
    for number, counts in enumerate(blocks_of_clips):
        clip, first = Clip(id=f"clip{number}", uri="x.wav"), 0
        for count in counts:
            items.append(ExampleBlock(Segment(clip), first, marked(count, first)))
            first += count
        items.append(SegmentEnd(clip, 0, 1, first, float(first), 16000, 1, "WAV/PCM_16"))
    return items


def run(items: list, batch_size: int, threads: int) -> tuple[list[Outcome], list[int]]:
    sizes: list[int] = []
    session = EmbeddingStream(Worker(index_of, batch_size, threads), lambda rows, _: sizes.append(rows))
    outcomes = [outcome for item in items for outcome in session.push(item)]
    return outcomes + list(session.finish()), sizes


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(st.lists(st.integers(1, 30), max_size=4), max_size=8),
    batch_size=st.integers(1, 20),
    threads=st.integers(1, 3),
)
def test_every_example_comes_out_once_at_its_place(blocks: list[list[int]], batch_size: int, threads: int) -> None:
    outcomes, sizes = run(stream(blocks), batch_size, threads)
    found: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome, Embedding):
            assert outcome.values[0, 0] == outcome.first_example
            found[outcome.clip.id] += outcome.values[:, 0].tolist()
    for number, counts in enumerate(blocks):
        assert found[f"clip{number}"] == list(range(sum(counts)))
    assert all(size == batch_size for size in sizes[:-1])
    assert sum(sizes) == sum(map(sum, blocks))


def test_endings_and_failures_pass() -> None:
    items = [*stream([[3]]), Failure(Clip("b", "b.wav"), "extract", "corrupt", "…")]
    outcomes, _ = run(items, 64, 1)
    assert [type(outcome).__name__ for outcome in outcomes] == ["SegmentEnd", "Failure", "Embedding"]


def test_an_embedding_holds_its_own_rows_only() -> None:
    outcomes, _ = run(stream([[2], [62]]), 64, 1)
    embedding = next(outcome for outcome in outcomes if isinstance(outcome, Embedding))
    assert embedding.values.base is None


def test_a_fault_of_the_network_is_raised() -> None:
    def broken(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError("no such kernel")

    session = EmbeddingStream(Worker(broken, 2, 1))
    list(session.push(stream([[2]])[0]))
    with pytest.raises(RuntimeError, match="no such kernel"):
        list(session.finish())


def test_a_row_that_is_not_finite_fails_its_clip_and_no_other() -> None:
    items = stream([[3], [4], [70], [2]])
    assert isinstance(items[2], ExampleBlock)
    items[2].examples[1, 0, 0] = np.inf
    assert isinstance(items[4], ExampleBlock)
    items[4].examples[66] = np.nan
    outcomes, _ = run(items, 16, 2)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [(each.clip.id, each.stage, each.reason) for each in failures] == [
        ("clip1", "embed", "not_finite"),
        ("clip2", "embed", "not_finite"),
    ]
    assert "example 1 " in failures[0].message
    assert "example 66 " in failures[1].message
    results = {result.entry.id: result.entry.outcome for result in assemble(outcomes)}
    assert results == {"clip0": "written", "clip1": "failed", "clip2": "failed", "clip3": "written"}
    written = [outcome for outcome in outcomes if isinstance(outcome, Embedding)]
    assert all(np.isfinite(outcome.values).all() for outcome in written)


def test_batches_are_exactly_full() -> None:
    batcher = Batcher(64)
    block = stream([[150]])[0]
    assert isinstance(block, ExampleBlock)
    assert [len(examples) for _, examples in batcher.add(block)] == [64, 64]
    assert [len(examples) for _, examples in batcher.rest()] == [22]
