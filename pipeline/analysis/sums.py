"""Values that add up, over the files of data sets, by a Beam job: a file an element, one sum a key comes back.

Imports Beam.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipeline import storage
from pipeline.running.engines import graphs, runners

Keyed = tuple[tuple[int, ...], Any]
"""A key, and a value that `+` takes."""


class Sum(beam.CombineFn):
    """Values -> their sum.

    Args:
      nothing: the sum of no value: neutral under `+`, which is associative and depends on the order by a rounding.
    """

    def __init__(self, nothing: Any) -> None:
        self._nothing = nothing

    def create_accumulator(self) -> Any:
        return self._nothing

    def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
        return mutable_accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return sum(accumulators, self._nothing)

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


def collect(
    engine: runners.Engine,
    files: Sequence[Any],
    read: Callable[[Any], Iterator[Keyed]],
    nothing: Any,
    place: str,
) -> dict[tuple[int, ...], Any]:
    """Files -> the sum of what is read of them, by key.

    Args:
      engine: where the job runs.
      files: what `read` takes, small, to be pickled.
      read: a file -> keys and values; called by the workers.
      nothing: the sum of no value.
      place: URI of a folder that the workers may write to, and that this process reads; what they leave is deleted.
    """
    stem = storage.join(place, f"sums-{uuid.uuid4().hex}")

    def construct(root: beam.Pipeline) -> None:
        build(root, files, read, nothing, stem)

    graphs.run(engine, construct)
    with storage.open_read(f"{stem}.keys") as file:
        keys = pickle.loads(file.read())  # ours, written a moment ago
    storage.delete(f"{stem}.keys")
    found = {}
    for key in keys:
        with storage.open_read(_uri(stem, key)) as file:
            found[key] = pickle.loads(file.read())
        storage.delete(_uri(stem, key))
    return found


def build(
    root: beam.Pipeline, files: Sequence[Any], read: Callable[[Any], Iterator[Keyed]], nothing: Any, stem: str
) -> beam.PCollection:
    """The graph: files -> keys and values -> a file a key, then one with the keys."""
    return (
        root
        | "Files" >> beam.Create([pickle.dumps(file) for file in files])
        | beam.Reshuffle()
        | "Read" >> beam.FlatMap(lambda file: read(pickle.loads(file)))
        | "Sum" >> beam.CombinePerKey(Sum(nothing))
        | "Store" >> beam.Map(_store, stem)
        | "Keys" >> beam.combiners.ToList()
        | "Store keys" >> beam.Map(lambda keys: storage.write_atomic(f"{stem}.keys", pickle.dumps(keys)))
    )


def _uri(stem: str, key: tuple[int, ...]) -> str:
    return f"{stem}-{'-'.join(map(str, key))}"


def _store(keyed: Keyed, stem: str) -> tuple[int, ...]:
    key, value = keyed
    storage.write_atomic(_uri(stem, key), pickle.dumps(value))
    return key
